//! What all builds share.

use std::{sync::Arc, time::Duration};

use chassis::share::Shares;
use compiler_client::worker::Workers;
use npm::Limits;

use super::{allowance::Allowance, registry::Registry};
use crate::store::Pool;

/// What threads share.
pub(super) struct Shared {
    pub(super) pool: Pool,
    pub(super) registry: Registry,
    pub(super) limits: Limits,
    pub(super) allowance: Allowance,
    pub(super) downloads: Arc<Shares>,
    /// How processes that fetch are started.
    pub(super) fetchers: Workers,
    /// Those that run.
    pub(super) processes: Arc<Shares>,
    /// How long a process that fetches, and a request to the registry, wait for their turn.
    pub(super) wait: Duration,
    /// How long packages are resolved or fetched.
    pub(super) time: Duration,
}
