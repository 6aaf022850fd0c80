//! The generic cell rate algorithm: a steady rate with a burst. It stores one time per subject, whatever the limit is.
//!
//! The stored time is when all units will be free again. Taking a unit moves it by one interval. It may be at most `burst` intervals ahead
//! of now.

use std::time::Duration;

use crate::decision::{Decision, Micros, units_needed};

/// One unit per `interval`, and at most `burst` units at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) interval: Micros,
    pub(crate) burst: u32,
}

impl Rate {
    /// The interval is rounded up, so that rounding never grants more than the limit.
    pub(crate) fn new(limit: u32, window: Micros, burst: u32) -> Self {
        Self { interval: window.div_ceil(u64::from(limit)).max(1), burst }
    }

    /// Decides about `cost` more units for a subject whose units are all free at `free_at`, and takes nothing.
    pub(crate) fn peek(self, free_at: Micros, now: Micros, cost: u32) -> Decision {
        let ahead = free_at.saturating_sub(now);
        let wait = (ahead + self.interval * u64::from(units_needed(cost))).saturating_sub(self.tolerance());
        Decision { allowed: wait == 0, retry_after: Duration::from_micros(wait), ..self.left(ahead) }
    }

    /// Takes `cost` units that [`Rate::peek`] allowed at the same time. Returns the time to store, and the decision.
    pub(crate) fn take(self, free_at: Micros, now: Micros, cost: u32) -> (Micros, Decision) {
        let free_at = free_at.max(now) + self.interval * u64::from(cost);
        (free_at, self.left(free_at - now))
    }

    fn left(self, ahead: Micros) -> Decision {
        let units = self.tolerance().saturating_sub(ahead) / self.interval;
        Decision {
            allowed: true,
            remaining: u32::try_from(units).unwrap_or(self.burst),
            reset_after: Duration::from_micros(ahead),
            retry_after: Duration::ZERO,
        }
    }

    fn tolerance(self) -> Micros {
        self.interval * u64::from(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(rate: Rate, free_at: &mut Micros, now: Micros, cost: u32) -> Decision {
        let decision = rate.peek(*free_at, now, cost);
        if !decision.allowed {
            return decision;
        }
        let (next, decision) = rate.take(*free_at, now, cost);
        *free_at = next;
        decision
    }

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        // 10 units per second, at most 3 at once.
        let (rate, mut free_at) = (Rate::new(10, 1_000_000, 3), 0);
        let start = 1_000_000_000;
        for left in [2, 1, 0] {
            assert_eq!(request(rate, &mut free_at, start, 1).remaining, left);
        }
        let refused = request(rate, &mut free_at, start, 1);
        assert_eq!((refused.allowed, refused.retry_after), (false, Duration::from_millis(100)));
        assert!(!request(rate, &mut free_at, start + 99_999, 1).allowed);
        assert!(request(rate, &mut free_at, start + 100_000, 1).allowed);
        assert_eq!(rate.peek(free_at, start + 100_000, 0).reset_after, Duration::from_millis(300));
    }

    #[test]
    fn a_fractional_interval_is_rounded_up() {
        assert_eq!(Rate::new(7, 1_000_000, 7).interval, 142_858);
    }

    #[test]
    fn a_check_with_cost_zero_takes_nothing_and_decides_about_one_unit() {
        let (rate, mut free_at) = (Rate::new(1, 1_000_000, 1), 0);
        assert!(request(rate, &mut free_at, 10, 0).allowed);
        assert!(request(rate, &mut free_at, 10, 1).allowed);
        assert!(!request(rate, &mut free_at, 10, 0).allowed);
    }

    proptest! {
        /// In every period the rate grants at most the burst and one unit per interval.
        #[test]
        fn never_more_than_burst_and_rate(
            interval in 1_u64..30,
            burst in 1_u32..6,
            steps in proptest::collection::vec((0_u64..20, 0_u32..4), 1..200),
        ) {
            let rate = Rate { interval, burst };
            let (mut free_at, mut now, mut granted) = (0, 1_000, Vec::<(u64, u64)>::new());
            for (pause, cost) in steps {
                now += pause;
                let decision = request(rate, &mut free_at, now, cost);
                prop_assert!(decision.remaining <= burst);
                if decision.allowed && cost > 0 {
                    granted.push((now, u64::from(cost)));
                }
                if !decision.allowed && cost <= burst {
                    let wait = u64::try_from(decision.retry_after.as_micros()).expect("small");
                    prop_assert!(rate.peek(free_at, now + wait, cost).allowed);
                    prop_assert!(!rate.peek(free_at, now + wait - 1, cost).allowed);
                }
            }
            for (i, (start, _)) in granted.iter().enumerate() {
                let mut units = 0;
                for (at, cost) in &granted[i..] {
                    units += cost;
                    prop_assert!(units <= u64::from(burst) + (at - start) / interval);
                }
            }
        }
    }
}
