//! What one person may fetch from the registry in an hour, at one replica.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use proto::id::UserId;
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(3_600);
/// What a request costs at least, so that many small ones are bounded, too.
const LEAST: u64 = 16 * 1024;

#[derive(Debug)]
pub(super) struct Allowance {
    bytes: u64,
    /// The start of the hour, and the bytes since then.
    used: Mutex<HashMap<Option<UserId>, (Instant, u64)>>,
}

impl Allowance {
    pub(super) fn new(bytes: u64) -> Self {
        Self { bytes, used: Mutex::default() }
    }

    /// Counts an answer.
    ///
    /// # Errors
    /// The person has fetched too much in this hour. The error is the limit.
    pub(super) fn charge(&self, person: Option<UserId>, bytes: u64, now: Instant) -> Result<(), u64> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, (start, _)| now - *start < WINDOW);
        let (_, sum) = used.entry(person).or_insert((now, 0));
        *sum = sum.saturating_add(bytes.max(LEAST));
        if *sum > self.bytes { Err(self.bytes) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_has_an_hour() {
        let start = Instant::now();
        let allowance = Allowance::new(3 * LEAST);
        let (one, other) = (Some(UserId::generate()), Some(UserId::generate()));
        for _ in 0..3 {
            assert_eq!(allowance.charge(one, 1, start), Ok(()));
        }
        assert_eq!(allowance.charge(one, 1, start), Err(3 * LEAST));
        assert_eq!(allowance.charge(other, LEAST * 3, start), Ok(()));
        assert_eq!(allowance.charge(one, 1, start + WINDOW), Ok(()));
    }
}
