//! `backlot admin signing-keys`.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use chassis::context::Context;
use clap::Subcommand;
use proto::auth::ReplaceSigningKeyRequest;

use super::{
    Admin,
    print::{self, time},
};
use crate::operator::refusal;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Replace the key that signs access tokens before the rotation does. The new key signs in 15 minutes, and the old one goes 15 minutes later.
    Replace {
        /// The new key signs at once, and all earlier ones go with their access tokens, because somebody may have them.
        #[arg(long)]
        now: bool,
    },
}

pub(super) async fn run(mut admin: Admin, Command::Replace { now }: Command) -> Result<()> {
    let request = ReplaceSigningKeyRequest { at_once: now, operator: admin.operator };
    let answer = admin.client.replace_signing_key(Context::background().request(request)).await.map_err(refusal)?.into_inner();
    let (kid, from) = (print::text(&answer.kid), time(answer.sign_time.as_ref()));
    let earlier = if now { "; the earlier keys are gone" } else { "" };
    writeln!(io::stdout(), "signing key {kid}: signs from {from}{earlier}").context("cannot write")
}
