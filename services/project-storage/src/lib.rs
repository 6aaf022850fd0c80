//! Files, history and messages. A project is a tree of files kept as git objects in PostgreSQL, with a log of revisions and one
//! conversation. It knows no prompt, no model and no HTTP.
//!
//! In reading order:
//!
//! - [`path`], [`limits`]: what a file may be called and how much there may be.
//! - [`git`]: objects, trees and their differences, behind one module.
//! - [`change`], [`merge`]: what a change set makes of a tree, and of one that moved on. Pure.
//! - [`project`], [`revision`], [`message`]: the nouns, who may read them, and their pages.
//! - [`tree`], [`cache`], [`load`]: reading; [`edit`], [`lock`]: from a change set to a commit.
//! - `attempt`: what a lost race is; [`saver`], [`save`]: a person's save; [`begin`], [`turn`]: an agent's turn. Each is written at once or not at all.
//! - [`conflict`], [`resolve`]: a turn that could not be merged, beside the head, and how a person ends that.
//! - [`preview`]: files as a browser gets them. [`sweep`]: what is forgotten.
//! - `store`: the SQL. `grpc`, [`access`], `error`, [`config`]: the edges.

pub mod path;

pub mod limits;

pub mod git;

pub mod change;
pub mod merge;

pub mod message;
pub mod project;
pub mod quota;
pub mod revision;

pub mod cache;
pub mod load;
pub mod tree;

pub mod edit;
pub mod lock;

pub(crate) mod attempt;
pub mod save;
pub mod saver;

pub mod begin;
pub mod turn;

pub mod condition;
pub mod conflict;
pub mod create;
pub mod resolve;

pub mod preview;
pub mod sessions;
pub mod sweep;

pub mod store;

pub mod access;
pub mod config;
pub mod error;
mod grpc;

use std::{sync::Arc, time::Duration};

use chassis::{
    client::{MAX_MESSAGE_BYTES, ServiceChannel, connect},
    identity::Caller,
    limit::General,
    page::PageTokens,
    postgres,
    server::{ServeError as ServerError, Server},
    share::Shares,
    task::Tasks,
    verifier::{Keys, Verifier},
};
pub use config::Config;
use proto::{
    project_storage::project_storage_service_server::ProjectStorageServiceServer,
    rate_limit::rate_limit_service_client::RateLimitServiceClient,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;

use crate::{cache::Cache, lock::Locks, quota::Quotas, store::Pool};

const TASKS_LIMIT: Duration = Duration::from_secs(2);

/// What every rule works with.
pub struct Storage {
    pub(crate) pool: Pool,
    pub(crate) cache: Cache,
    pub(crate) locks: Locks,
    pub(crate) limiter: RateLimitServiceClient<ServiceChannel>,
    pub(crate) pages: PageTokens,
    pub(crate) quotas: Quotas,
    /// Pages of whole projects that are being read.
    pub(crate) loads: Arc<Shares>,
}

/// Why the service could not start or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Database(postgres::Error),
    #[error(transparent)]
    Server(ServerError),
}

/// Serves until `shutdown`.
///
/// # Errors
/// If the database cannot be used, or the server fails.
pub async fn serve(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<(), ServeError> {
    let pool = postgres::connect(&config.database, &store::MIGRATOR).await.map_err(ServeError::Database)?;
    let secret = &config.cluster_secret;
    let limiter = connect(Caller::ProjectStorage, Caller::RateLimit, &config.rate_limit_url, secret);
    let storage = Arc::new(Storage {
        pool,
        cache: Cache::new(config.cache_bytes),
        locks: Locks::default(),
        limiter: RateLimitServiceClient::new(limiter),
        pages: PageTokens::new(secret),
        quotas: config.quotas,
        loads: Shares::new(config.loads, config.server.limits.percent),
    });

    let tasks = Tasks::new();
    tasks.spawn(sweep::run(Arc::clone(&storage), tasks.token()));

    let auth = connect(Caller::ProjectStorage, Caller::Auth, &config.auth_url, secret);
    tasks.spawn(sessions::follow(Arc::clone(&storage), auth.clone(), tasks.token()));
    let verifier = Arc::new(Verifier::new(Caller::ProjectStorage, secret, Keys::Remote(auth)));
    let service = ProjectStorageServiceServer::new(grpc::Service(Arc::clone(&storage)))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let served = Server::new(Caller::ProjectStorage, config.server, verifier, access::RULES)
        .add(service)
        .counts(General::new(storage.limiter.clone()))
        .needs(postgres::ENGINE, postgres::watch(&storage.pool))
        .serve(listener, shutdown)
        .await;

    tasks.shutdown(TASKS_LIMIT).await;
    storage.pool.close().await;
    served.map_err(ServeError::Server)
}
