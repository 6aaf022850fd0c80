//! Which key signs, which keys are published, and when a new one is created. The decision depends only on the times of creation, so that
//! replicas that see the same rows decide alike. A key is published when it is created. It signs when all clients must have loaded it. It
//! is deleted when the last token that it signed has expired.

use time::{Duration, OffsetDateTime};

/// The time from the creation of a key to its first signature: three times the time for which a client may cache the key set (300 s).
pub(crate) const SIGNS_AFTER: Duration = Duration::minutes(15);
/// The time from the first signature of a key to the deletion of its predecessors: more than the lifetime of a token and the difference
/// between clocks.
pub(crate) const RETIRES_AFTER: Duration = Duration::minutes(15);
/// The shortest interval between two new keys: longer than the two times above together.
pub(crate) const MIN_INTERVAL: Duration = Duration::hours(1);

/// A key, as far as the decision needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) created_at: OffsetDateTime,
    /// This cluster's secret decrypts its private half.
    pub(crate) usable: bool,
}

/// What to do. Numbers are indices of the candidates, which are in the order of their creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The key that signs.
    pub(crate) signer: Option<usize>,
    /// Keys to delete.
    pub(crate) retired: Vec<usize>,
    /// A new key is due.
    pub(crate) create: bool,
}

/// What to do at `now` with keys that sign for `interval` each.
pub(crate) fn plan(keys: &[Candidate], interval: Duration, now: OffsetDateTime) -> Plan {
    let usable = || keys.iter().enumerate().filter(|(_, key)| key.usable);
    // If no usable key has reached its time, the oldest one signs at once: the first key of all, or one that replaces unusable keys.
    let signer = usable().rfind(|(_, key)| signs_from(key) <= now).or_else(|| usable().next());
    let retired = match signer {
        Some((index, key)) if signs_from(key) + RETIRES_AFTER <= now => (0..index).collect(),
        _ => Vec::new(),
    };
    let create = usable().next_back().is_none_or(|(_, newest)| newest.created_at + interval <= now);
    Plan { signer: signer.map(|(index, _)| index), retired, create }
}

fn signs_from(key: &Candidate) -> OffsetDateTime {
    key.created_at + SIGNS_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::DAY;

    fn at(offset: Duration) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + offset
    }

    fn keys(created: &[Duration]) -> Vec<Candidate> {
        created.iter().map(|offset| Candidate { created_at: at(*offset), usable: true }).collect()
    }

    fn decide(created: &[Duration], now: Duration) -> (Option<usize>, Vec<usize>, bool) {
        let plan = plan(&keys(created), 90 * DAY, at(now));
        (plan.signer, plan.retired, plan.create)
    }

    #[test]
    fn a_key_is_published_then_signs_then_retires_its_predecessor() {
        let (second, minute) = (90 * DAY, Duration::MINUTE);
        assert_eq!(decide(&[], Duration::ZERO), (None, vec![], true));
        assert_eq!(decide(&[Duration::ZERO], Duration::ZERO), (Some(0), vec![], false));
        assert_eq!(decide(&[Duration::ZERO], second), (Some(0), vec![], true));
        let both = [Duration::ZERO, second];
        assert_eq!(decide(&both, second), (Some(0), vec![], false), "published, but not signing");
        assert_eq!(decide(&both, second + 14 * minute), (Some(0), vec![], false));
        assert_eq!(decide(&both, second + 15 * minute), (Some(1), vec![], false), "the old one still verifies");
        assert_eq!(decide(&both, second + 30 * minute), (Some(1), vec![0], false));
    }

    #[test]
    fn a_key_of_another_secret_is_published_but_never_signs() {
        let mut two = keys(&[Duration::ZERO, DAY]);
        two[1].usable = false;
        assert_eq!(plan(&two, 90 * DAY, at(2 * DAY)), Plan { signer: Some(0), retired: vec![], create: false });
        two[0].usable = false;
        assert_eq!(plan(&two, 90 * DAY, at(2 * DAY)), Plan { signer: None, retired: vec![], create: true });
        two.push(Candidate { created_at: at(2 * DAY), usable: true });
        assert_eq!(plan(&two, 90 * DAY, at(2 * DAY)), Plan { signer: Some(2), retired: vec![], create: false }, "signs at once");
        assert_eq!(plan(&two, 90 * DAY, at(2 * DAY + RETIRES_AFTER * 2)).retired, [0, 1]);
    }

    proptest::proptest! {
        /// In every minute there is a signer, every token that has not expired verifies, and there are at most two keys.
        #[test]
        fn the_key_of_an_unexpired_token_is_always_published(interval in 60_i64..600, minutes in 1_usize..2_000) {
            let mut keys: Vec<Candidate> = Vec::new();
            let mut signed: Vec<(OffsetDateTime, OffsetDateTime)> = Vec::new();
            for minute in 0..minutes {
                let now = at(Duration::minutes(minute as i64));
                if plan(&keys, Duration::minutes(interval), now).create {
                    keys.push(Candidate { created_at: now, usable: true });
                }
                let decided = plan(&keys, Duration::minutes(interval), now);
                let signer = keys[decided.signer.expect("a signer")].created_at;
                keys = keys.iter().enumerate().filter(|(i, _)| !decided.retired.contains(i)).map(|(_, k)| *k).collect();
                signed.push((now, signer));
                for (_, key) in signed.iter().rev().take_while(|(when, _)| *when + crate::token::LIFETIME >= now) {
                    proptest::prop_assert!(keys.iter().any(|k| k.created_at == *key));
                }
                proptest::prop_assert!(keys.len() <= 2);
            }
        }
    }
}
