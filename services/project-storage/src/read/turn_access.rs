//! What a turn works on.

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

/// A turn that began, with the project as its person may see it now.
pub(crate) struct TurnAccess {
    pub(crate) turn: Turn,
    pub(crate) user: UserId,
    pub(crate) member: Member,
}

/// What a turn works on, if its person's role suffices.
pub(crate) async fn find(pool: &Pool, id: TurnId, needed: Role) -> Result<TurnAccess, Error> {
    let turn = turns::find(pool, id).await?.ok_or(Error::TurnNotFound)?;
    let (Some(project), Some(user)) = (turn.project, turn.user) else { return Err(Error::TurnEnded) };
    let member = member::find(pool, user, &Target::Id(project), needed).await?;
    Ok(TurnAccess { turn, user, member })
}
