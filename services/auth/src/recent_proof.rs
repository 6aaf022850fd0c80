//! The proof that sensitive RPCs need, such as those that make credentials: the session's person must have shown recently who they are. A
//! stolen session cannot do that.

use chassis::context::Context;
use time::OffsetDateTime;

use crate::{
    error::Error,
    session::Session,
    session_list::signed_in,
    store::{Tx, second_factors},
    user::User,
};

/// The caller's account and session, for a sensitive RPC. No session of the account begins before the transaction ends.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED.
pub(crate) async fn recently_proved(tx: &mut Tx, context: &Context, now: OffsetDateTime) -> Result<(User, Session), Error> {
    let (user, session) = signed_in(tx, context, now).await?;
    check_recent(tx, &session, now).await?;
    Ok((user, session))
}

/// Whether the person of this session has shown recently who they are. The account is locked.
///
/// # Errors
/// STEP_UP_REQUIRED.
pub(crate) async fn check_recent(tx: &mut Tx, session: &Session, now: OffsetDateTime) -> Result<(), Error> {
    second_factors::of(&mut **tx, session.user_id).await?.check(session.shown(), now).map_err(Error::StepUpRequired)
}
