//! The decision of a policy about a subject, and the units of the algorithms.

use std::time::Duration;

/// A point in time in microseconds, by the clock of the process or of Redis.
pub(crate) type Micros = u64;

/// The decision of one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Whether this policy by itself allows it.
    pub(crate) allowed: bool,
    /// Units left now.
    pub(crate) remaining: u32,
    /// How long until all units are free again.
    pub(crate) reset_after: Duration,
    /// How long until the requested units are free; zero if allowed.
    pub(crate) retry_after: Duration,
}

/// How many units must be free. A check with cost 0 is allowed if one more unit would be.
pub(crate) fn units_needed(cost: u32) -> u32 {
    cost.max(1)
}

/// A duration in microseconds. The limits of policies keep it far below the range of the type.
pub(crate) fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}
