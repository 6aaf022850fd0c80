//! Limits the size of a fault on the wire. A fault is sent in trailers, and clients limit the size of all trailers, often to 8 KiB.
//! Larger trailers are lost or end the connection. Texts that do not fit are cut and end with a mark.

use std::collections::HashMap;

use super::{Fault, FieldViolation, QuotaViolation};
use crate::text::is_misleading;

/// Bytes of the message in `grpc-message`, where a byte that is not printable ASCII takes three.
const MESSAGE: usize = 1_500;
/// Bytes of the message of a new fault. It may exceed [`MESSAGE`], because the gateway sends it to browsers in a body.
pub(super) const TEXT: usize = 4_096;
/// Bytes of all details together. Each entry counts [`OVERHEAD`] in addition to its texts.
const DETAILS: usize = 2_800;
const OVERHEAD: usize = 24;
/// Bytes of a reason, a domain, a metadata key or the name of a policy.
const NAME: usize = 64;
/// Bytes of a metadata value.
pub(super) const VALUE: usize = 2_048;
/// Bytes of the name of a field, which may contain indices and map keys.
pub(super) const FIELD: usize = 256;
/// Bytes of a description.
pub(super) const DESCRIPTION: usize = 512;
/// The end of a text that was cut.
const MARK: &str = "…";
/// The metadata key with the number of violations that were left out.
pub const OMITTED: &str = "omitted_violations";

impl Fault {
    /// The fault, small enough for trailers. Texts are cut between characters and end with `…`. Violations that do not fit are left
    /// out, and the metadata has their number as [`OMITTED`].
    #[must_use]
    pub fn bounded(self) -> Self {
        let mut left = DETAILS - OVERHEAD - "18446744073709551615".len() - OMITTED.len();
        let metadata = fitting_metadata(self.metadata, &mut left);
        let quota: Vec<_> = self.quota.into_iter().map_while(|quota| fitting_quota(&quota, &mut left)).collect();
        let all = self.violations.len();
        let violations: Vec<_> = self.violations.into_iter().map_while(|violation| fitting_violation(&violation, &mut left)).collect();
        let omitted = all - violations.len();
        let bounded = Self {
            code: self.code,
            reason: clip(&self.reason, NAME),
            domain: clip(&self.domain, NAME),
            message: cut(&self.message, MESSAGE, encoded_len),
            violations,
            quota,
            retry_after: self.retry_after,
            metadata,
        };
        if omitted == 0 { bounded } else { bounded.with(OMITTED, omitted.to_string()) }
    }
}

/// The text with each character that controls a terminal or begins a line as an escape, such as `\n` and `\u{1b}`.
#[must_use]
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_misleading(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Cuts a text to at most `limit` bytes, between characters. A text that was cut ends with `…`.
#[must_use]
pub fn clip(text: &str, limit: usize) -> String {
    cut(text, limit, char::len_utf8)
}

fn cut(text: &str, limit: usize, size: impl Fn(char) -> usize) -> String {
    if text.chars().map(&size).sum::<usize>() <= limit {
        return text.to_owned();
    }
    let mut left = limit.saturating_sub(MARK.chars().map(&size).sum());
    let fits = |character: &char| left.checked_sub(size(*character)).map(|rest| left = rest).is_some();
    text.chars().take_while(fits).chain(MARK.chars()).collect()
}

/// The bytes of a character in `grpc-message`, which is percent-encoded.
fn encoded_len(character: char) -> usize {
    if matches!(character, ' '..='~') && character != '%' { 1 } else { 3 * character.len_utf8() }
}

/// Subtracts the size of an entry from the bytes that are left, if it fits.
fn fits(texts: [&str; 2], left: &mut usize) -> bool {
    let size = OVERHEAD + texts.iter().map(|text| text.len()).sum::<usize>();
    left.checked_sub(size).map(|rest| *left = rest).is_some()
}

/// The entries that fit, taken in the order of their keys, so that the result does not depend on the order of the map.
fn fitting_metadata(metadata: HashMap<String, String>, left: &mut usize) -> HashMap<String, String> {
    let mut entries: Vec<_> = metadata.into_iter().map(|(key, value)| (clip(&key, NAME), clip(&value, VALUE))).collect();
    entries.sort();
    entries.into_iter().filter(|(key, value)| fits([key, value], left)).collect()
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

    /// The size of all headers of the status, as HTTP/2 counts it.
    fn size(status: &Status) -> usize {
        let response = status.clone().into_http::<()>();
        response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
    }

    #[test]
    fn a_fault_shows_what_a_client_sent_and_obeys_none_of_it() {
        let (sent, shown) = ("a\r\nb\u{1b}[31m\u{202e}ü", "a\\r\\nb\\u{1b}[31m\\u{202e}ü");
        assert_eq!(Fault::new("auth", ErrorCode::NotFound, "NOT_FOUND", sent).message, shown);
        let violation = |text: &str| FieldViolation { field: text.to_owned(), description: text.to_owned() };
        assert_eq!(Fault::invalid("auth", vec![violation(sent)]).violations, [violation(shown)]);
        assert_eq!(Fault::new("auth", ErrorCode::NotFound, "NOT_FOUND", "x").with("path", sent).metadata["path"], sent, "for programs");
    }

    #[test]
    fn a_fault_of_any_size_fits_into_8_kib_of_trailers() {
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
                ("one metadata value", plain.clone().with("path", long(letter))),
                ("metadata", (0..100).fold(plain, |fault, at| fault.with(&format!("{at}{letter}"), long(letter)))),
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
    fn a_text_that_was_cut_ends_with_a_mark() {
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
