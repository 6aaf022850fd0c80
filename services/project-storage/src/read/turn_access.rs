//! What a turn may work on.

use proto::id::{TurnId, UserId};

use crate::{
    error::Error,
    model::{
        project::{Member, Role, Target},
        turn::Turn,
    },
    read::member,
    store::{Pool, turns},
};

/// A turn with its user and its project, as the user may see it now.
pub(crate) struct TurnAccess {
    pub(crate) turn: Turn,
    pub(crate) user: UserId,
    pub(crate) member: Member,
}

/// Finds a turn, if the role of its user suffices.
///
/// # Errors
/// [`Error::TurnNotFound`], [`Error::TurnEnded`] for a turn that was ended before it began, and the errors of [`member::find`].
pub(crate) async fn find(pool: &Pool, id: TurnId, needed: Role) -> Result<TurnAccess, Error> {
    let turn = turns::find(pool, id).await?.ok_or(Error::TurnNotFound)?;
    let (Some(project), Some(user)) = (turn.project, turn.user) else { return Err(Error::TurnEnded) };
    let member = member::find(pool, user, &Target::Id(project), needed).await?;
    Ok(TurnAccess { turn, user, member })
}
