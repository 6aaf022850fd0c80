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
    store::{Pool, messages},
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
    Ok(page.cut(rows.map(|(_, entries)| entries).unwrap_or_default(), |entry| entry.message.id))
}

/// One message of the conversation.
///
/// # Errors
/// [`Error::MessageNotFound`] if the project does not have it, or if it was replaced.
pub(crate) async fn get(pool: &Pool, user: UserId, project: ProjectId, id: MessageId) -> Result<ConversationEntry, Error> {
    let rows = messages::one(pool, project, user, id).await?;
    project::require(rows.as_ref().map(|(role, _)| *role), Role::Viewer)?;
    rows.and_then(|(_, entries)| entries.into_iter().next()).ok_or(Error::MessageNotFound)
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
