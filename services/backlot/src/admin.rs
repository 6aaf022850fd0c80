//! `backlot admin`: accounts, their sessions, the signing key and the audit log. The commands call auth as an operator.
//!
//! - [`users`], [`sessions`], [`invites`], [`signing_keys`], [`audit`]: the commands. [`print`]: how they write to a terminal.

mod audit;
mod invites;
mod print;
mod sessions;
mod signing_keys;
mod users;

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use chassis::{
    client::ServiceChannel,
    config::{Env, SettingDoc},
    context::Context,
};
use clap::{Args, Subcommand};
use proto::auth::{ImpersonateUserRequest, admin_service_client::AdminServiceClient};
use serde_json::json;

use self::print::{json_line, time};
use crate::{
    operator::{Access, refusal},
    role::Role,
};

const DEFAULT_URL: &str =
    "the address in <BACKLOT_DATA_DIR>/endpoints.json, which a running `backlot up` writes, else http://127.0.0.1:9090";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Your name in the audit log. By default it is that of the system's user (USER).
    #[arg(long, global = true, value_name = "NAME")]
    operator: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create, list, disable and change accounts.
    #[command(subcommand)]
    Users(users::Command),
    /// List and end the sessions of an account.
    #[command(subcommand)]
    Sessions(sessions::Command),
    /// Make, list and revoke invites to sign up, for BACKLOT_SIGNUP=invite.
    #[command(subcommand)]
    Invites(invites::Command),
    /// Replace the key that signs access tokens.
    #[command(subcommand)]
    SigningKeys(signing_keys::Command),
    /// Start a session in which you act for a person, for at most an hour. It cannot change the account, and the audit log has the reason.
    Impersonate {
        /// The e-mail address or the id of the account.
        user: String,
        /// Why, for the audit log.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// How long the session lasts, from 1 to 60.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=60))]
        minutes: u32,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Read the log of what people and operators did with accounts.
    #[command(subcommand)]
    Audit(audit::Command),
}

impl Command {
    /// Whether the audit log will have the operator's name.
    fn changes(&self) -> bool {
        match self {
            Self::Users(command) => command.changes(),
            Self::Sessions(command) => command.changes(),
            Self::Invites(command) => command.changes(),
            Self::SigningKeys(_) | Self::Impersonate { .. } => true,
            Self::Audit(_) => false,
        }
    }
}

/// What the commands need to call auth.
struct Admin {
    client: AdminServiceClient<ServiceChannel>,
    /// The operator's name, for commands that change something.
    operator: String,
}

fn access(env: &mut Env) -> Access {
    Access::read(env, Role::Auth, "BACKLOT_AUTH_URL", (DEFAULT_URL, "where auth listens"))
}

/// The name of the system's user.
fn system_user(env: &mut Env) -> Option<String> {
    env.optional("USER", "your name in the audit log, unless `--operator` gives one")
}

/// The settings that the commands read.
#[must_use]
pub(crate) fn settings() -> Vec<SettingDoc> {
    let mut env = Env::describe();
    access(&mut env);
    system_user(&mut env);
    env.settings().to_vec()
}

/// Runs a command.
///
/// # Errors
/// The environment is invalid, or auth does not answer or refuses.
pub(crate) fn command(mut env: Env, Arguments { operator, command }: Arguments) -> Result<()> {
    let access = access(&mut env);
    let operator = operator.or_else(|| system_user(&mut env));
    if operator.is_none() && command.changes() {
        env.fault("USER", "is not set; give your name for the audit log with --operator");
    }
    env.check()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let admin = Admin { client: AdminServiceClient::new(access.channel()?), operator: operator.unwrap_or_default() };
        match command {
            Command::Users(command) => users::run(admin, command).await,
            Command::Sessions(command) => sessions::run(admin, command).await,
            Command::Invites(command) => invites::run(admin, command).await,
            Command::SigningKeys(command) => signing_keys::run(admin, command).await,
            Command::Impersonate { user, reason, minutes, json } => {
                let request = ImpersonateUserRequest { user, reason, minutes, operator: admin.operator };
                impersonate(admin.client, request, json).await
            }
            Command::Audit(command) => audit::run(admin, command).await,
        }
    })
}

async fn impersonate(mut client: AdminServiceClient<ServiceChannel>, request: ImpersonateUserRequest, as_json: bool) -> Result<()> {
    let answer = client.impersonate_user(Context::background().request(request)).await.map_err(refusal)?.into_inner();
    let (user, session) = (answer.user.unwrap_or_default(), answer.session.unwrap_or_default());
    let mut out = io::stdout().lock();
    if as_json {
        let line = json_line(&json!({ "user": user, "session": session, "sessionToken": answer.session_token }))?;
        return writeln!(out, "{line}").context("cannot write");
    }
    writeln!(out, "session {} as {} until {}", session.id, print::text(&user.email), time(session.expire_time.as_ref()))?;
    writeln!(out, "session token: {}", answer.session_token).context("cannot write")
}
