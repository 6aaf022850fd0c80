//! `backlot admin sessions`.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result, ensure};
use chassis::context::Context;
use clap::Subcommand;
use proto::auth::{EndUserSessionsRequest, ListUserSessionsRequest};

use super::{
    Admin,
    print::{self, json_line, table, time},
};
use crate::operator::refusal;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the sessions of an account, the most recently used one first.
    List {
        /// The e-mail address or the id of the account.
        user: String,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// End all sessions of an account, or one.
    End {
        /// The e-mail address or the id of the account.
        user: String,
        /// Only this session. Exits with 1 if the account has no such session.
        #[arg(long, value_name = "ID", default_value = "")]
        session: String,
    },
}

impl Command {
    pub(super) fn changes(&self) -> bool {
        matches!(self, Self::End { .. })
    }
}

pub(super) async fn run(admin: Admin, command: Command) -> Result<()> {
    match command {
        Command::List { user, json } => list(admin, user, json).await,
        Command::End { user, session } => end(admin, user, session).await,
    }
}

async fn list(mut admin: Admin, user: String, as_json: bool) -> Result<()> {
    let request = Context::background().request(ListUserSessionsRequest { user });
    let sessions = admin.client.list_user_sessions(request).await.map_err(refusal)?.into_inner().sessions;
    let mut out = io::stdout().lock();
    let mut rows = vec![["ID", "STARTED", "LAST USE", "ENDS", "IMPERSONATOR"].map(str::to_owned)];
    for session in &sessions {
        if as_json {
            writeln!(out, "{}", json_line(session)?).context("cannot write")?;
        } else {
            let [started, used, ends] = [&session.create_time, &session.last_use_time, &session.expire_time].map(|at| time(at.as_ref()));
            let impersonator = if session.impersonator.is_empty() { "-".to_owned() } else { print::text(&session.impersonator) };
            rows.push([session.id.clone(), started, used, ends, impersonator]);
        }
    }
    if !as_json {
        write!(out, "{}", table(&rows)).context("cannot write")?;
    }
    Ok(())
}

async fn end(mut admin: Admin, user: String, session_id: String) -> Result<()> {
    let is_one = !session_id.is_empty();
    let request = EndUserSessionsRequest { user, session_id, operator: admin.operator };
    let answer = admin.client.end_user_sessions(Context::background().request(request)).await.map_err(refusal)?.into_inner();
    ensure!(!is_one || answer.ended_sessions > 0, "the account has no such session");
    writeln!(io::stdout(), "sessions ended: {}", answer.ended_sessions).context("cannot write")
}
