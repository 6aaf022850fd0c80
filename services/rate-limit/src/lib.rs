//! rate-limit: whether a subject may do something again now, by policies from a YAML file and counters in Redis or in the process. It
//! knows nothing of users or prices. It answers, and its callers refuse.
//!
//! In reading order:
//!
//! - [`policy`]: a policy, the shipped ones and the file that changes them; [`decision`]: what a policy decides.
//! - [`window`], [`gcra`]: the two algorithms. They are pure, and the tests compare the counters with them.
//! - [`counter`]: where units are counted: [`counter::memory`], and [`counter::redis`] with `check.lua`.
//! - [`limiter`]: counts in Redis, or in the process while Redis cannot be reached.
//! - [`network`]: the networks around an IPv6 address; [`check`]: the checks of one request.
//! - [`app`], [`access`], [`config`], [`error`], [`grpc`]: what all services have.

mod access;
mod app;
mod check;
mod config;
mod counter;
mod decision;
mod error;
mod gcra;
mod grpc;
mod limiter;
mod network;
mod policy;
mod window;

use std::{sync::Arc, time::Duration};

use chassis::{
    client::connect,
    identity::Caller,
    lifecycle, redis,
    server::{ServeError as ServerError, Server},
    task::Tasks,
    verifier::{Keys, Verifier},
};
use proto::rate_limit::rate_limit_service_server::RateLimitServiceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;

pub use self::{access::RULES, config::Config, policy::Policies};
use self::{
    app::App,
    counter::{Clock, redis::Redis},
};

/// What the benchmarks measure without gRPC.
#[doc(hidden)]
pub mod testing {
    pub use crate::{
        counter::{Check, Clock, memory::Memory},
        limiter::Limiter,
    };
}

/// How often the process forgets idle subjects.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// The background tasks of a stopped service end within this.
const TASKS_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the service could not start or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("Redis could not be used")]
    Redis(#[source] redis::Error),
    #[error("the server failed")]
    Server(#[source] ServerError),
}

/// Serves until `shutdown`.
///
/// # Errors
/// If Redis is configured and cannot be used, or the server fails.
pub async fn serve(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<(), ServeError> {
    let Some(connected) = lifecycle::unless_stopped(&shutdown, redis::connect(&config.redis)).await else { return Ok(()) };
    let pool = connected.map_err(ServeError::Redis)?;
    let counters = pool.map(|pool| Redis::new(pool, &config.redis.prefix, config.redis_timeout, Clock::System));
    let app = Arc::new(App::new(&config, counters));

    let tasks = Tasks::new();
    tasks.spawn(sweep(Arc::clone(&app), tasks.token()));

    let auth = connect(Caller::RateLimit, Caller::Auth, &config.auth_url, &config.cluster_secret);
    let verifier = Arc::new(Verifier::new(Caller::RateLimit, &config.cluster_secret, Keys::Remote(auth)));
    let service = RateLimitServiceServer::new(grpc::Service(app)).accept_compressed(CompressionEncoding::Gzip);
    let served = Server::new(Caller::RateLimit, config.server, verifier, RULES).add_service(service).serve(listener, shutdown).await;

    tasks.shutdown(TASKS_TIMEOUT).await;
    served.map_err(ServeError::Server)
}

async fn sweep(app: Arc<App>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(SWEEP_INTERVAL)).await.is_some() {
        app.limiter.sweep();
    }
}
