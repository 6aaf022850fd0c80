//! What the whole service shares.

use std::sync::Arc;

use chassis::{
    client::{ServiceChannel, connect},
    clock,
    identity::Caller,
    page::PageTokens,
    secret::ClusterSecret,
};
use proto::rate_limit::rate_limit_service_client::RateLimitServiceClient;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, Domains, SignUp},
    error::Error,
    hash_pool::{Bounds, HashPool},
    keyring::Keyring,
    revocation::Feed,
    store::Pool,
};

/// The parts that calls share. A function that needs the database alone takes the pool.
pub(crate) struct App {
    pub(crate) pool: Pool,
    pub(crate) sign_up: SignUp,
    pub(crate) sign_up_domains: Domains,
    pub(crate) hashes: HashPool,
    pub(crate) limiter: RateLimitServiceClient<ServiceChannel>,
    pub(crate) keyring: Keyring,
    pub(crate) feed: Feed,
    pub(crate) pages: PageTokens,
    /// Reports to the task that sends mails that one was added.
    pub(crate) mail_added: Arc<Notify>,
}

impl App {
    /// Loads the signing keys and creates the first one. Streams of the feed end when `stop` is cancelled.
    ///
    /// # Errors
    /// The parameters of the password hash are out of bounds, or the signing keys cannot be used.
    pub(crate) async fn new(config: &Config, pool: Pool, stop: CancellationToken) -> Result<Self, Error> {
        let bounds = Bounds {
            threads: config.hash_threads,
            queue: config.hash_queue,
            wait: config.hash_wait,
            percent: config.server.limits.percent,
        };
        let limiter = connect(Caller::Auth, Caller::RateLimit, &config.rate_limit_url, &config.cluster_secret);
        Ok(Self {
            sign_up: config.sign_up(),
            sign_up_domains: config.sign_up_domains.clone(),
            hashes: HashPool::new(config.hash_cost, bounds)?,
            limiter: RateLimitServiceClient::new(limiter),
            keyring: Keyring::load(pool.clone(), &config.cluster_secret, config.rotation_interval(), clock::now()).await?,
            feed: Feed::new(pool.clone(), stop),
            pages: page_tokens(&config.cluster_secret),
            mail_added: Arc::default(),
            pool,
        })
    }
}

/// Their key is derived from the one that only auth has, because the role keys (BACKLOT_ROLE_KEYS) of the release before have no other.
fn page_tokens(secret: &ClusterSecret) -> PageTokens {
    PageTokens::new(&ClusterSecret::of_bytes(&secret.derive("auth signing keys")))
}
