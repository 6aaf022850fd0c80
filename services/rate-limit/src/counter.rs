//! Where units are counted: in the process or in Redis. Both implementations pass the same tests, which compare them with `window.rs`
//! and `gcra.rs`.

pub(crate) mod memory;
pub(crate) mod redis;

#[cfg(test)]
mod conformance;

use std::{future::Future, sync::Arc};

use crate::{
    decision::{Decision, Micros},
    policy::Policy,
};

/// A request of units from one policy for one subject.
#[derive(Debug, Clone)]
pub struct Check {
    pub policy: Arc<Policy>,
    pub subject: String,
    /// Units to take. 0 reads the state and takes nothing.
    pub cost: u32,
}

/// The counters did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the counters could not be reached")]
pub(crate) struct Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Counts the units of all checks of a request atomically.
pub(crate) trait Counter: Send + Sync {
    /// Takes the units of all checks, or none if one check is refused. Returns one decision per check, in order. If another check was
    /// refused, `remaining` is the number of units that are left because none was taken.
    fn take(&self, checks: &[Check]) -> impl Future<Output = Result<Vec<Decision>, Unreachable>> + Send;
}

/// The clock of a counter.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The clock of the process, or of Redis.
    #[default]
    System,
    /// A clock that a test sets.
    #[cfg(test)]
    Manual(Arc<std::sync::atomic::AtomicU64>),
}

impl Clock {
    /// The time of a manual clock.
    fn manual(&self) -> Option<Micros> {
        match self {
            Self::System => None,
            #[cfg(test)]
            Self::Manual(now) => Some(now.load(std::sync::atomic::Ordering::Relaxed)),
        }
    }
}
