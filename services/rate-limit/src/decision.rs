//! What one policy says to one subject, and the terms in which the rules say it.

use std::time::Duration;

/// A point in time in microseconds, of whatever clock counts: the process's or Redis's.
pub type Micros = u64;

/// The answer of one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether this rule alone would allow it.
    pub allowed: bool,
    /// Units left now.
    pub remaining: u32,
    /// When every unit is free again.
    pub reset_after: Duration,
    /// How long until the units asked for are free; zero when allowed.
    pub retry_after: Duration,
}

/// How many units must be free: a look (cost 0) asks whether one more would be allowed.
#[must_use]
pub fn asked(cost: u32) -> u32 {
    cost.max(1)
}

/// A duration in microseconds; policies keep them far below the type's end.
#[must_use]
pub fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}
