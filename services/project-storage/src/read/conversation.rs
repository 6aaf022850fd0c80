//! Reading the conversation of a project.

use proto::id::{MessageId, ProjectId, TurnId, UserId};

use crate::{
    error::Error,
    model::{
        message::{ConversationEntry, Message, Order},
        page::Page,
        project::{self, Role},
    },
    read::turn_access::{self, TurnAccess},
    store::{Pool, messages, turns},
};

/// A page of the conversation, with the key of the next page.
pub(crate) async fn list(
    pool: &Pool,
    user: UserId,
    project: ProjectId,
    order: Order,
    page: Page<MessageId>,
) -> Result<(Vec<ConversationEntry>, Option<MessageId>), Error> {
    // The additional row tells whether there is a next page.
    let extended = Page { size: page.size + 1, after: page.after };
    let rows = match order {
        Order::NewestFirst => messages::newest(pool, project, user, extended).await?,
        Order::OldestFirst => messages::oldest(pool, project, user, extended).await?,
    };
    project::require(rows.as_ref().map(|(role, _)| *role), Role::Viewer)?;
    let (messages, next) = page.cut(rows.map(|(_, messages)| messages).unwrap_or_default(), |message| message.id);
    let outcomes = turns::outcomes(pool, messages.iter().map(|message| message.turn)).await?;
    let entry = |message: Message| ConversationEntry { outcome: outcomes.get(&message.turn).cloned(), message };
    Ok((messages.into_iter().map(entry).collect(), next))
}

/// One message of the conversation.
///
/// # Errors
/// [`Error::MessageNotFound`] if the project does not have it, or if it was replaced.
pub(crate) async fn get(pool: &Pool, user: UserId, project: ProjectId, id: MessageId) -> Result<ConversationEntry, Error> {
    let rows = messages::one(pool, project, user, id).await?;
    project::require(rows.as_ref().map(|(role, _)| *role), Role::Viewer)?;
    let message = rows.and_then(|(_, messages)| messages.into_iter().next()).ok_or(Error::MessageNotFound)?;
    let outcome = turns::outcomes(pool, [message.turn]).await?.remove(&message.turn);
    Ok(ConversationEntry { outcome, message })
}

/// Which of the messages before a turn to read.
pub(crate) enum Selection {
    /// The newest visible messages, at most so many.
    Newest(i32),
    /// These messages, including those that were replaced since.
    Ids(Vec<MessageId>),
}

/// The messages before a turn, the oldest first.
pub(crate) async fn messages_before(pool: &Pool, id: TurnId, selection: &Selection) -> Result<Vec<Message>, Error> {
    let TurnAccess { turn, member, .. } = turn_access::find(pool, id, Role::Viewer).await?;
    let Some(question) = turn.message else { return Ok(Vec::new()) };
    let mut messages = match selection {
        Selection::Newest(limit) => messages::before(pool, member.project.id, question, id, i64::from(*limit)).await?,
        Selection::Ids(ids) => messages::by_ids_before(pool, member.project.id, question, id, ids).await?,
    };
    messages.reverse();
    Ok(messages)
}
