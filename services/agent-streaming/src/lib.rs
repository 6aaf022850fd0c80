//! Runs turns and streams their events. It reads and commits files through project-storage, and of a user it knows only the id. In
//! reading order:
//!
//! - [`turn`]: the rules: the states of a turn, its events, and what is derived from them.
//! - [`intake`]: starts, finds, lists and cancels turns.
//! - [`drive`]: the worker, which drives each turn step by step to exactly one end.
//! - [`log`]: writes the event log. [`watch`]: reads it for viewers.
//! - [`model`]: agents, prompts and the providers of models. [`workspace`]: the staged files of a turn, and its tools.
//! - [`folds`]: the folds of the logs of running turns. [`staged`]: the staged files of a running turn, for those who may read its project.
//! - [`own_keys`]: keys of providers that persons and projects bring.
//! - [`deletions`]: deletes what belongs to deleted accounts, projects and messages.
//! - [`check`]: checks files of revisions, and the staged ones of turns. [`outline`]: what files declare and import.
//! - [`store`], [`upstream`]: the database and the other services.
//! - [`app`], [`access`], [`config`], [`error`], [`grpc`], [`metrics`]: the files that every service has.
//! - `seeded_bugs`: wrong variants that the chaos harness must find. Released executables do not contain them.

mod access;
mod app;
mod catalogue;
mod check;
mod config;
mod context;
mod deletions;
mod digest;
mod drive;
mod error;
mod folds;
mod grpc;
mod intake;
mod log;
mod metrics;
mod model;
mod outline;
mod own_keys;
mod planning;
#[cfg(feature = "seeded-bugs")]
mod seeded_bugs;
mod selection;
mod staged;
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
    lifecycle,
    limit::General,
    postgres, redis,
    revocations::Revocations,
    server::{self, Server},
    tail::keep_up,
    task::Tasks,
    verifier::{Keys, Verifier},
};
use proto::agent_streaming::agent_streaming_service_server::AgentStreamingServiceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;

pub use self::{access::RULES, catalogue::Catalogue, config::Config, context::tokens::count as count_tokens};
use self::{
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
    store::Pool,
    watch::{follow, tail::Tails},
};

/// How long the background tasks of a stopping service may take to end.
const TASKS_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the service did not start, or ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the database could not be used")]
    Postgres(#[from] postgres::Error),
    #[error("the partitions of the event log could not be created")]
    Partitions(#[source] store::StoreError),
    #[error("Redis could not be used")]
    Redis(#[from] redis::Error),
    #[error("the folder of agents could not be read")]
    Agents(#[source] std::io::Error),
    #[error("the server failed")]
    Server(#[from] server::ServeError),
}

/// Serves until `shutdown`, then drains: it takes no new turns, asks viewers to reconnect to another replica, and releases the turns
/// that still run.
///
/// # Errors
/// A dependency is missing at the start, or the server fails.
pub async fn serve(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<(), ServeError> {
    let (journal, tails, tasks) = (Journal::default(), Tails::default(), Tasks::new());
    let listeners = Listeners { tails: tails.clone(), journal: journal.clone() };
    let Some(started) = lifecycle::unless_stopped(&shutdown, start(&config, listeners, &tasks)).await else { return Ok(()) };
    let (db, doorbell) = started?;
    let flusher = Flusher::new(journal.clone(), db.clone(), tails.clone(), doorbell.clone(), config.lease);
    let auth = client::connect(Caller::AgentStreaming, Caller::Auth, &config.auth_url, &config.cluster_secret);
    let events = Events { journal, tails: tails.clone(), doorbell };
    let app = Arc::new(App::new(&config, db.clone(), events, shutdown.clone()).map_err(ServeError::Agents)?);

    metrics::init();
    // The first turn would wait for it. It needs no end.
    drop(chassis::task::blocking(context::tokens::load));
    // The flusher stops after the worker: it writes the last events of the turns.
    let (writing, stop_writing) = (Tasks::new(), CancellationToken::new());
    writing.spawn(flusher.run(stop_writing.clone()));
    tasks.spawn(keep_up(tails, follow::Reader(db.clone()), tasks.token()));
    tasks.spawn(partitions::maintain(db.clone(), config.event_retention, tasks.token()));
    tasks.spawn(metrics::watch_open_turns(db.clone(), tasks.token()));
    tasks.spawn(outbox::run(Arc::clone(&app)));
    tasks.spawn(disconnect::run(Arc::clone(&app)));
    tasks.spawn(expire_folds(Arc::clone(&app)));
    tasks.spawn(deletions::follow(Arc::clone(&app)));
    tasks.spawn(chassis::reseal::run(app.own_keys.clone(), tasks.token()));
    tasks.spawn(agents::follow(Arc::clone(&app.agents), tasks.token()));
    let revocations = Arc::new(Revocations::new(Caller::AgentStreaming));
    tasks.spawn(Arc::clone(&revocations).follow(auth.clone(), tasks.token()));
    let worker = Worker::new(Arc::clone(&app));

    let verifier = Arc::new(Verifier::new(Caller::AgentStreaming, &config.cluster_secret, Keys::Remote(auth)));
    let limits = app.upstream.limits();
    let server = Server::new(Caller::AgentStreaming, config.server, verifier, RULES)
        .add_service(AgentStreamingServiceServer::new(Service(app)).accept_compressed(CompressionEncoding::Gzip))
        .limit_direct_callers(General::new(limits))
        .refuse_ended_sessions(revocations)
        .needs(postgres::ENGINE, postgres::watch(&db));
    let driving = async {
        worker.run().await;
        worker.drain().await;
    };
    let (served, ()) = tokio::join!(cancel_after(server.serve(listener, shutdown.clone()), &shutdown), driving);
    stop_writing.cancel();
    writing.shutdown(TASKS_TIMEOUT).await;
    tasks.shutdown(TASKS_TIMEOUT).await;
    db.close().await;
    Ok(served?)
}

/// The parts that wait for the database and Redis.
async fn start(config: &Config, listeners: Listeners, tasks: &Tasks) -> Result<(Pool, Doorbell), ServeError> {
    let db = postgres::connect(&config.postgres, &store::MIGRATOR).await?;
    partitions::ensure(&db, chassis::clock::now().date()).await.map_err(ServeError::Partitions)?;
    let doorbell = Doorbell::connect(&config.redis, listeners, tasks).await?;
    Ok((db, doorbell))
}

async fn expire_folds(app: Arc<App>) {
    app.folds.expire(app.stop.clone()).await;
}

/// Stops the rest of the service when the server ends.
async fn cancel_after<T>(server: impl Future<Output = T>, shutdown: &CancellationToken) -> T {
    let served = server.await;
    shutdown.cancel();
    served
}
