//! What the whole service shares.

use std::sync::Arc;

use chassis::{
    client::{ServiceChannel, connect},
    identity::Caller,
    page::PageTokens,
    share::Shares,
};
use proto::rate_limit::rate_limit_service_client::RateLimitServiceClient;

use crate::{
    commit::{lock::Locks, quota::Quotas},
    config::Config,
    read::cache::Cache,
    store::Pool,
};

/// The parts that calls share. A function that needs the database alone takes the pool.
pub(crate) struct App {
    pub(crate) pool: Pool,
    pub(crate) cache: Cache,
    pub(crate) locks: Locks,
    pub(crate) limiter: RateLimitServiceClient<ServiceChannel>,
    pub(crate) pages: PageTokens,
    pub(crate) quotas: Quotas,
    /// Pages of whole projects that are being read.
    pub(crate) loads: Arc<Shares>,
}

impl App {
    pub(crate) fn new(config: &Config, pool: Pool) -> Self {
        let secret = &config.cluster_secret;
        let limiter = connect(Caller::ProjectStorage, Caller::RateLimit, &config.rate_limit_url, secret);
        Self {
            pool,
            cache: Cache::new(config.cache_bytes),
            locks: Locks::default(),
            limiter: RateLimitServiceClient::new(limiter),
            pages: PageTokens::new(secret),
            quotas: config.quotas,
            loads: Shares::new(config.loads, config.server.limits.percent),
        }
    }
}
