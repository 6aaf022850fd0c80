//! project-storage: files, history, conversation and previews of projects. A project is a tree of files, kept as git objects in
//! PostgreSQL, with a log of revisions and one conversation. The service knows nothing of models and prompts, and speaks gRPC only.
//!
//! In reading order:
//!
//! - [`model`]: projects, revisions, messages, turns and change sets, with the pure rules about them.
//! - [`git`]: git objects, trees and the differences between trees.
//! - [`merge`]: the three-way merge of trees. Pure.
//! - [`search`]: finding a text in files. Pure.
//! - [`archive`]: zip and tar files. Pure.
//! - [`read`]: reading trees, files, revisions and messages, with a cache of git objects.
//! - [`commit`]: creating a project, saving it, resolving a conflict, and the beginning and the end of a turn.
//! - [`manage`]: changing a project. [`delete`]: deleting, restoring and purging one. [`labels`]: names of revisions. [`locks`]: paths
//!   that may not be changed. [`preview`]: files as a browser gets them. [`sites`]: published sites.
//!   [`templates`]: what can be made a project of.
//! - [`accounts`]: the deletion of what a person has here.
//! - [`edit`]: changes of messages, and reactions.
//! - [`watch`]: the streams of those who watch projects.
//! - [`background`]: tasks that run beside the calls.
//! - [`store`]: the SQL.
//! - [`grpc`], [`access`], [`config`], [`error`], [`app`]: what every service has. [`blocking`]: CPU work on large files.

mod access;
mod accounts;
mod app;
mod archive;
mod background;
mod blocking;
mod commit;
mod config;
mod delete;
mod edit;
mod error;
mod git;
mod grpc;
mod labels;
mod locks;
mod manage;
mod merge;
mod model;
mod preview;
mod read;
mod search;
mod sites;
mod store;
mod templates;
mod watch;

use std::{sync::Arc, time::Duration};

use chassis::{
    client::{MAX_MESSAGE_BYTES, connect},
    deletion_log,
    identity::Caller,
    lifecycle,
    limit::General,
    postgres, redis,
    revocations::Revocations,
    server::{ServeError as ServerError, Server},
    tail::keep_up,
    task::Tasks,
    verifier::{Keys, Verifier},
};
use proto::project_storage::project_storage_service_server::ProjectStorageServiceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;

pub use self::{access::RULES, config::Config};
use self::{
    app::App,
    background::{accounts::Accounts, garbage, sessions, starters, sweep},
    store::Pool,
    watch::{Watch, changes::Changes, reader::Reader, watchers::Watchers},
};

/// What tests use to write rows that the RPCs would refuse.
#[doc(hidden)]
pub mod testing {
    pub use crate::{
        accounts::delete as delete_account,
        background::{garbage::sweep_one, sweep::delete_unused_store},
        git::{Commit, FileRef, Folder, Object, blob, blob_id, commit, diff, stat},
        model::{
            project::StoreId,
            revision::{Actor, Totals},
        },
        store::{
            MIGRATOR, connection,
            saves::{NewRevision, advance},
        },
    };
}

/// How long the background tasks may take to stop.
const TASKS_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the service could not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the database could not be used")]
    Postgres(#[source] postgres::Error),
    #[error("Redis could not be used")]
    Redis(#[source] redis::Error),
    #[error("the server failed")]
    Server(#[source] ServerError),
}

/// Serves until `shutdown`.
///
/// # Errors
/// The database or Redis could not be used, or the server failed.
pub async fn serve(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<(), ServeError> {
    let tasks = Tasks::new();
    let Some(started) = lifecycle::unless_stopped(&shutdown, start(&config, &tasks)).await else { return Ok(()) };
    let (pool, changes) = started?;
    let watch = Watch { pool: pool.clone(), changes, watchers: Watchers::default(), stop: shutdown.clone() };
    let reader = Reader { pool: pool.clone(), watchers: watch.watchers.clone() };
    tasks.spawn(keep_up(watch.changes.tails.clone(), reader, tasks.token()));
    let app = Arc::new(App::new(&config, watch));

    tasks.spawn(sweep::run(pool.clone(), tasks.token()));
    starters::start(&pool, &tasks, &shutdown).await;
    tasks.spawn(garbage::run(pool.clone(), config.object_sweep, tasks.token()));

    let auth = connect(Caller::ProjectStorage, Caller::Auth, &config.auth_url, &config.cluster_secret);
    let revocations = Arc::new(Revocations::new(Caller::ProjectStorage));
    tasks.spawn(Arc::clone(&revocations).follow(auth.clone(), tasks.token()));
    tasks.spawn(sessions::follow(pool.clone(), auth.clone(), tasks.token()));
    tasks.spawn(deletion_log::follow(Accounts::new(pool.clone(), auth.clone()), tasks.token()));
    let verifier = Arc::new(Verifier::new(Caller::ProjectStorage, &config.cluster_secret, Keys::Remote(auth)));
    let limiter = app.limiter.clone();
    let service = ProjectStorageServiceServer::new(grpc::Service(app))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let served = Server::new(Caller::ProjectStorage, config.server, verifier, RULES)
        .add_service(service)
        .limit_direct_callers(General::new(limiter))
        .refuse_ended_sessions(revocations)
        .needs(postgres::ENGINE, postgres::watch(&pool))
        .serve(listener, shutdown)
        .await;

    tasks.shutdown(TASKS_TIMEOUT).await;
    pool.close().await;
    served.map_err(ServeError::Server)
}

/// The parts that wait for the database and Redis.
async fn start(config: &Config, tasks: &Tasks) -> Result<(Pool, Changes), ServeError> {
    let pool = postgres::connect(&config.postgres, &store::MIGRATOR).await.map_err(ServeError::Postgres)?;
    let changes = Changes::connect(&config.redis, tasks).await.map_err(ServeError::Redis)?;
    Ok((pool, changes))
}
