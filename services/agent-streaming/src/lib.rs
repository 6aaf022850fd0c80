//! A prompt becomes a turn, a turn becomes events. It knows nothing of files but what project-storage says, and nothing of
//! people but whose turn it is. In reading order:
//!
//! - [`turn`], [`event`], [`transcript`], [`answer`]: the rules: what a turn is, how its events look in the log, and what they
//!   come to; [`json`]: what models write.
//! - [`start`], [`list`], [`cancel`], [`disconnect`]: a turn on its way in, found again, and stopped.
//! - [`worker`], [`run`], [`step`], [`saga`], [`outbox`]: who drives it, step by step, to exactly one end.
//! - [`journal`]: the log as its writers see it; [`tail`], [`follow`], [`compact`]: as its viewers do; [`doorbell`]: between replicas.
//! - [`provider`], [`prompt`], [`history`], [`agents`]: the model, and what it is told; [`tools`], [`overlay`]: what it may do.
//! - [`store`], [`partitions`], [`upstream`]: the database and the other services; [`grpc`], [`error`], [`config`]: the edge;
//!   [`metrics`]: what operators see.

pub mod agents;
mod answer;
mod cancel;
mod compact;
pub mod config;
mod disconnect;
mod doorbell;
mod error;
mod event;
mod follow;
mod grpc;
mod history;
mod journal;
mod json;
mod list;
mod metrics;
mod outbox;
pub mod overlay;
mod partitions;
pub mod prompt;
pub mod provider;
mod run;
mod saga;
mod start;
mod step;
mod store;
mod tail;
#[cfg(test)]
mod testing;
pub mod tools;
mod transcript;
mod turn;
mod upstream;
mod worker;

use std::{sync::Arc, time::Duration};

use chassis::{
    client,
    identity::{Caller, Keys, Verifier},
    limit::General,
    page::PageTokens,
    postgres, redis,
    server::{self, Rule, Server, Size::Ordinary},
    task::Tasks,
};
use proto::agent_streaming::agent_streaming_service_server::AgentStreamingServiceServer;
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;

pub use self::config::Config;
use self::{
    agents::Agents,
    disconnect::Followed,
    doorbell::{Doorbell, Listeners},
    grpc::Service,
    journal::{Journal, flusher::Flusher},
    provider::Providers,
    step::StepLimits,
    tail::Tails,
    upstream::Upstream,
    worker::Worker,
};

/// The name of the folder, the process and its telemetry.
pub const NAME: &str = error::SERVICE;

/// Who may call what. Everything here is public and acts for a person.
pub const RULES: &[Rule] = &[
    Rule { rpc: "StartTurn", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "GetTurn", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "ListTurns", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "StreamTurnEvents", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "CancelTurn", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "ListAgents", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "GetAgent", callers: PUBLIC, user: true, size: Ordinary },
];
const PUBLIC: &[Caller] = &[Caller::Direct, Caller::Gateway];

/// The background tasks of a stopped service end within this.
const TASKS_LIMIT: Duration = Duration::from_secs(2);

/// Why the service could not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the database")]
    Postgres(#[from] postgres::Error),
    #[error("the partitions of the event log")]
    Partitions(#[source] store::Error),
    #[error("the doorbell")]
    Redis(#[from] redis::Error),
    #[error("the agents")]
    Agents(#[from] agents::AgentFaults),
    #[error("the server")]
    Server(#[from] server::ServeError),
}

/// What a turn may use.
pub(crate) struct Limits {
    pub(crate) lease: Duration,
    pub(crate) begin_timeout: Duration,
    pub(crate) disconnect_grace: Duration,
    pub(crate) max_turns: usize,
    pub(crate) max_steps: u32,
    pub(crate) step: StepLimits,
    pub(crate) max_output_tokens: u32,
}

/// What everybody here shares.
pub(crate) struct Parts {
    pub(crate) db: store::Pool,
    pub(crate) journal: Journal,
    pub(crate) tails: Tails,
    pub(crate) followed: Followed,
    pub(crate) doorbell: Doorbell,
    /// Rings when EndTurn has become due.
    pub(crate) outbox: Notify,
    pub(crate) upstream: Upstream,
    pub(crate) agents: Agents,
    pub(crate) providers: Providers,
    pub(crate) pages: PageTokens,
    pub(crate) limits: Limits,
    /// Cancelled when the process drains.
    pub(crate) stop: CancellationToken,
}

/// Serves until `shutdown`, then drains: no new turns, viewers sent elsewhere, running turns handed over to another replica.
///
/// # Errors
/// If a part is missing at the start, or the server failed.
pub async fn serve(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<(), ServeError> {
    let db = postgres::connect(&config.database, &store::MIGRATOR).await?;
    partitions::ensure(&db, chassis::clock::now().date()).await.map_err(ServeError::Partitions)?;
    let (journal, tails, tasks) = (Journal::default(), Tails::default(), Tasks::new());
    let listeners = Listeners { tails: tails.clone(), journal: journal.clone() };
    let doorbell = Doorbell::connect(&config.redis, listeners, &tasks).await?;
    let flusher = Flusher::new(journal.clone(), db.clone(), tails.clone(), doorbell.clone(), config.lease);
    let auth = client::connect(Caller::AgentStreaming, Caller::Auth, &config.auth_url, &config.cluster_secret);
    let parts = Arc::new(parts(&config, db.clone(), (journal, tails.clone(), doorbell), shutdown.clone())?);

    metrics::begin();
    // The log is written until the last turn has ended or was let go of.
    let (writing, stop_writing) = (Tasks::new(), CancellationToken::new());
    writing.spawn(flusher.run(stop_writing.clone()));
    tasks.spawn(follow::read_for_tails(tails, db.clone(), tasks.token()));
    tasks.spawn(partitions::maintain(db.clone(), config.event_retention, tasks.token()));
    tasks.spawn(metrics::watch_open_turns(db.clone(), tasks.token()));
    tasks.spawn(outbox::run(Arc::clone(&parts)));
    tasks.spawn(disconnect::run(Arc::clone(&parts)));
    let worker = Worker::new(Arc::clone(&parts));

    let verifier = Arc::new(Verifier::new(Caller::AgentStreaming, &config.cluster_secret, Keys::Remote(auth)));
    let limits = parts.upstream.limits();
    let server = Server::new(Caller::AgentStreaming, config.server, verifier, RULES)
        .add(AgentStreamingServiceServer::new(Service(parts)).accept_compressed(CompressionEncoding::Gzip))
        .counts(General::new(limits))
        .needs(postgres::ENGINE, postgres::watch(&db));
    let driving = async {
        worker.run().await;
        worker.drain().await;
    };
    let (served, ()) = tokio::join!(ended_by(server.serve(listener, shutdown.clone()), &shutdown), driving);
    stop_writing.cancel();
    writing.shutdown(TASKS_LIMIT).await;
    tasks.shutdown(TASKS_LIMIT).await;
    db.close().await;
    Ok(served?)
}

/// A server that ends by itself takes the rest with it.
async fn ended_by<T>(server: impl Future<Output = T>, shutdown: &CancellationToken) -> T {
    let served = server.await;
    shutdown.cancel();
    served
}

fn parts(config: &Config, db: store::Pool, ways: (Journal, Tails, Doorbell), stop: CancellationToken) -> Result<Parts, ServeError> {
    let (journal, tails, doorbell) = ways;
    let to = |callee, uri| client::connect(Caller::AgentStreaming, callee, uri, &config.cluster_secret);
    Ok(Parts {
        db,
        journal,
        tails,
        followed: Followed::default(),
        doorbell,
        outbox: Notify::new(),
        upstream: Upstream::new(to(Caller::ProjectStorage, &config.project_storage_url), to(Caller::RateLimit, &config.rate_limit_url)),
        agents: Agents::load(config.agents_dir.as_deref())?,
        providers: Providers::new(&config.providers),
        pages: PageTokens::new(&config.cluster_secret),
        limits: Limits {
            lease: config.lease,
            begin_timeout: config.begin_timeout,
            disconnect_grace: config.disconnect_grace,
            max_turns: config.max_turns,
            max_steps: config.max_steps,
            step: StepLimits { bytes: config.max_step_bytes, calls: config.max_step_calls, time: config.step_timeout },
            max_output_tokens: config.max_output_tokens,
        },
        stop,
    })
}
