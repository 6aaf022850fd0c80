//! auth: who you are. Accounts with passwords, browser sessions, access tokens, and the feed of sessions that ended. It knows
//! nothing of projects or turns, and what a plan allows is written elsewhere.
//!
//! In reading order:
//! - [`account`]: one function per RPC: sign up, sign in, sign out, the current session, an access token.
//! - [`user`], [`email`], [`password`], [`session`]: the rules it follows; none does I/O, none knows a clock.
//! - [`hash_pool`]: where password work runs, so that a flood of it stays in its bounds.
//! - [`limit`]: what the policies `auth`, `auth-account` and `auth-guess` count.
//! - [`token`], [`rotation`], [`keyring`]: what an access token says and who signs it; when keys change; the keys in memory.
//! - [`revocation`]: the feed that lets a sign-out act within a second.
//! - [`housekeeping`]: what is deleted, and when.
//! - [`store`]: all SQL. [`grpc`], [`access`], [`config`], [`error`]: the edges.

pub mod account;
pub mod email;
pub mod password;
pub mod session;
pub mod user;

pub mod hash_pool;
pub mod limit;

pub mod keyring;
pub mod rotation;
pub mod token;

pub mod housekeeping;
pub mod revocation;

pub mod access;
pub mod config;
pub mod error;
pub mod grpc;
pub mod store;

use std::{sync::Arc, time::Duration};

use chassis::{
    client, clock,
    identity::Caller,
    limit::General,
    postgres,
    server::{self, Server},
    task::Tasks,
    verifier::{Keys, Verifier},
};
use proto::{auth::auth_service_server::AuthServiceServer, rate_limit::rate_limit_service_client::RateLimitServiceClient};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;

pub use config::Config;

/// How long background work may take to notice that the process stops.
const TASKS_LIMIT: Duration = Duration::from_secs(2);

/// Why the service could not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("auth has no database")]
    Database(#[source] postgres::Error),
    #[error("auth could not start")]
    Start(#[source] error::Error),
    #[error("auth stopped serving")]
    Serve(#[source] server::ServeError),
}

/// Serves auth on the listener until `shutdown`.
///
/// # Errors
/// The database, the signing keys or the listener could not be used.
pub async fn serve(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<(), ServeError> {
    let pool = postgres::connect(&config.postgres, &store::MIGRATOR).await.map_err(ServeError::Database)?;
    // Before the first sign-up, which must not make a second account of an address.
    housekeeping::identify(&pool).await.map_err(|e| ServeError::Start(e.into()))?;
    let bounds = hash_pool::Bounds {
        threads: config.hash_threads,
        queue: config.hash_queue,
        wait: config.hash_wait,
        percent: config.server.limits.percent,
    };
    let hashes = hash_pool::HashPool::new(config.hash_cost, bounds).map_err(|e| ServeError::Start(e.into()))?;
    let keyring = keyring::Keyring::open(pool.clone(), &config.cluster_secret, config.rotation_interval(), clock::now())
        .await
        .map_err(ServeError::Start)?;
    let feed = revocation::Feed::new(pool.clone(), shutdown.clone());

    let tasks = Tasks::new();
    tasks.spawn(feed.clone().run());
    tasks.spawn(keyring.clone().run(tasks.token()));
    tasks.spawn(housekeeping::run(pool.clone(), tasks.token()));

    let rate_limit = client::connect(Caller::Auth, Caller::RateLimit, &config.rate_limit_url, &config.cluster_secret);
    let published = keyring.published();
    let verifier = Verifier::new(Caller::Auth, &config.cluster_secret, Keys::Local(published.clone()));
    let accounts = account::Accounts::new(config.sign_up, (pool.clone(), hashes), rate_limit.clone(), keyring, feed.clone());
    let served = Server::new(Caller::Auth, config.server, Arc::new(verifier), access::RULES)
        .add(AuthServiceServer::new(grpc::Api { accounts, published, feed }).accept_compressed(CompressionEncoding::Gzip))
        .counts(General::new(RateLimitServiceClient::new(rate_limit)))
        .needs(postgres::ENGINE, postgres::watch(&pool))
        .serve(listener, shutdown)
        .await;

    tasks.shutdown(TASKS_LIMIT).await;
    pool.close().await;
    served.map_err(ServeError::Serve)
}
