//! A prompt becomes a turn, a turn becomes events. The service knows nothing of files but what project-storage says, and nothing of
//! people but whose turn it is. In reading order:
//!
//! - [`turn`]: the rules: what a turn is, how its events look in the log, and what they come to.
//! - [`intake`]: a turn on its way in, found again, and stopped.
//! - [`drive`]: who runs it, step by step, to exactly one end.
//! - [`log`]: the event log as its writers see it; [`watch`]: as its viewers do.
//! - [`model`]: the models, what they are told, and what they answer; [`workspace`]: the files that a turn reads and stages, and its tools.
//! - [`store`], [`upstream`]: the database and the other services.
//! - [`app`], [`access`], [`config`], [`error`], [`grpc`], [`metrics`]: what all services have.
//! - `seeded_bugs`: wrong variants that the chaos harness must find; in no executable that anybody runs.

mod access;
mod app;
pub mod config;
mod drive;
mod error;
mod grpc;
mod intake;
mod log;
mod metrics;
mod model;
#[cfg(feature = "seeded-bugs")]
mod seeded_bugs;
mod store;
#[cfg(test)]
mod testing;
mod turn;
mod upstream;
mod watch;
mod workspace;

use std::{sync::Arc, time::Duration};

use chassis::{
    client,
    identity::Caller,
    limit::General,
    postgres, redis,
    server::{self, Server},
    task::Tasks,
    verifier::{Keys, Verifier},
};
use proto::agent_streaming::agent_streaming_service_server::AgentStreamingServiceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;

pub use self::config::Config;
use self::{
    access::RULES,
    app::{App, Events},
    drive::{outbox, worker::Worker},
    grpc::Service,
    intake::disconnect,
    log::{
        doorbell::{Doorbell, Listeners},
        journal::{Journal, flusher::Flusher},
        partitions,
    },
    model::agents,
    watch::{follow, tail::Tails},
};

/// The name of the folder, the process and its telemetry.
pub const NAME: &str = error::SERVICE;

/// The background tasks of a stopped service end within this.
const TASKS_LIMIT: Duration = Duration::from_secs(2);

/// Why the service could not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the database")]
    Postgres(#[from] postgres::Error),
    #[error("the partitions of the event log")]
    Partitions(#[source] store::StoreError),
    #[error("the doorbell")]
    Redis(#[from] redis::Error),
    #[error("the agents")]
    Agents(#[from] agents::AgentFaults),
    #[error("the server")]
    Server(#[from] server::ServeError),
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
    let events = Events { journal, tails: tails.clone(), doorbell };
    let app = Arc::new(App::new(&config, db.clone(), events, shutdown.clone())?);

    metrics::begin();
    // The log is written until the last turn has ended or was let go of.
    let (writing, stop_writing) = (Tasks::new(), CancellationToken::new());
    writing.spawn(flusher.run(stop_writing.clone()));
    tasks.spawn(follow::read_for_tails(tails, db.clone(), tasks.token()));
    tasks.spawn(partitions::maintain(db.clone(), config.event_retention, tasks.token()));
    tasks.spawn(metrics::watch_open_turns(db.clone(), tasks.token()));
    tasks.spawn(outbox::run(Arc::clone(&app)));
    tasks.spawn(disconnect::run(Arc::clone(&app)));
    let worker = Worker::new(Arc::clone(&app));

    let verifier = Arc::new(Verifier::new(Caller::AgentStreaming, &config.cluster_secret, Keys::Remote(auth)));
    let limits = app.upstream.limits();
    let server = Server::new(Caller::AgentStreaming, config.server, verifier, RULES)
        .add(AgentStreamingServiceServer::new(Service(app)).accept_compressed(CompressionEncoding::Gzip))
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
