//! What the whole service shares.

use std::sync::Arc;

use chassis::{
    client::{ServiceChannel, connect},
    clock,
    identity::Caller,
    page::PageTokens,
    secret::{AUTH_KEYS, ClusterSecret, Sealer},
};
use proto::rate_limit::rate_limit_service_client::RateLimitServiceClient;
use ring::hmac;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    config::{Config, Domains, SecondFactor, SignInChallenge, SignUp},
    error::Error,
    hash_pool::{Bounds, HashPool},
    keyring::Keyring,
    place::Places,
    provider::Providers,
    relying_party::RelyingParty,
    revocation::Feed,
    store::Pool,
    stuffing::Detector,
};

/// The parts that calls share. A function that needs the database alone takes the pool.
pub(crate) struct App {
    pub(crate) pool: Pool,
    pub(crate) sign_up: SignUp,
    pub(crate) sign_up_domains: Domains,
    /// Whether each person needs a second factor.
    pub(crate) second_factor: SecondFactor,
    /// The least characters of a new password.
    pub(crate) password_min: usize,
    pub(crate) hashes: HashPool,
    pub(crate) limiter: RateLimitServiceClient<ServiceChannel>,
    pub(crate) stuffing: Detector,
    pub(crate) keyring: Keyring,
    pub(crate) feed: Feed,
    pub(crate) pages: PageTokens,
    /// Seals the secrets of authenticator apps.
    pub(crate) second_factors: Sealer,
    /// Hashes the codes that persons type for devices.
    pub(crate) user_codes: Vec<hmac::Key>,
    pub(crate) providers: Providers,
    /// The places of networks; none without a file.
    pub(crate) places: Places,
    /// This site for passkeys; `None` if they are not offered.
    pub(crate) relying_party: Option<RelyingParty>,
    /// What links begin with.
    pub(crate) site: Url,
    /// Reports to the task that sends mails that one was added.
    pub(crate) mail_added: Arc<Notify>,
}

impl App {
    /// Loads the signing keys and creates the first one. Streams of the feed end when `stop` is cancelled.
    ///
    /// # Errors
    /// The parameters of the password hash are out of bounds, or the signing keys or providers cannot be used.
    pub(crate) async fn new(config: &Config, pool: Pool, stop: CancellationToken) -> Result<Self, Error> {
        let bounds = Bounds {
            threads: config.hash_threads,
            queue: config.hash_queue,
            wait: config.hash_wait,
            percent: config.server.limits.percent,
        };
        let limiter = connect(Caller::Auth, Caller::RateLimit, &config.rate_limit_url, &config.cluster_secret);
        let limiter = RateLimitServiceClient::new(limiter);
        let with_challenges = config.sign_in_challenge == SignInChallenge::UnderAttack;
        Ok(Self {
            sign_up: config.sign_up(),
            sign_up_domains: config.sign_up_domains.clone(),
            second_factor: config.second_factor,
            password_min: config.password_min,
            hashes: HashPool::new(config.hash_cost, config.breached.clone(), bounds)?,
            stuffing: Detector::new(limiter.clone(), &config.cluster_secret, with_challenges),
            limiter,
            keyring: Keyring::load(pool.clone(), &config.cluster_secret, config.rotation_interval(), clock::now()).await?,
            feed: Feed::new(pool.clone(), stop),
            // Of the keys that only auth has, because the role keys (BACKLOT_ROLE_KEYS) of the release before have none for page tokens.
            pages: PageTokens::new(&config.cluster_secret.of_purpose(AUTH_KEYS)),
            user_codes: user_codes(&config.cluster_secret),
            providers: Providers::new(&config.providers, &config.mail.site())?,
            places: config.places.clone(),
            second_factors: Sealer::new(&config.cluster_secret, AUTH_KEYS)?,
            relying_party: RelyingParty::of(&config.mail.site()),
            site: config.mail.site(),
            mail_added: Arc::default(),
            pool,
        })
    }

    /// # Errors
    /// PASSKEYS_NOT_OFFERED.
    pub(crate) fn relying_party(&self) -> Result<&RelyingParty, Error> {
        self.relying_party.as_ref().ok_or(Error::PasskeysNotOffered)
    }
}

/// One for each secret that is accepted, the one that signs first.
fn user_codes(secret: &ClusterSecret) -> Vec<hmac::Key> {
    let keys = secret.of_purpose(AUTH_KEYS).accepted("user codes of devices");
    keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect()
}
