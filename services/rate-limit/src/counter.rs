//! Where units are counted. Two implementations, in the process and in Redis, held to the same tests with `window.rs` and
//! `gcra.rs` as their oracles.

pub mod memory;
pub mod redis;

#[cfg(test)]
mod conformance;

use std::{future::Future, sync::Arc};

use crate::{
    decision::{Decision, Micros},
    policy::Policy,
};

/// One policy asked for one subject.
#[derive(Debug, Clone)]
pub struct Ask {
    pub policy: Arc<Policy>,
    pub subject: String,
    /// Units to take; 0 looks.
    pub cost: u32,
}

/// The place that counts gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("the counters could not be reached")]
pub struct Away(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Counts units, atomically over all asks of a request.
pub trait Counter: Send + Sync {
    /// Takes every unit asked for, or none when one ask is refused. One decision per ask, in order; where another ask was
    /// refused, `remaining` is what is left without taking.
    fn take(&self, asks: &[Ask]) -> impl Future<Output = Result<Vec<Decision>, Away>> + Send;
}

/// Which clock counts.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// That of the place that counts: the process's, or Redis's.
    #[default]
    Own,
    #[cfg(test)]
    Set(Arc<std::sync::atomic::AtomicU64>),
}

impl Clock {
    /// The time that a test has set.
    fn set(&self) -> Option<Micros> {
        match self {
            Self::Own => None,
            #[cfg(test)]
            Self::Set(now) => Some(now.load(std::sync::atomic::Ordering::Relaxed)),
        }
    }
}
