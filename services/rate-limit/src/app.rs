//! What the whole service shares.

use crate::{
    config::Config,
    counter::{Clock, memory::Memory, redis::Redis},
    limiter::Limiter,
    policy::Policies,
};

/// The parts that calls share.
pub(crate) struct App {
    pub(crate) policies: Policies,
    pub(crate) limiter: Limiter,
}

impl App {
    /// Without `redis` the process counts by itself.
    pub(crate) fn new(config: &Config, redis: Option<Redis>) -> Self {
        let memory = Memory::new(config.max_subjects, Clock::System);
        Self { policies: config.policies.clone(), limiter: Limiter::new(redis, memory) }
    }
}
