//! Whether a failed attempt is followed by another one, and the failure of a turn after its last attempt.

use std::time::Duration;

use crate::{
    model::provider::{ErrorClass, ProviderError},
    turn::{Failure, Reason},
};

/// Attempts of one step.
const MAX_ATTEMPTS: u32 = 3;
/// Empty answers of one step after which there is another attempt.
const MAX_EMPTY_ANSWERS: u32 = 1;
/// If a provider asks for a longer pause, there is no other attempt.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Counts the failed attempts of one step.
#[derive(Default)]
pub(super) struct FailureCounter {
    pub(super) count: u32,
    empty: u32,
}

impl FailureCounter {
    /// Counts a failed attempt. Returns the pause before the next one, or `None` if there is no next one. `jitter` is 0 to 1.
    pub(super) fn next_pause(&mut self, error: &ProviderError, jitter: f64) -> Option<Duration> {
        self.count += 1;
        self.empty += u32::from(error.class == ErrorClass::EmptyAnswer);
        let retry = error.retryable && self.count < MAX_ATTEMPTS && self.empty <= MAX_EMPTY_ANSWERS;
        retry.then(|| error.delay(self.count, jitter)).filter(|pause| *pause <= MAX_PAUSE)
    }
}

/// The failure of a turn whose last attempt has failed.
pub(super) fn failure(error: &ProviderError) -> Failure {
    let reason = match error.class {
        ErrorClass::Timeout => Reason::ProviderStalled,
        ErrorClass::InvalidRequest | ErrorClass::Authentication | ErrorClass::NotFound => Reason::ProviderRefused,
        ErrorClass::Overloaded | ErrorClass::RateLimited | ErrorClass::Connection | ErrorClass::ServerError => Reason::ProviderError,
        ErrorClass::Truncated => Reason::Truncated,
        ErrorClass::EmptyAnswer => Reason::EmptyAnswer,
        ErrorClass::TooLong => Reason::LimitExceeded,
        ErrorClass::KeyMissing => Reason::ProviderKeyMissing,
    };
    let too_long = error.retry_after.filter(|wait| error.retryable && *wait > MAX_PAUSE);
    let wait = too_long.map_or_else(String::new, |wait| {
        format!(" (it asks to wait {} s; a turn waits at most {} s)", wait.as_secs_f64().ceil(), MAX_PAUSE.as_secs())
    });
    Failure::new(reason, format!("{}{wait}", error.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(class: ErrorClass, retry_after: Option<u64>) -> ProviderError {
        ProviderError { retry_after: retry_after.map(Duration::from_secs), ..ProviderError::new(class, "x") }
    }

    #[test]
    fn a_step_has_at_most_three_attempts() {
        let pauses = |errors: [ProviderError; 4]| {
            let mut failures = FailureCounter::default();
            errors.map(|error| failures.next_pause(&error, 0.0).map(|pause| pause.as_millis()))
        };
        let always = |class, retry_after| pauses([(); 4].map(|()| error(class, retry_after)));
        assert_eq!(always(ErrorClass::Overloaded, None), [Some(500), Some(1_000), None, None]);
        assert_eq!(always(ErrorClass::RateLimited, Some(60)), [Some(60_000), Some(60_000), None, None]);
        assert_eq!(always(ErrorClass::EmptyAnswer, None), [Some(500), None, None, None], "one retry");
        assert_eq!(always(ErrorClass::RateLimited, Some(61)), [None; 4]);
        assert_eq!(always(ErrorClass::InvalidRequest, None), [None; 4]);
        assert_eq!(always(ErrorClass::Truncated, None), [None; 4]);
        let empty = || error(ErrorClass::EmptyAnswer, None);
        let mixed = pauses([empty(), error(ErrorClass::Connection, None), empty(), empty()]);
        assert_eq!(mixed, [Some(500), Some(1_000), None, None], "all failures count together");
    }

    #[test]
    fn a_pause_that_is_too_long_is_in_the_message() {
        assert_eq!(failure(&error(ErrorClass::RateLimited, Some(120))).message, "x (it asks to wait 120 s; a turn waits at most 60 s)");
        assert_eq!(failure(&error(ErrorClass::RateLimited, Some(3))).message, "x");
    }
}
