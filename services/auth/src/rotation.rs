//! Which key signs, which keys are published, and when a new one is made. It follows from the times of creation alone, so that
//! replicas that see the same rows decide alike: a key is published when it is made, signs once everybody must have seen it,
//! and goes when the last token of it has ended.

use time::{Duration, OffsetDateTime};

/// From the making of a key to its first signature: three times what a client may keep the key set (300 s).
pub const PUBLISHED_BEFORE: Duration = Duration::minutes(15);
/// From the first signature of a key to the end of its predecessor: more than a token lives and clocks differ.
pub const KEPT_AFTER: Duration = Duration::minutes(15);
/// No rotation may be faster than a key's own life cycle.
pub const SHORTEST: Duration = Duration::hours(1);

/// What the decision knows of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub created_at: OffsetDateTime,
    /// Its private half opens under this cluster's secret.
    pub opens: bool,
}

/// Indices into the candidates, which are in the order of their making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The key that signs.
    pub signer: Option<usize>,
    /// Keys whose last token has ended.
    pub retired: Vec<usize>,
    /// A new key is due.
    pub make: bool,
}

/// What to do at `now` with keys that sign for `interval` each.
#[must_use]
pub fn plan(keys: &[Candidate], interval: Duration, now: OffsetDateTime) -> Plan {
    let usable = || keys.iter().enumerate().filter(|(_, key)| key.opens);
    // The very first key, and one made because no other opens, signs at once: nobody waits for anything better.
    let signer = usable().rfind(|(_, key)| signs_from(key) <= now).or_else(|| usable().next());
    let retired = match signer {
        Some((at, key)) if signs_from(key) + KEPT_AFTER <= now => (0..at).collect(),
        _ => Vec::new(),
    };
    let make = usable().next_back().is_none_or(|(_, newest)| newest.created_at + interval <= now);
    Plan { signer: signer.map(|(at, _)| at), retired, make }
}

fn signs_from(key: &Candidate) -> OffsetDateTime {
    key.created_at + PUBLISHED_BEFORE
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::DAY;

    fn at(offset: Duration) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + offset
    }

    fn keys(made: &[Duration]) -> Vec<Candidate> {
        made.iter().map(|m| Candidate { created_at: at(*m), opens: true }).collect()
    }

    fn decide(made: &[Duration], now: Duration) -> (Option<usize>, Vec<usize>, bool) {
        let plan = plan(&keys(made), 90 * DAY, at(now));
        (plan.signer, plan.retired, plan.make)
    }

    #[test]
    fn the_life_of_two_keys() {
        let (second, minute) = (90 * DAY, Duration::MINUTE);
        assert_eq!(decide(&[], Duration::ZERO), (None, vec![], true));
        assert_eq!(decide(&[Duration::ZERO], Duration::ZERO), (Some(0), vec![], false));
        assert_eq!(decide(&[Duration::ZERO], second), (Some(0), vec![], true));
        let both = [Duration::ZERO, second];
        assert_eq!(decide(&both, second), (Some(0), vec![], false), "published, not yet signing");
        assert_eq!(decide(&both, second + 14 * minute), (Some(0), vec![], false));
        assert_eq!(decide(&both, second + 15 * minute), (Some(1), vec![], false), "the old one still verifies");
        assert_eq!(decide(&both, second + 30 * minute), (Some(1), vec![0], false));
    }

    #[test]
    fn a_key_of_another_secret_is_published_but_never_signs() {
        let mut two = keys(&[Duration::ZERO, DAY]);
        two[1].opens = false;
        assert_eq!(plan(&two, 90 * DAY, at(2 * DAY)), Plan { signer: Some(0), retired: vec![], make: false });
        two[0].opens = false;
        assert_eq!(plan(&two, 90 * DAY, at(2 * DAY)), Plan { signer: None, retired: vec![], make: true });
        two.push(Candidate { created_at: at(2 * DAY), opens: true });
        assert_eq!(plan(&two, 90 * DAY, at(2 * DAY)), Plan { signer: Some(2), retired: vec![], make: false }, "at once");
        assert_eq!(plan(&two, 90 * DAY, at(2 * DAY + KEPT_AFTER * 2)).retired, [0, 1]);
    }

    proptest::proptest! {
        /// Followed minute by minute, there is always a signer, every token verifies for as long as it lives, and the set stays small.
        #[test]
        fn no_token_is_ever_left_without_its_key(interval in 60_i64..600, minutes in 1_usize..2_000) {
            let mut made: Vec<Candidate> = Vec::new();
            let mut signed: Vec<(OffsetDateTime, OffsetDateTime)> = Vec::new();
            for minute in 0..minutes {
                let now = at(Duration::minutes(minute as i64));
                if plan(&made, Duration::minutes(interval), now).make {
                    made.push(Candidate { created_at: now, opens: true });
                }
                let decided = plan(&made, Duration::minutes(interval), now);
                let signer = made[decided.signer.expect("a signer")].created_at;
                made = made.iter().enumerate().filter(|(i, _)| !decided.retired.contains(i)).map(|(_, k)| *k).collect();
                signed.push((now, signer));
                for (_, key) in signed.iter().rev().take_while(|(when, _)| *when + crate::token::LIFE >= now) {
                    proptest::prop_assert!(made.iter().any(|k| k.created_at == *key));
                }
                proptest::prop_assert!(made.len() <= 2);
            }
        }
    }
}
