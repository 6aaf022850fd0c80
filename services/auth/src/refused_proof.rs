//! The log line of a proof of identity that was wrong, and the mail about wrong second steps. The line is no event of the audit log, so that a
//! sign-in does the same work for an unknown address as for a known one, and guesses do not fill a table. Only attempts that the policies of
//! [`crate::limit`] let through are logged.

use chassis::context::Context;
use proto::id::UserId;
use time::OffsetDateTime;

use crate::{
    limit,
    mail::queue::{Kind, Mail},
    origin::network,
    store::{StoreError, Tx, mails, pending_sign_ins::Attempt},
    user::Credentials,
};

/// The owner is told after each time that an account has this many attempts at the second step.
const TOLD_AFTER: i64 = 5;

/// `user` is the account that the proof was for, if there is one. `by` is what was wrong: `password`, `code` or `passkey`.
pub(crate) fn log(context: &Context, user: Option<UserId>, by: &'static str) {
    let user = user.map_or_else(|| "unknown".to_owned(), |user| user.to_string());
    let network = context.client_address.map(network).unwrap_or_default();
    tracing::info!(user, network, by, "a proof of identity was refused");
}

/// Tells the owner of an account that somebody does the first step of a sign-in and fails at the second one, unless the attempt came from an
/// address that the account knows. As with the mail about a new device, the address of the account must be verified. The attempts at all
/// sign-ins count: otherwise whoever begins another one in time stays unnoticed. Returns whether there is a mail to send.
pub(crate) async fn tell_owner(
    tx: &mut Tx,
    context: &Context,
    account: &Credentials,
    attempt: Option<&Attempt>,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let is_due = attempt.is_some_and(|attempt| attempt.of_account % TOLD_AFTER == 0);
    if !is_due || !account.has_known_addresses || account.from_known_address {
        return Ok(false);
    }
    let mail = Mail::to_account(Kind::SecondStepFailed, account.user.id, &account.user.email, now);
    mails::insert(&mut **tx, &Mail { network: Some(limit::address_of(context)), ..mail }).await?;
    Ok(true)
}
