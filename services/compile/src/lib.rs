//! compile: pages and modules of source trees for a browser, and checks of trees. It calls nobody. Callers send the files that it
//! does not know. It never parses them: a worker process with the executable `backlot-compiler` does. Another process with it asks the npm
//! registry, and reads what the registry sends.
//!
//! In reading order:
//! - [`build`]: one build, from the first message to the answer. [`dialogue`]: the questions to the caller. [`tree`]: the files. [`findings`]: what is wrong with them.
//! - [`outlines`]: what the files of a tree declare and import. [`outline_cache`]: those that are kept.
//! - [`packages`]: the npm packages that a page imports. [`registry_url`]: where they come from.
//! - [`vendored`]: the packages that an operator keeps for machines without a registry.
//! - [`workers`]: the pool of worker processes. [`release`]: the executable, and the hash that keys of pages have.
//! - [`cache`]: what is kept, and for how long. [`known`]: facts of modules in memory. [`last_build`]: the last build of a project in memory.
//!   [`tool_outputs`]: answers of Tailwind in memory. [`sweep`]: the deletion of what was not used.
//! - [`store`]: the SQL. `seeded_bugs`: what the chaos harness must find.
//! - [`app`], [`access`], [`config`], [`error`], [`grpc`]: what all services have.

mod access;
mod app;
mod build;
mod cache;
mod config;
mod dialogue;
mod error;
mod findings;
mod grpc;
mod hash;
mod known;
mod last_build;
mod outline_cache;
mod outlines;
mod packages;
mod registry_url;
mod release;
#[cfg(feature = "seeded-bugs")]
mod seeded_bugs;
mod store;
mod sweep;
mod tool_outputs;
mod tree;
mod vendored;
mod workers;

use std::{sync::Arc, time::Duration};

use chassis::{
    identity::Caller,
    lifecycle, postgres,
    server::{ServeError as ServerError, Server},
    task::Tasks,
    verifier::{Keys, Verifier},
};
use proto::compile::compile_service_server::CompileServiceServer;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;

use self::app::App;
pub use self::{access::RULES, config::Config, registry_url::RegistryUrl};

/// What the tests of the service use besides its RPCs.
#[doc(hidden)]
pub mod testing {
    pub use crate::{hash::blob_id, store::MIGRATOR, sweep::sweep};
}

/// The background tasks of a stopped service end within this.
const TASKS_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the service could not start or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the database could not be used")]
    Postgres(#[source] postgres::Error),
    #[error("the server failed")]
    Server(#[source] ServerError),
}

/// Serves until `shutdown`. A missing compiler is an error of each build, and not of the start.
///
/// # Errors
/// If the database cannot be used, or the server fails.
pub async fn serve(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<(), ServeError> {
    let connecting = postgres::connect(&config.postgres, &store::MIGRATOR);
    let Some(connected) = lifecycle::unless_stopped(&shutdown, connecting).await else { return Ok(()) };
    let pool = connected.map_err(ServeError::Postgres)?;
    let app = Arc::new(App::new(&config, pool.clone()));
    let tasks = Tasks::new();
    tasks.spawn(sweep::run(pool.clone(), config.keep, tasks.token()));
    // No call has a user, so that no keys of access tokens are fetched.
    let (_, no_keys) = watch::channel(Vec::new());
    let verifier = Arc::new(Verifier::new(Caller::Compile, &config.cluster_secret, Keys::Local(no_keys)));
    let served = Server::new(Caller::Compile, config.server, verifier, RULES)
        .add_service(CompileServiceServer::new(grpc::Service(app)).accept_compressed(CompressionEncoding::Gzip))
        .needs(postgres::ENGINE, postgres::watch(&pool))
        .serve(listener, shutdown)
        .await;
    tasks.shutdown(TASKS_TIMEOUT).await;
    pool.close().await;
    served.map_err(ServeError::Server)
}
