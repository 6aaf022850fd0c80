//! The exact sliding log: at most `limit` units in every window.

use std::{collections::VecDeque, time::Duration};

use crate::decision::{Decision, Micros, units_needed};

/// At most `limit` units in every period of `length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) limit: u32,
    pub(crate) length: Micros,
}

/// The units that were taken within the last window.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    /// When, and how many; the oldest first.
    taken: VecDeque<(Micros, u32)>,
    units: u32,
}

impl Log {
    /// Decides about `cost` more units, and takes nothing. Removes units that have left the window.
    pub(crate) fn peek(&mut self, window: Window, now: Micros, cost: u32) -> Decision {
        let now = self.advance(window, now);
        let missing = (self.units + units_needed(cost)).saturating_sub(window.limit);
        Decision {
            allowed: missing == 0,
            remaining: window.limit.saturating_sub(self.units),
            reset_after: Duration::from_micros(self.empty_at(window).saturating_sub(now)),
            retry_after: Duration::from_micros(self.freed_at(window, missing).saturating_sub(now)),
        }
    }

    /// Takes `cost` units that [`Log::peek`] allowed at the same time.
    pub(crate) fn take(&mut self, window: Window, now: Micros, cost: u32) -> Decision {
        let now = self.advance(window, now);
        if cost > 0 {
            self.taken.push_back((now, cost));
            self.units += cost;
        }
        Decision {
            allowed: true,
            remaining: window.limit.saturating_sub(self.units),
            reset_after: Duration::from_micros(self.empty_at(window).saturating_sub(now)),
            retry_after: Duration::ZERO,
        }
    }

    /// When the last unit leaves the window; 0 for an empty log.
    pub(crate) fn empty_at(&self, window: Window) -> Micros {
        self.taken.back().map_or(0, |(at, _)| at + window.length)
    }

    /// Removes the units that have left the window. Returns the time to use: the time of the newest unit, if the clock stepped back. So
    /// units stay in order, and none is counted for less than its window.
    fn advance(&mut self, window: Window, now: Micros) -> Micros {
        let now = self.taken.back().map_or(now, |(newest, _)| now.max(*newest));
        while let Some(&(at, units)) = self.taken.front()
            && at + window.length <= now
        {
            self.taken.pop_front();
            self.units -= units;
        }
        now
    }

    /// When `missing` more units have left the window; 0 if none is missing.
    fn freed_at(&self, window: Window, missing: u32) -> Micros {
        let mut left = missing;
        for (at, units) in &self.taken {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(*units);
            if left == 0 {
                return at + window.length;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGENT: Window = Window { limit: 3, length: 60_000_000 };

    fn request(log: &mut Log, window: Window, now: Micros, cost: u32) -> Decision {
        let decision = log.peek(window, now, cost);
        if decision.allowed { log.take(window, now, cost) } else { decision }
    }

    #[test]
    fn the_fourth_unit_in_a_minute_waits_until_the_first_leaves_the_window() {
        let mut log = Log::default();
        for second in [0, 10, 20] {
            assert!(request(&mut log, AGENT, second * 1_000_000, 1).allowed);
        }
        let refused = request(&mut log, AGENT, 30_000_000, 1);
        let expected =
            Decision { allowed: false, remaining: 0, reset_after: Duration::from_secs(50), retry_after: Duration::from_secs(30) };
        assert_eq!(refused, expected);
        assert!(!request(&mut log, AGENT, 59_999_999, 1).allowed);
        assert!(request(&mut log, AGENT, 60_000_000, 1).allowed);
        assert!(!request(&mut log, AGENT, 60_000_001, 1).allowed);
    }

    #[test]
    fn a_check_with_cost_zero_takes_nothing_and_decides_about_one_unit() {
        let mut log = Log::default();
        for _ in 0..10 {
            assert_eq!(request(&mut log, AGENT, 5, 0).remaining, 3);
        }
        assert!(request(&mut log, AGENT, 5, 3).allowed);
        assert!(!request(&mut log, AGENT, 6, 0).allowed);
    }

    #[test]
    fn a_request_of_several_units_waits_until_all_of_them_are_free() {
        let mut log = Log::default();
        request(&mut log, AGENT, 0, 1);
        request(&mut log, AGENT, 1_000_000, 2);
        assert_eq!(log.peek(AGENT, 2_000_000, 1).retry_after, Duration::from_secs(58));
        assert_eq!(log.peek(AGENT, 2_000_000, 2).retry_after, Duration::from_secs(59));
        assert_eq!(log.peek(AGENT, 2_000_000, 3).retry_after, Duration::from_secs(59));
    }

    #[test]
    fn a_clock_that_steps_back_frees_nothing() {
        let mut log = Log::default();
        request(&mut log, AGENT, 100_000_000, 3);
        assert_eq!(log.peek(AGENT, 1, 1).retry_after, Duration::from_secs(60));
    }

    proptest! {
        /// For all times and costs, every window that starts at a grant has at most the limit.
        #[test]
        fn never_more_than_the_limit_in_any_window(
            limit in 1_u32..6,
            length in 1_u64..50,
            steps in proptest::collection::vec((0_u64..20, 0_u32..4), 1..200),
        ) {
            let window = Window { limit, length };
            let (mut log, mut now, mut granted) = (Log::default(), 0_u64, Vec::<(u64, u32)>::new());
            for (pause, cost) in steps {
                now += pause;
                let before = granted.iter().filter(|(at, _)| at + length > now).map(|(_, units)| units).sum::<u32>();
                let decision = request(&mut log, window, now, cost);
                // It also refuses only what exceeds the limit.
                prop_assert_eq!(decision.allowed, before + cost.max(1) <= limit);
                let used = if decision.allowed { before + cost } else { before };
                prop_assert_eq!(decision.remaining, limit - used);
                if decision.allowed && cost > 0 {
                    granted.push((now, cost));
                }
                if !decision.allowed && cost <= limit {
                    let wait = u64::try_from(decision.retry_after.as_micros()).expect("small");
                    prop_assert!(wait > 0);
                    prop_assert!(log.clone().peek(window, now + wait, cost).allowed);
                    prop_assert!(!log.clone().peek(window, now + wait - 1, cost).allowed);
                }
            }
            for (start, _) in &granted {
                let inside: u32 = granted.iter().filter(|(at, _)| (*start..start + length).contains(at)).map(|(_, units)| units).sum();
                prop_assert!(inside <= limit);
            }
        }
    }
}
