//! auth: accounts with passwords, browser sessions, access tokens, the feed of ended sessions, and the audit log. It knows nothing of
//! projects or turns. What a plan allows is defined in the other services.
//!
//! In reading order:
//! - [`account`]: one function per RPC: sign up, sign in, sign out, read the current session, create an access token.
//! - [`session_list`], [`session_end`], [`password_change`], [`refresh`]: the same for the list of sessions, their end, a new password, and refresh tokens of programs.
//! - [`api_key`], [`service_account`], [`device`]: the same for API keys, for accounts of programs, and for sign-ins of devices.
//! - [`session_start`]: how a session of a person begins.
//! - [`recent_proof`]: the proof that sensitive RPCs need; [`step_up`]: its renewal.
//! - [`second_factor`]: the RPCs of factors; [`second_step`]: the step of a sign-in that needs them. [`factor`], [`totp`], [`code`]: their rules.
//!   [`required_factor`]: the rule that each person has one. [`factor_removal`]: the link of a mail that removes a new one.
//! - [`passkey`]: the RPCs of passkeys; [`passkey_use`]: what they prove. [`relying_party`], [`ceremony`]: their rules.
//! - [`account_deletion`]: the end of an account, and the log of deletions that the other services follow; [`deletion`]: its rules.
//! - [`account_export`]: what a person gets of their own data.
//! - [`admin`]: what an operator does. [`audit`]: the log of what people and operators did.
//! - [`user`], [`email`], [`password`], [`way_in`], [`session`], [`origin`], [`credential`], [`user_code`]: the rules. They do no I/O and take the time as a parameter.
//! - [`place`]: the places of networks, from a file of the operator.
//! - [`breached`]: the passwords of known breaches, in a file of the operator.
//! - [`hash_pool`]: the threads that hash passwords, with limits against a flood of sign-ins. [`metered_hasher`]: a hasher that adds up its work.
//! - [`proof`]: the RPCs that prove an address, and the reset of a password; [`email_token`]: the tokens of their links.
//! - [`email_change`]: another address of an account. [`takeover`]: an account whose address nobody has verified.
//! - [`provider`]: GitHub and issuers of OpenID Connect; [`identity`]: sign-ins with them; [`invite`], [`invite_use`], [`invite_admin`]: invites to sign up.
//! - [`mail`]: the mails: their queue, words and form, and how they are sent.
//! - [`refused_proof`]: the log line of a wrong password, code or passkey, and the mail about wrong second steps.
//! - [`limit`]: what the policies `auth`, `auth-account`, `auth-guess`, `auth-challenge` and `service-accounts` count. [`stuffing`]: who may sign in
//!   with a password, and the policies `auth-stuffing` and `auth-once`, which find sources that try a list of passwords; [`challenge`]: what a refused source may solve.
//! - [`token`], [`rotation`], [`keyring`]: the content and signature of an access token; the schedule of its keys; the keys in memory.
//!   [`key_replacement`]: a new key by an operator.
//! - [`revocation`]: the feed through which a sign-out takes effect within a second.
//! - [`reseal`]: the secrets of second factors, for a new cluster secret.
//! - [`housekeeping`]: the end of expired sessions, and the deletion of old rows.
//! - [`store`]: the SQL.
//! - [`app`], [`access`], [`config`], [`error`], [`grpc`]: what all services have.

mod access;
mod account;
mod account_deletion;
mod account_export;
mod admin;
mod api_key;
mod app;
mod audit;
mod breached;
mod ceremony;
mod challenge;
mod code;
mod config;
mod credential;
mod deletion;
mod device;
mod email;
mod email_change;
mod email_token;
mod error;
mod factor;
mod factor_removal;
mod grpc;
mod hash_pool;
mod housekeeping;
mod identity;
mod invite;
mod invite_admin;
mod invite_use;
mod key_replacement;
mod keyring;
mod limit;
mod mail;
mod metered_hasher;
mod origin;
mod passkey;
mod passkey_use;
mod password;
mod password_change;
mod pending_address;
mod place;
mod proof;
mod provider;
mod recent_proof;
mod refresh;
mod refused_proof;
mod relying_party;
mod required_factor;
mod reseal;
mod revocation;
mod rotation;
mod second_factor;
mod second_step;
mod service_account;
mod session;
mod session_end;
mod session_list;
mod session_start;
mod step_up;
mod store;
mod stuffing;
mod takeover;
mod token;
mod totp;
mod user;
mod user_code;
mod way_in;

use std::{sync::Arc, time::Duration};

use chassis::{
    identity::Caller,
    lifecycle,
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
    reseal::SecondFactors,
};

/// What the tests of the service use besides its RPCs.
#[doc(hidden)]
pub mod testing {
    /// The code of an authenticator app with this secret, in base32.
    #[must_use]
    pub fn totp_code(secret: &str, now: time::OffsetDateTime) -> String {
        let bytes = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap_or_default();
        let secret = crate::totp::TotpSecret::from_bytes(&bytes);
        secret.map(|secret| format!("{:06}", secret.code(crate::totp::step(now)))).unwrap_or_default()
    }

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
    let Some(started) = lifecycle::unless_stopped(&shutdown, start(&config, shutdown.clone())).await else { return Ok(()) };
    let app = Arc::new(started?);
    let pool = app.pool.clone();

    let tasks = Tasks::new();
    tasks.spawn(app.feed.clone().run());
    tasks.spawn(app.keyring.clone().run(tasks.token()));
    tasks.spawn(housekeeping::run(pool.clone(), tasks.token()));
    tasks.spawn(chassis::reseal::run(SecondFactors(Arc::clone(&app)), tasks.token()));
    tasks.spawn(housekeeping::expire_sessions(pool.clone(), app.feed.clone(), tasks.token()));
    let sender = Sender::new(&config.mail).map_err(error::Error::from)?;
    let delivery = Delivery::new(pool.clone(), sender, config.mail.site(), config.places.clone(), Arc::clone(&app.mail_added));
    tasks.spawn(delivery.run(tasks.token()));

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

/// The parts that wait for the database.
async fn start(config: &Config, shutdown: CancellationToken) -> Result<App, ServeError> {
    let pool = postgres::connect(&config.postgres, &store::MIGRATOR).await.map_err(ServeError::Postgres)?;
    // Before the first sign-up: it must not create a second account for an address of a row without an identity.
    housekeeping::add_identities(&pool).await.map_err(error::Error::from)?;
    Ok(App::new(config, pool, shutdown).await?)
}
