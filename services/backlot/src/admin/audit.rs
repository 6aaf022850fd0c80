//! `backlot admin audit`.

use std::{
    io::{self, BufWriter, Write as _},
    time::Duration,
};

use anyhow::{Context as _, Result};
use chassis::{
    clock::{self, Timestamp},
    config::Setting as _,
    context::Context,
};
use clap::Subcommand;
use proto::auth::{AuditEvent, ListAuditEventsRequest};
use serde_json::Value;

use super::{Admin, print::json_line};
use crate::operator::refusal;

/// Events of one request.
const PAGE: i32 = 200;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write the events as JSON, one object a line, in the order of their time.
    Export {
        /// Only events at or after this time: RFC 3339, a day such as 2026-11-30 (UTC), or a time before now such as 24h.
        #[arg(long, value_name = "TIME", value_parser = moment)]
        since: Option<Timestamp>,
        /// Only events before this time.
        #[arg(long, value_name = "TIME", value_parser = moment)]
        until: Option<Timestamp>,
    },
}

/// A time of an argument.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = Duration::parse(text) {
        let now = clock::now();
        let too_long = || "is too long ago".to_owned();
        return now.checked_sub(ago.try_into().map_err(|_| too_long())?).map(clock::timestamp).ok_or_else(too_long);
    }
    let whole = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    let parsed = serde_json::from_value(Value::String(whole));
    parsed.map_err(|_| "must be a time such as 2026-11-30T09:00:00Z, a day such as 2026-11-30, or a time before now such as 24h".to_owned())
}

pub(super) async fn run(admin: Admin, Command::Export { since, until }: Command) -> Result<()> {
    export(admin, since, until).await
}

/// Writes page after page, so that the log may be of any size.
async fn export(mut admin: Admin, since: Option<Timestamp>, until: Option<Timestamp>) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut page_token = String::new();
    loop {
        let request = ListAuditEventsRequest { since, until, page_size: PAGE, page_token };
        let page = admin.client.list_audit_events(Context::background().request(request)).await.map_err(refusal)?.into_inner();
        for event in &page.events {
            writeln!(out, "{}", line(event)?).context("cannot write")?;
        }
        out.flush().context("cannot write")?;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

/// The event as one line, with its details as an object.
fn line(event: &AuditEvent) -> Result<String> {
    let mut value = serde_json::to_value(event).context("an event cannot be written as JSON")?;
    value["details"] = serde_json::from_str(&event.details).context("the details of an event are no JSON")?;
    json_line(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_a_day_or_a_duration() {
        let nine = moment("2026-11-30T09:00:00Z").expect("a time");
        assert_eq!(moment("2026-11-30T10:00:00+01:00"), Ok(nine));
        assert_eq!(moment("2026-11-30").expect("a day").seconds, nine.seconds - 9 * 3_600);
        let ago = clock::timestamp(clock::now()).seconds - moment("24h").expect("a duration").seconds;
        assert!((86_400..86_500).contains(&ago), "{ago}");
        for wrong in ["", "yesterday", "2026-13-01", "10", "-1h", "99999999999d"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn details_are_an_object_and_control_characters_are_escaped() {
        let details = "{\"reason\":\"\u{9b}2J\\u001b[2J\"}".to_owned();
        let event = AuditEvent { id: "1".into(), kind: "session.impersonated".into(), details, ..AuditEvent::default() };
        let line = line(&event).expect("a line");
        assert!(line.contains(r#""details":{"reason":"\u009b2J\u001b[2J"}"#), "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}
