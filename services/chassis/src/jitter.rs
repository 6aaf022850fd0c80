//! Random delays, so that clients that fail at the same time do not all retry at the same time.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    ops::RangeInclusive,
    time::Duration,
};

/// A random number in the range.
#[must_use]
pub fn jitter(range: RangeInclusive<u64>) -> u64 {
    let (low, high) = range.into_inner();
    low + RandomState::new().build_hasher().finish() % (high - low + 1)
}

/// A random delay between half of `longest` and `longest`.
#[must_use]
pub fn spread(longest: Duration) -> Duration {
    let ms = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(jitter(ms / 2..=ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_at_least_half_of_the_longest() {
        let longest = Duration::from_millis(10);
        let waits: std::collections::BTreeSet<_> = (0..200).map(|_| spread(longest)).collect();
        assert!(waits.iter().all(|wait| (longest / 2..=longest).contains(wait)) && waits.len() > 1, "{waits:?}");
        assert_eq!(spread(Duration::ZERO), Duration::ZERO);
    }
}
