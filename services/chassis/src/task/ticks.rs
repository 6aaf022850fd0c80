//! The rhythm of a background task.

use std::{future::Future, time::Duration};

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Wakes a task periodically until a token is cancelled. The first tick is immediate. A tick that was missed because the work took longer
/// is not made up for.
///
/// ```
/// # use std::time::Duration;
/// # async fn example(stop: tokio_util::sync::CancellationToken) {
/// let mut ticks = chassis::task::Ticks::new(Duration::from_secs(10), stop);
/// while ticks.next().await {
///     // The work. A cancelled token does not interrupt it.
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Ticks {
    interval: Interval,
    stop: CancellationToken,
}

impl Ticks {
    /// # Panics
    /// `period` is zero, or there is no runtime.
    #[must_use]
    pub fn new(period: Duration, stop: CancellationToken) -> Self {
        let mut interval = interval(period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { interval, stop }
    }

    /// Waits for the next tick. Returns whether the work goes on; `false` if the token is cancelled.
    pub async fn next(&mut self) -> bool {
        self.next_or(std::future::pending()).await
    }

    /// Waits for the next tick or for `wake`, whichever is first. Returns whether the work goes on; `false` if the token is cancelled.
    pub async fn next_or(&mut self, wake: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            _ = self.interval.tick() => true,
            () = wake => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::poll;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn the_first_tick_is_immediate_and_a_wake_replaces_a_tick() {
        let mut ticks = Ticks::new(HOUR, CancellationToken::new());
        assert!(ticks.next().await);
        assert!(poll!(Box::pin(ticks.next())).is_pending());
        assert!(ticks.next_or(ready(())).await);
        assert!(poll!(Box::pin(ticks.next_or(pending()))).is_pending());
    }

    #[tokio::test]
    async fn a_cancelled_token_ends_the_ticks() {
        let stop = CancellationToken::new();
        let mut ticks = Ticks::new(HOUR, stop.clone());
        stop.cancel();
        assert!(!ticks.next().await, "also if a tick is due");
        assert!(!ticks.next_or(ready(())).await, "also if there is a wake");
    }
}
