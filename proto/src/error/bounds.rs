//! How large a fault may be on the wire. It travels in trailers, whose list a client limits, often to 8 KiB: a larger one would not
//! arrive, or end the connection. What does not fit is cut, and marked as cut.

use std::collections::HashMap;

use super::{Fault, FieldViolation, QuotaViolation};

/// The message, as `grpc-message` spells it: a byte that is not plain ASCII takes three there.
const MESSAGE: usize = 1_500;
/// A message where it is made: a browser gets it in a body, which has room for more.
pub(super) const TEXT: usize = 4_096;
/// Everything else together, with [`OVERHEAD`] for each entry.
const DETAILS: usize = 2_800;
const OVERHEAD: usize = 24;
/// A reason, a domain, the name of a fact or of a policy.
const NAME: usize = 64;
/// One value of the metadata.
pub(super) const VALUE: usize = 2_048;
/// The name of a field, which may hold indices and the keys of a map.
pub(super) const FIELD: usize = 256;
/// A description.
pub(super) const DESCRIPTION: usize = 512;
/// What follows a text that was cut.
const MARK: &str = "…";
/// The fact that says how many violations were left out.
pub const OMITTED: &str = "omitted_violations";

impl Fault {
    /// The same fault within what a trailer bears: texts are cut between characters and end with `…`; violations that do not fit
    /// are counted by the fact [`OMITTED`].
    #[must_use]
    pub fn bounded(self) -> Self {
        let mut left = DETAILS - OVERHEAD - "18446744073709551615".len() - OMITTED.len();
        let metadata = facts(self.metadata, &mut left);
        let quota: Vec<_> = self.quota.into_iter().map_while(|quota| fitting_quota(&quota, &mut left)).collect();
        let all = self.violations.len();
        let violations: Vec<_> = self.violations.into_iter().map_while(|violation| fitting_violation(&violation, &mut left)).collect();
        let omitted = all - violations.len();
        let bounded = Self {
            code: self.code,
            reason: clip(&self.reason, NAME),
            domain: clip(&self.domain, NAME),
            message: cut(&self.message, MESSAGE, spelled),
            violations,
            quota,
            retry_after: self.retry_after,
            metadata,
        };
        if omitted == 0 { bounded } else { bounded.with(OMITTED, omitted.to_string()) }
    }
}

/// A text of at most `limit` bytes: cut between characters and marked where it was longer.
#[must_use]
pub fn clip(text: &str, limit: usize) -> String {
    cut(text, limit, char::len_utf8)
}

fn cut(text: &str, limit: usize, size: impl Fn(char) -> usize) -> String {
    if text.chars().map(&size).sum::<usize>() <= limit {
        return text.to_owned();
    }
    let mut left = limit.saturating_sub(MARK.chars().map(&size).sum());
    let fits = |letter: &char| left.checked_sub(size(*letter)).map(|rest| left = rest).is_some();
    text.chars().take_while(fits).chain(MARK.chars()).collect()
}

/// The bytes of a character in `grpc-message`.
fn spelled(letter: char) -> usize {
    if matches!(letter, ' '..='~') && letter != '%' { 1 } else { 3 * letter.len_utf8() }
}

/// Takes the entry from what is left, if it fits.
fn fits(texts: [&str; 2], left: &mut usize) -> bool {
    let size = OVERHEAD + texts.iter().map(|text| text.len()).sum::<usize>();
    left.checked_sub(size).map(|rest| *left = rest).is_some()
}

/// The facts in the order of their names: which of them are kept does not depend on the map.
fn facts(metadata: HashMap<String, String>, left: &mut usize) -> HashMap<String, String> {
    let mut facts: Vec<_> = metadata.into_iter().map(|(name, value)| (clip(&name, NAME), clip(&value, VALUE))).collect();
    facts.sort();
    facts.into_iter().filter(|(name, value)| fits([name, value], left)).collect()
}

fn fitting_quota(quota: &QuotaViolation, left: &mut usize) -> Option<QuotaViolation> {
    let quota = QuotaViolation { policy: clip(&quota.policy, NAME), description: clip(&quota.description, DESCRIPTION) };
    fits([&quota.policy, &quota.description], left).then_some(quota)
}

fn fitting_violation(violation: &FieldViolation, left: &mut usize) -> Option<FieldViolation> {
    let violation = FieldViolation { field: clip(&violation.field, FIELD), description: clip(&violation.description, DESCRIPTION) };
    fits([&violation.field, &violation.description], left).then_some(violation)
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;
    use crate::error::ErrorCode;

    /// The bytes of every header of the status.
    fn size(status: &Status) -> usize {
        let response = status.clone().into_http::<()>();
        response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
    }

    #[test]
    fn a_fault_of_any_size_fits_into_eight_kibibytes_of_trailers() {
        let long = |letter: &str| letter.repeat(60_000 / letter.len());
        for letter in ["a", "%", "ä", "\n", "\u{202e}", "🦀"] {
            let violation = FieldViolation { field: long(letter), description: long(letter) };
            let quota = QuotaViolation { policy: long(letter), description: long(letter) };
            let plain = Fault::new("auth", ErrorCode::InvalidArgument, "INVALID_FIELD", "x");
            let cases = [
                ("message", Fault { message: long(letter), ..plain.clone() }),
                ("names", Fault { reason: long(letter), domain: long(letter), ..plain.clone() }),
                ("one violation", Fault::invalid("auth", vec![violation.clone()])),
                ("violations", Fault::invalid("auth", vec![violation; 100])),
                ("quota", Fault { quota: vec![quota; 100], ..plain.clone() }),
                ("a fact", plain.clone().with("path", long(letter))),
                ("facts", (0..100).fold(plain, |fault, at| fault.with(&format!("{at}{letter}"), long(letter)))),
            ];
            for (case, fault) in cases {
                let status = Status::from(fault);
                assert!(size(&status) <= 8 * 1024, "{case} of {letter:?}: {} bytes", size(&status));
                let read = Fault::from_status(&status);
                assert_eq!(read.clone().bounded(), read, "{case} of {letter:?} is not cut twice");
            }
        }
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!((clip("grün", 5).as_str(), clip("grüner", 6).as_str(), clip("grüner", 7).as_str()), ("grün", "gr…", "grüner"));
        let violation =
            |at: usize| FieldViolation { field: format!("changes[{at}].path"), description: "must be at most 1024 bytes".into() };
        let bounded = Fault::invalid("auth", (0..200).map(violation).collect()).bounded();
        let kept = bounded.violations.len();
        assert!(kept >= 20, "{kept}");
        assert_eq!(bounded.metadata[OMITTED], (200 - kept).to_string());
        assert!(bounded.message.ends_with(MARK));
        let small = Fault::invalid("auth", vec![violation(0)]).with("path", "a/ä");
        assert_eq!(small.clone().bounded(), small);
    }
}
