//! How often: says whether a subject may do something again, by policies from a YAML file and counters in Redis or in the
//! process. It knows no user, no money and no concurrency; it answers, and its callers refuse.
//!
//! In reading order:
//!
//! - [`policy`]: what a policy is, the shipped ones and the file that changes them; [`decision`]: what one says.
//! - [`network`]: IPv6 addresses and what is around them.
//! - [`window`], [`gcra`]: the two algorithms, pure; the oracles of the script.
//! - [`counter`]: where units are counted: [`counter::memory`], [`counter::redis`] with `check.lua`.
//! - [`limiter`]: Redis where there is one, the process while it is away.
//! - `grpc`, `access`, `error`, [`config`]: what all services have.

pub mod policy;

pub mod decision;
pub mod gcra;
pub mod window;

pub mod counter;

pub mod limiter;
pub mod network;

mod access;
pub mod config;
mod error;
mod grpc;

use std::{sync::Arc, time::Duration};

use chassis::{
    client::connect,
    identity::Caller,
    redis,
    server::{ServeError as ServerError, Server},
    task::Tasks,
    verifier::{Keys, Verifier},
};
pub use config::Config;
use proto::rate_limit::rate_limit_service_server::RateLimitServiceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;

use crate::{
    counter::{Clock, memory::Memory, redis::Redis},
    limiter::Limiter,
};

const SWEEP_EVERY: Duration = Duration::from_secs(10);
const TASKS_LIMIT: Duration = Duration::from_secs(1);

/// Why the service could not start or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the counters in Redis cannot be used")]
    Redis(#[source] redis::Error),
    #[error(transparent)]
    Server(ServerError),
}

/// Serves until `shutdown`.
///
/// # Errors
/// If Redis is configured and unusable, or the server fails.
pub async fn serve(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<(), ServeError> {
    let pool = redis::connect(&config.redis).await.map_err(ServeError::Redis)?;
    let counters = pool.map(|pool| Redis::new(pool, &config.redis.prefix, config.redis_timeout, Clock::Own));
    let limiter = Arc::new(Limiter::new(counters, Memory::new(config.max_subjects, Clock::Own)));

    let tasks = Tasks::new();
    tasks.spawn(sweep(Arc::clone(&limiter), tasks.token()));

    let auth = connect(Caller::RateLimit, Caller::Auth, &config.auth_url, &config.cluster_secret);
    let verifier = Arc::new(Verifier::new(Caller::RateLimit, &config.cluster_secret, Keys::Remote(auth)));
    let service =
        RateLimitServiceServer::new(grpc::Service { policies: config.policies, limiter }).accept_compressed(CompressionEncoding::Gzip);
    let served = Server::new(Caller::RateLimit, config.server, verifier, access::RULES).add(service).serve(listener, shutdown).await;
    tasks.shutdown(TASKS_LIMIT).await;
    served.map_err(ServeError::Server)
}

async fn sweep(limiter: Arc<Limiter>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(SWEEP_EVERY)).await.is_some() {
        limiter.sweep();
    }
}
