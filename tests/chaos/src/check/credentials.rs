//! A valid credential is accepted. A credential whose end was acknowledged is refused, soon after that by every gateway. A program that is
//! signed in has one live refresh token, and one that has ended has none.

use std::collections::BTreeMap;

use super::{Rules, Violation, Violations, liveness::longest_healthy};
use crate::{deployment::timeline::FaultHistory, record::Credentials};

/// Checks the observations of a round. `live` is the number of live refresh tokens by session; a session without one is absent.
#[must_use]
pub fn check(observed: &Credentials, live: &BTreeMap<String, i64>, faults: &FaultHistory, rules: &Rules) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut violations = Violations { turn: None, found: &mut found };
    for used in &observed.uses {
        let (rule, holds) = if used.is_valid {
            ("a valid credential is accepted", used.refusal.is_none())
        } else {
            ("an ended credential is refused", used.refusal.is_some())
        };
        violations.require(holds, rule, || format!("{}: {}", used.what, used.refusal.as_deref().unwrap_or("accepted")));
    }
    for ended in &observed.ended {
        // The limit is a second. A gateway whose stream of ended sessions is interrupted needs more, and so does a busy machine.
        let late = longest_healthy(ended.ended, ended.refused, faults);
        violations.require(late <= rules.max_latency, "the end of a credential takes effect", || {
            format!("{} was accepted for {late} ms after its end", ended.what)
        });
    }
    for program in &observed.programs {
        let (live, expected) = (live.get(&program.session).copied().unwrap_or_default(), i64::from(!program.has_ended));
        violations.require(live == expected, "a program has one live refresh token", || {
            format!("session {} has {live} live tokens instead of {expected}", program.session)
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        deployment::timeline::Outage,
        record::{CredentialUse, EndedCredential, Program},
    };

    const RULES: Rules = Rules { max_silence: 15_000, max_latency: 10_000, no_faults: false, recoveries: 3, lease: 1_500 };

    fn rules(observed: &Credentials, live: i64, faults: &FaultHistory) -> Vec<&'static str> {
        let live = BTreeMap::from([("s".to_owned(), live)]);
        check(observed, &live, faults, &RULES).into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn a_use_must_have_the_outcome_of_its_credential() {
        let uses = |is_valid, refusal: Option<&str>| Credentials {
            uses: vec![CredentialUse { what: "a token".to_owned(), is_valid, refusal: refusal.map(str::to_owned) }],
            ..Credentials::default()
        };
        for (is_valid, refusal, expected) in [
            (true, None, None),
            (false, Some("TOKEN_REUSED"), None),
            (true, Some("SESSION_ENDED"), Some("a valid credential is accepted")),
            (false, None, Some("an ended credential is refused")),
        ] {
            assert_eq!(rules(&uses(is_valid, refusal), 1, &FaultHistory::default()), Vec::from_iter(expected), "{is_valid} {refusal:?}");
        }
    }

    #[test]
    fn an_end_takes_effect_unless_there_is_an_outage() {
        let ended = |refused| Credentials {
            ended: vec![EndedCredential { what: "a key".to_owned(), ended: 1_000, refused }],
            ..Credentials::default()
        };
        let outage = Outage { what: "postgres".into(), span: (2_000, 12_000) };
        let faults = FaultHistory { outages: vec![outage], ..FaultHistory::default() };
        let late = "the end of a credential takes effect";
        assert_eq!(rules(&ended(11_000), 1, &FaultHistory::default()), [""; 0]);
        assert_eq!(rules(&ended(11_001), 1, &FaultHistory::default()), [late]);
        assert_eq!(rules(&ended(13_000), 1, &faults), [""; 0]);
        assert_eq!(rules(&ended(23_000), 1, &faults), [late]);
    }

    #[test]
    fn a_program_has_one_live_token_until_it_ends() {
        let program = |has_ended| Credentials { programs: vec![Program { session: "s".to_owned(), has_ended }], ..Credentials::default() };
        for (has_ended, live, is_right) in [(false, 1, true), (false, 0, false), (false, 2, false), (true, 0, true), (true, 1, false)] {
            let found = rules(&program(has_ended), live, &FaultHistory::default());
            assert_eq!(found.is_empty(), is_right, "{has_ended} {live} {found:?}");
        }
    }
}
