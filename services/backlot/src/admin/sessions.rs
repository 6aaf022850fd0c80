//! `backlot admin sessions`.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result, ensure};
use chassis::context::Context;
use clap::{Subcommand, builder::NonEmptyStringValueParser};
use proto::auth::{EndUserSessionsRequest, ListUserSessionsRequest, Session, SessionKind};

use super::{
    Admin,
    print::{Listing, cell, time},
};
use crate::operator::refusal;

const HEADING: [&str; 10] = ["ID", "KIND", "NAME", "DEVICE", "NETWORK", "PLACE", "STARTED", "LAST USE", "ENDS", "IMPERSONATOR"];

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
        #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
        session: Option<String>,
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
        Command::End { user, session } => end(admin, user, session.unwrap_or_default()).await,
    }
}

/// What uses a session: a browser (or a client that signs in as one does), a program or device with a refresh token, or an API key.
fn kind(session: &Session) -> &'static str {
    match session.kind() {
        SessionKind::SignIn => "browser",
        SessionKind::RefreshToken => "program",
        SessionKind::ApiKey => "key",
        SessionKind::Unspecified => "-",
    }
}

async fn list(mut admin: Admin, user: String, as_json: bool) -> Result<()> {
    let request = Context::background().request(ListUserSessionsRequest { user });
    let sessions = admin.client.list_user_sessions(request).await.map_err(refusal)?.into_inner().sessions;
    let mut listing = Listing::new(HEADING, as_json);
    for session in &sessions {
        listing.add(session, row(session))?;
    }
    listing.finish()
}

/// A row of the table. The person has chosen the name, and the client its device.
fn row(session: &Session) -> [String; HEADING.len()] {
    let [started, used, ends] = [&session.create_time, &session.last_use_time, &session.expire_time].map(|at| time(at.as_ref()));
    let [name, device, network] = [&session.display_name, &session.device, &session.network].map(|value| cell(value));
    let (place, impersonator) = (cell(&session.place), cell(&session.impersonator));
    [session.id.clone(), kind(session).to_owned(), name, device, network, place, started, used, ends, impersonator]
}

async fn end(mut admin: Admin, user: String, session_id: String) -> Result<()> {
    let is_one = !session_id.is_empty();
    let request = EndUserSessionsRequest { user, session_id, operator: admin.operator };
    let answer = admin.client.end_user_sessions(Context::background().request(request)).await.map_err(refusal)?.into_inner();
    ensure!(!is_one || answer.ended_sessions > 0, "the account has no such session");
    writeln!(io::stdout(), "sessions ended: {}", answer.ended_sessions).context("cannot write")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_device_the_network_and_the_place() {
        let session = Session {
            id: "0190".into(),
            kind: SessionKind::SignIn.into(),
            device: "Firefox\u{1b}[2J on Windows".into(),
            network: "192.0.2.0/24".into(),
            place: "Berlin, Germany".into(),
            ..Session::default()
        };
        let expected = ["0190", "browser", "-", r"Firefox\u{1b}[2J on Windows", "192.0.2.0/24", "Berlin, Germany", "-", "-", "-", "-"];
        assert_eq!(row(&session), expected);
        let program = Session { kind: SessionKind::RefreshToken.into(), display_name: "Laptop".into(), ..Session::default() };
        assert_eq!(row(&program)[1..6], ["program", "Laptop", "-", "-", "-"]);
    }
}
