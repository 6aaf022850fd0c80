//! The limits of one answer of the model.

use std::time::Duration;

use crate::turn::{Failure, Reason};

/// The limits of one answer of the model. Each has a setting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepLimits {
    /// Bytes of text, reasoning and arguments.
    pub(crate) bytes: usize,
    pub(crate) calls: usize,
    pub(crate) time: Duration,
}

impl StepLimits {
    /// # Errors
    /// `LIMIT_EXCEEDED`, with the limit and its setting in the message.
    pub(super) fn check(&self, bytes: usize, calls: usize) -> Result<(), Failure> {
        if bytes > self.bytes {
            return Err(exceeded(format!("is longer than {} bytes (BACKLOT_MAX_STEP_BYTES)", self.bytes)));
        }
        if calls > self.calls {
            return Err(exceeded(format!("has more than {} tool calls (BACKLOT_MAX_STEP_CALLS)", self.calls)));
        }
        Ok(())
    }

    /// The failure of an answer that took longer than the limit.
    pub(super) fn timed_out(&self) -> Failure {
        exceeded(format!("took longer than {} s (BACKLOT_STEP_TIMEOUT)", self.time.as_secs_f64()))
    }
}

fn exceeded(how: String) -> Failure {
    Failure::new(Reason::LimitExceeded, format!("one answer of the model {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_above_a_limit_fails_with_its_setting() {
        let limits = StepLimits { bytes: 10, calls: 2, time: Duration::from_millis(1_500) };
        let message = |bytes, calls| limits.check(bytes, calls).map_err(|failure| (failure.reason, failure.message));
        let exceeded = |text: &str| Err((Reason::LimitExceeded, format!("one answer of the model {text}")));
        assert_eq!(message(10, 2), Ok(()));
        assert_eq!(message(11, 2), exceeded("is longer than 10 bytes (BACKLOT_MAX_STEP_BYTES)"));
        assert_eq!(message(10, 3), exceeded("has more than 2 tool calls (BACKLOT_MAX_STEP_CALLS)"));
        assert_eq!(limits.timed_out().message, "one answer of the model took longer than 1.5 s (BACKLOT_STEP_TIMEOUT)");
    }
}
