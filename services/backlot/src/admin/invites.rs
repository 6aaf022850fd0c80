//! `backlot admin invites`.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use anyhow::{Context as _, Result};
use chassis::{config::Setting as _, context::Context};
use clap::{Subcommand, builder::NonEmptyStringValueParser};
use proto::auth::{CreateInviteRequest, Invite, ListInvitesRequest, RevokeInviteRequest};
use serde_json::json;

use super::{
    Admin,
    print::{self, Listing, json_line, time},
};
use crate::operator::refusal;

/// Rows of one request.
const PAGE: i32 = 200;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an invite. It prints a link, which is shown only once, and with which one person can sign up, once.
    Create {
        /// Only this e-mail address may use it. By default whoever has the link may.
        #[arg(long, value_name = "ADDRESS", value_parser = NonEmptyStringValueParser::new())]
        email: Option<String>,
        /// When it ends, as whole hours or days from now such as 12h or 7d, at most 90d.
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = hours)]
        expires: u32,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// List the invites in the order of their creation.
    List {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Revoke an invite. One that was used stays as it is.
    Revoke {
        /// The id of the invite.
        id: String,
    },
}

impl Command {
    pub(super) fn changes(&self) -> bool {
        !matches!(self, Self::List { .. })
    }
}

fn hours(text: &str) -> Result<u32, String> {
    let seconds = Duration::parse(text)?.as_secs();
    let hours = u32::try_from(seconds / 3_600).ok().filter(|hours| (1..=2_160).contains(hours) && seconds % 3_600 == 0);
    hours.ok_or_else(|| "must be whole hours or days from 1h to 90d".to_owned())
}

pub(super) async fn run(admin: Admin, command: Command) -> Result<()> {
    match command {
        Command::Create { email, expires, json } => create(admin, email.unwrap_or_default(), expires, json).await,
        Command::List { json } => list(admin, json).await,
        Command::Revoke { id } => revoke(admin, id).await,
    }
}

async fn create(mut admin: Admin, email: String, hours: u32, as_json: bool) -> Result<()> {
    let request = CreateInviteRequest { email, hours, operator: admin.operator };
    let answer = admin.client.create_invite(Context::background().request(request)).await.map_err(refusal)?.into_inner();
    let invite = answer.invite.unwrap_or_default();
    let mut out = io::stdout().lock();
    if as_json {
        let line = json_line(&json!({ "invite": invite, "token": answer.token, "url": answer.url }))?;
        return writeln!(out, "{line}").context("cannot write");
    }
    writeln!(out, "invite {} until {}", invite.id, time(invite.expire_time.as_ref()))?;
    writeln!(out, "link: {}", answer.url).context("cannot write")
}

async fn list(mut admin: Admin, as_json: bool) -> Result<()> {
    let mut listing = Listing::new(["ID", "FOR", "MADE BY", "EXPIRES", "STATE"], as_json);
    let mut page_token = String::new();
    loop {
        let request = Context::background().request(ListInvitesRequest { page_size: PAGE, page_token });
        let page = admin.client.list_invites(request).await.map_err(refusal)?.into_inner();
        for invite in &page.invites {
            listing.add(invite, row(invite))?;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return listing.finish();
        }
    }
}

fn row(invite: &Invite) -> [String; 5] {
    let email = if invite.email.is_empty() { "anybody".to_owned() } else { print::text(&invite.email) };
    let state = match (&invite.use_time, &invite.revoke_time) {
        (Some(at), _) => format!("used {}", time(Some(at))),
        (None, Some(at)) => format!("revoked {}", time(Some(at))),
        (None, None) => "open".to_owned(),
    };
    [invite.id.clone(), email, print::text(&invite.created_by), time(invite.expire_time.as_ref()), state]
}

async fn revoke(mut admin: Admin, invite_id: String) -> Result<()> {
    let request = RevokeInviteRequest { invite_id, operator: admin.operator };
    let answer = admin.client.revoke_invite(Context::background().request(request)).await.map_err(refusal)?.into_inner();
    let [id, .., state] = row(&answer.invite.unwrap_or_default());
    writeln!(io::stdout(), "invite {id}: {state}").context("cannot write")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_lasts_whole_hours() {
        assert_eq!((hours("1h"), hours("12h"), hours("7d"), hours("90d")), (Ok(1), Ok(12), Ok(168), Ok(2_160)));
        for wrong in ["", "0", "0h", "30m", "91d", "90m", "7", "-1h", "99999999999d"] {
            assert!(hours(wrong).is_err(), "{wrong}");
        }
    }
}
