//! The exact sliding log: never more than `limit` units in any window. Pure: the clock is an argument.

use std::{collections::VecDeque, time::Duration};

use crate::decision::{Decision, Micros, asked};

/// `limit` units in any `length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub limit: u32,
    pub length: Micros,
}

/// The units taken within the last window, oldest first: when, and how many.
#[derive(Debug, Clone, Default)]
pub struct Log {
    taken: VecDeque<(Micros, u32)>,
    units: u32,
}

impl Log {
    /// What the window says to `cost` more units. Takes nothing; forgets what has left the window.
    pub fn look(&mut self, window: Window, now: Micros, cost: u32) -> Decision {
        let now = self.advance(window, now);
        let missing = (self.units + asked(cost)).saturating_sub(window.limit);
        Decision {
            allowed: missing == 0,
            remaining: window.limit.saturating_sub(self.units),
            reset_after: Duration::from_micros(self.empty_at(window).saturating_sub(now)),
            retry_after: Duration::from_micros(self.freed_at(window, missing).saturating_sub(now)),
        }
    }

    /// Takes `cost` units that [`Log::look`] allowed at the same time, and says what is left.
    pub fn take(&mut self, window: Window, now: Micros, cost: u32) -> Decision {
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
    #[must_use]
    pub fn empty_at(&self, window: Window) -> Micros {
        self.taken.back().map_or(0, |(at, _)| at + window.length)
    }

    /// Drops what has left the window. A clock that stepped back stands still until it has caught up: units keep their order
    /// and none is counted for less than its window.
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

    /// When `missing` units will have left the window; 0 for none.
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

    fn ask(log: &mut Log, window: Window, now: Micros, cost: u32) -> Decision {
        let decision = log.look(window, now, cost);
        if decision.allowed { log.take(window, now, cost) } else { decision }
    }

    #[test]
    fn the_fourth_in_a_minute_waits_for_the_first_to_leave() {
        let mut log = Log::default();
        for second in [0, 10, 20] {
            assert!(ask(&mut log, AGENT, second * 1_000_000, 1).allowed);
        }
        let refused = ask(&mut log, AGENT, 30_000_000, 1);
        let expected =
            Decision { allowed: false, remaining: 0, reset_after: Duration::from_secs(50), retry_after: Duration::from_secs(30) };
        assert_eq!(refused, expected);
        assert!(!ask(&mut log, AGENT, 59_999_999, 1).allowed);
        assert!(ask(&mut log, AGENT, 60_000_000, 1).allowed);
        assert!(!ask(&mut log, AGENT, 60_000_001, 1).allowed);
    }

    #[test]
    fn a_look_takes_nothing_and_answers_for_one() {
        let mut log = Log::default();
        for _ in 0..10 {
            assert_eq!(ask(&mut log, AGENT, 5, 0).remaining, 3);
        }
        assert!(ask(&mut log, AGENT, 5, 3).allowed);
        assert!(!ask(&mut log, AGENT, 6, 0).allowed);
    }

    #[test]
    fn a_heavy_request_waits_for_as_many_units_as_it_needs() {
        let mut log = Log::default();
        ask(&mut log, AGENT, 0, 1);
        ask(&mut log, AGENT, 1_000_000, 2);
        assert_eq!(log.look(AGENT, 2_000_000, 1).retry_after, Duration::from_secs(58));
        assert_eq!(log.look(AGENT, 2_000_000, 2).retry_after, Duration::from_secs(59));
        assert_eq!(log.look(AGENT, 2_000_000, 3).retry_after, Duration::from_secs(59));
    }

    #[test]
    fn a_clock_that_steps_back_frees_nothing() {
        let mut log = Log::default();
        ask(&mut log, AGENT, 100_000_000, 3);
        assert_eq!(log.look(AGENT, 1, 1).retry_after, Duration::from_secs(60));
    }

    proptest! {
        /// The promise itself, against every window that starts at a grant, whatever the times and costs.
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
                let decision = ask(&mut log, window, now, cost);
                // Not only never too many: never refused without need.
                prop_assert_eq!(decision.allowed, before + cost.max(1) <= limit);
                let used = if decision.allowed { before + cost } else { before };
                prop_assert_eq!(decision.remaining, limit - used);
                if decision.allowed && cost > 0 {
                    granted.push((now, cost));
                }
                if !decision.allowed && cost <= limit {
                    let wait = u64::try_from(decision.retry_after.as_micros()).expect("small");
                    prop_assert!(wait > 0);
                    prop_assert!(log.clone().look(window, now + wait, cost).allowed);
                    prop_assert!(!log.clone().look(window, now + wait - 1, cost).allowed);
                }
            }
            for (start, _) in &granted {
                let inside: u32 = granted.iter().filter(|(at, _)| (*start..start + length).contains(at)).map(|(_, units)| units).sum();
                prop_assert!(inside <= limit);
            }
        }
    }
}
