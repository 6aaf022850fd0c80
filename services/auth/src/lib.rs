//! auth: accounts with passwords, browser sessions, access tokens, the feed of ended sessions, and the audit log. It knows nothing of
//! projects or turns. What a plan allows is defined in the other services.
//!
//! In reading order:
//! - [`account`]: one function per RPC: sign up, sign in, sign out, read the current session, create an access token.
//! - [`session_list`], [`password_change`], [`refresh`]: the same for the list of sessions, a new password, and refresh tokens of programs.
//! - [`admin`]: what an operator does. [`audit`]: the log of what people and operators did.
//! - [`user`], [`email`], [`password`], [`session`], [`origin`], [`credential`]: the rules. They do no I/O and take the time as a parameter.
//! - [`hash_pool`]: the threads that hash passwords, with limits against a flood of sign-ins.
//! - [`proof`]: the RPCs that prove an address, and the reset of a password; [`email_token`]: the tokens of their links.
//! - [`mail`]: the mails: their queue, words and form, and how they are sent.
//! - [`limit`]: what the policies `auth`, `auth-account` and `auth-guess` count.
//! - [`token`], [`rotation`], [`keyring`]: the content and signature of an access token; the schedule of its keys; the keys in memory.
//! - [`revocation`]: the feed through which a sign-out takes effect within a second.
//! - [`housekeeping`]: the end of expired sessions, and the deletion of old rows.
//! - [`store`]: the SQL.
//! - [`app`], [`access`], [`config`], [`error`], [`grpc`]: what all services have.

mod access;
mod account;
mod admin;
mod app;
mod audit;
mod config;
mod credential;
mod email;
mod email_token;
mod error;
mod grpc;
mod hash_pool;
mod housekeeping;
mod keyring;
mod limit;
mod mail;
mod origin;
mod password;
mod password_change;
mod proof;
mod refresh;
mod revocation;
mod rotation;
mod session;
mod session_list;
mod store;
mod token;
mod user;

use std::{sync::Arc, time::Duration};

use chassis::{
    identity::Caller,
    limit::General,
    postgres,
    server::{ServeError as ServerError, Server},
    task::Tasks,
    verifier::{Keys, Verifier},
};
use proto::auth::{admin_service_server::AdminServiceServer, auth_service_server::AuthServiceServer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;

pub use self::{access::RULES, config::Config};
use self::{
    app::App,
    mail::{deliver::Delivery, sender::Sender},
};

/// What the tests of the service use besides its RPCs.
#[doc(hidden)]
pub mod testing {
    pub use crate::{
        housekeeping::{delete_old_rows, end_expired},
        keyring::Keyring,
        session::Session,
        store::MIGRATOR,
        token::claims,
        user::User,
    };
}

/// The background tasks of a stopped service end within this.
const TASKS_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the service could not start or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the database could not be used")]
    Postgres(#[source] postgres::Error),
    #[error("the service could not start")]
    Start(#[from] error::Error),
    #[error("the server failed")]
    Server(#[source] ServerError),
}

/// Serves until `shutdown`.
///
/// # Errors
/// If the database or the signing keys cannot be used, or the server fails.
pub async fn serve(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<(), ServeError> {
    let pool = postgres::connect(&config.postgres, &store::MIGRATOR).await.map_err(ServeError::Postgres)?;
    // Before the first sign-up: it must not create a second account for an address of a row without an identity.
    housekeeping::add_identities(&pool).await.map_err(error::Error::from)?;
    let app = Arc::new(App::new(&config, pool.clone(), shutdown.clone()).await?);

    let tasks = Tasks::new();
    tasks.spawn(app.feed.clone().run());
    tasks.spawn(app.keyring.clone().run(tasks.token()));
    tasks.spawn(housekeeping::run(pool.clone(), tasks.token()));
    tasks.spawn(housekeeping::expire_sessions(pool.clone(), app.feed.clone(), tasks.token()));
    let sender = Sender::new(&config.mail).map_err(error::Error::from)?;
    tasks.spawn(Delivery::new(pool.clone(), sender, config.mail.site(), Arc::clone(&app.mail_added)).run(tasks.token()));

    let verifier = Arc::new(Verifier::new(Caller::Auth, &config.cluster_secret, Keys::Local(app.keyring.published())));
    let limiter = app.limiter.clone();
    let served = Server::new(Caller::Auth, config.server, verifier, RULES)
        .add_service(AuthServiceServer::new(grpc::Service(Arc::clone(&app))).accept_compressed(CompressionEncoding::Gzip))
        .add_service(AdminServiceServer::new(grpc::Service(app)))
        .limit_direct_callers(General::new(limiter))
        .needs(postgres::ENGINE, postgres::watch(&pool))
        .serve(listener, shutdown)
        .await;

    tasks.shutdown(TASKS_TIMEOUT).await;
    pool.close().await;
    served.map_err(ServeError::Server)
}
