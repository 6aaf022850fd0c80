//! Files, history and messages. A project is a tree of files kept as git objects in PostgreSQL, with a log of revisions and one
//! conversation. It knows no prompt, no model and no HTTP.
//!
//! In reading order:
//!
//! - [`path`], [`limits`]: what a file may be called and how much there may be.
//! - [`git`]: objects, trees and their differences, behind one module.
//! - [`change`], [`merge`]: what a change set makes of a tree, and of one that moved on. Pure.
//! - [`project`], [`revision`], [`message`], [`turn`]: the nouns; [`condition`], [`page`], [`quota`]: rules about them.
//! - [`read`]: reading, as far as the role of the reader goes. [`cache`]: what was read.
//! - [`commit`]: a person's save and an agent's turn, each written at once or not at all. [`lock`]: one saver at a time.
//! - [`manage`], [`preview`]: names and ends of projects; files as a browser gets them.
//! - [`sessions`], [`sweep`]: what runs beside the calls.
//! - [`store`]: the SQL.
//! - [`app`], [`access`], [`config`], [`error`], [`grpc`]: what all services have.

mod access;
mod app;
mod cache;
mod change;
mod commit;
mod condition;
mod config;
mod error;
mod git;
mod grpc;
mod limits;
mod lock;
mod manage;
mod merge;
mod message;
mod page;
mod path;
mod preview;
mod project;
mod quota;
mod read;
mod revision;
mod sessions;
mod store;
mod sweep;
mod turn;

use std::{sync::Arc, time::Duration};

use chassis::{
    client::{MAX_MESSAGE_BYTES, connect},
    identity::Caller,
    limit::General,
    postgres,
    server::{ServeError as ServerError, Server},
    task::Tasks,
    verifier::{Keys, Verifier},
};
use proto::project_storage::project_storage_service_server::ProjectStorageServiceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;

use self::app::App;
pub use self::{access::RULES, config::Config};

/// What tests of the service write with, behind the rules of its RPCs.
#[doc(hidden)]
pub mod testing {
    pub use crate::{
        git::{Commit, FileRef, Folder, Object, blob, blob_id, commit, diff, stat},
        project::StoreId,
        revision::Actor,
        store::{
            MIGRATOR, connection,
            saves::{NewRevision, advance},
        },
    };
}

/// The background tasks of a stopped service end within this.
const TASKS_LIMIT: Duration = Duration::from_secs(2);

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
    let app = Arc::new(App::new(&config, pool.clone()));

    let tasks = Tasks::new();
    tasks.spawn(sweep::run(pool.clone(), tasks.token()));

    let auth = connect(Caller::ProjectStorage, Caller::Auth, &config.auth_url, &config.cluster_secret);
    tasks.spawn(sessions::follow(pool.clone(), auth.clone(), tasks.token()));
    let verifier = Arc::new(Verifier::new(Caller::ProjectStorage, &config.cluster_secret, Keys::Remote(auth)));
    let limiter = app.limiter.clone();
    let service = ProjectStorageServiceServer::new(grpc::Service(app))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let served = Server::new(Caller::ProjectStorage, config.server, verifier, RULES)
        .add(service)
        .counts(General::new(limiter))
        .needs(postgres::ENGINE, postgres::watch(&pool))
        .serve(listener, shutdown)
        .await;

    tasks.shutdown(TASKS_LIMIT).await;
    pool.close().await;
    served.map_err(ServeError::Server)
}
