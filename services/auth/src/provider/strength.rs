//! What an issuer must say about the sign-in of a person there: how long ago it was, and how strong.

use std::{collections::BTreeSet, time::Duration};

use super::person::ProviderError;

/// Seconds by which the clock of an issuer may differ from ours.
const CLOCK_SKEW: i64 = 60;

/// The default requires nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Strength {
    /// How long ago the person may have signed in there (`auth_time`).
    pub(crate) max_age: Option<Duration>,
    /// The classes that the sign-in may have (`acr`). Empty: any class, or none.
    pub(crate) acr_values: BTreeSet<String>,
}

impl Strength {
    /// Checks what an ID token says: when the person signed in at the issuer, and the class. The moments are Unix times.
    pub(super) fn check(&self, auth_time: Option<i64>, acr: Option<&str>, now: i64) -> Result<(), ProviderError> {
        if let Some(max_age) = self.max_age {
            let refused = |why: &str| ProviderError::Refused(why.to_owned());
            let age = now.saturating_sub(auth_time.ok_or_else(|| refused("it does not say when the person signed in (auth_time)"))?);
            if age < -CLOCK_SKEW {
                return Err(refused("the person will sign in later (auth_time)"));
            }
            if age > i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX).saturating_add(CLOCK_SKEW) {
                return Err(ProviderError::TooOld);
            }
        }
        if self.acr_values.is_empty() || acr.is_some_and(|acr| self.acr_values.contains(acr)) {
            Ok(())
        } else {
            Err(ProviderError::TooWeak)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn outcome(strength: &Strength, auth_time: Option<i64>, acr: Option<&str>) -> &'static str {
        match strength.check(auth_time, acr, NOW) {
            Ok(()) => "accepted",
            Err(ProviderError::TooOld) => "too old",
            Err(ProviderError::TooWeak) => "too weak",
            Err(ProviderError::Refused(_)) => "refused",
            Err(ProviderError::Unavailable(_)) => "unavailable",
        }
    }

    #[test]
    fn the_age_of_a_sign_in_is_limited() {
        let strength = Strength { max_age: Some(Duration::from_secs(3_600)), ..Strength::default() };
        for (auth_time, expected) in [
            (Some(NOW), "accepted"),
            (Some(NOW - 3_660), "accepted"),
            (Some(NOW - 3_661), "too old"),
            (Some(0), "too old"),
            (Some(i64::MIN), "too old"),
            (Some(NOW + 60), "accepted"),
            (Some(NOW + 61), "refused"),
            (Some(i64::MAX), "refused"),
            (None, "refused"),
        ] {
            assert_eq!(outcome(&strength, auth_time, None), expected, "{auth_time:?}");
        }
    }

    #[test]
    fn the_class_of_a_sign_in_is_one_of_the_required_ones() {
        let strength = Strength { acr_values: ["gold".to_owned(), "silver".to_owned()].into(), ..Strength::default() };
        for (acr, expected) in [
            (Some("gold"), "accepted"),
            (Some("silver"), "accepted"),
            (Some("Gold"), "too weak"),
            (Some("gold silver"), "too weak"),
            (Some(""), "too weak"),
            (None, "too weak"),
        ] {
            assert_eq!(outcome(&strength, None, acr), expected, "{acr:?}");
        }
    }

    #[test]
    fn without_settings_nothing_is_required() {
        for (auth_time, acr) in [(None, None), (Some(0), Some("0")), (Some(i64::MAX), None)] {
            assert_eq!(outcome(&Strength::default(), auth_time, acr), "accepted");
        }
    }
}
