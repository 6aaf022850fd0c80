//! What the whole service shares.

use std::{sync::Arc, time::Duration};

use chassis::share::Shares;

use crate::{
    cache::Cache, config::Config, last_build::LastBuilds, outline_cache::Outlines, packages::Packages, store::Pool,
    tool_outputs::ToolOutputs, tree::Limits, workers::Pool as WorkerPool,
};

/// The parts that calls share.
pub(crate) struct App {
    pub(crate) cache: Cache,
    pub(crate) workers: WorkerPool,
    pub(crate) packages: Packages,
    pub(crate) outlines: Outlines,
    pub(crate) last_builds: LastBuilds,
    pub(crate) tool_outputs: ToolOutputs,
    /// Open conversations.
    pub(crate) builds: Arc<Shares>,
    /// Bytes of trees and contents in memory.
    pub(crate) bytes: Arc<Shares>,
    pub(crate) limits: Limits,
    /// How long a conversation may take.
    pub(crate) build_timeout: Duration,
}

impl App {
    pub(crate) fn new(config: &Config, pool: Pool) -> Self {
        let percent = config.server.limits.percent;
        Self {
            cache: Cache::new(pool.clone()),
            packages: Packages::new(config, pool.clone()),
            outlines: Outlines::new(pool),
            last_builds: LastBuilds::new(),
            tool_outputs: ToolOutputs::new(),
            workers: WorkerPool::new(config, percent),
            builds: Shares::new(config.max_builds, percent),
            bytes: Shares::new(config.memory, percent),
            limits: config.limits,
            build_timeout: config.build_timeout,
        }
    }
}
