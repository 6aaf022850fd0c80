//! The log line of a proof of identity that was wrong. It is no event of the audit log, so that a sign-in does the same work for an unknown
//! address as for a known one, and guesses do not fill a table. Only attempts that the policies of [`crate::limit`] let through are logged.

use chassis::context::Context;
use proto::id::UserId;

use crate::origin::network;

/// `user` is the account that the proof was for, if there is one. `by` is what was wrong: `password`, `code` or `passkey`.
pub(crate) fn log(context: &Context, user: Option<UserId>, by: &'static str) {
    let user = user.map_or_else(|| "unknown".to_owned(), |user| user.to_string());
    let network = context.client_address.map(network).unwrap_or_default();
    tracing::info!(user, network, by, "a proof of identity was refused");
}
