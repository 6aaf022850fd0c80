//! Changing the conversation: new texts and deletions of messages by their authors, and reactions to answers.

use proto::id::{MessageId, ProjectId, UserId};

use crate::{
    error::Error,
    model::{
        deletion::Deleted,
        message::{Author, ConversationEntry, LockedMessage, Reaction},
        project::{Role, Target},
    },
    read::{conversation, member},
    store::{self, Pool, Tx, deletions, messages, projects, reactions, turns},
};

/// Changes the text of a message.
///
/// # Errors
/// [`Error::AuthorRequired`] for a message that the user did not write.
pub(crate) async fn update(pool: &Pool, user: UserId, project: ProjectId, id: MessageId, text: &str) -> Result<ConversationEntry, Error> {
    let (mut tx, message) = lock(pool, user, project, id).await?;
    if message.is_hidden || message.is_deleted {
        return Err(Error::MessageNotFound);
    }
    if message.author != Author::Person {
        return Err(Error::AuthorRequired);
    }
    // A turn that is running reads the conversation again after a crash. It must find what it found before.
    messages::forget_versions(&mut tx, project, id).await?;
    messages::keep_version(&mut tx, project, id, text).await?;
    if messages::edit(&mut tx, project, id, text).await? {
        projects::touch(&mut tx, project, None).await?;
    }
    store::commit(tx).await?;
    conversation::get(pool, user, project, id).await
}

/// Deletes the text of a message. Another deletion changes nothing.
///
/// # Errors
/// [`Error::AuthorRequired`] for a message that the user did not cause; [`Error::TurnOpen`] while a turn of the project runs.
pub(crate) async fn delete(pool: &Pool, user: UserId, project: ProjectId, id: MessageId) -> Result<(), Error> {
    let (mut tx, message) = lock(pool, user, project, id).await?;
    if message.is_deleted {
        return Ok(());
    }
    if let Some(turn) = turns::find_open(&mut tx, project).await? {
        return Err(Error::TurnOpen { turn });
    }
    messages::delete(&mut tx, project, id).await?;
    deletions::insert(&mut tx, Deleted::Message { project, turn: message.turn, message: id }).await?;
    projects::touch(&mut tx, project, None).await?;
    store::commit(tx).await?;
    Ok(())
}

/// Locks a message that the user wrote or caused, and the project, so that no turn begins.
async fn lock(pool: &Pool, user: UserId, project: ProjectId, id: MessageId) -> Result<(Tx, LockedMessage), Error> {
    // Before the locks, so that only members can wait for them.
    member::find(pool, user, &Target::Id(project), Role::Editor).await?;
    let mut tx = store::begin(pool).await?;
    // The conversation first, as every transaction that changes messages, and the project before the message, as its purge.
    messages::lock(&mut tx, project).await?;
    projects::lock(&mut tx, project).await?;
    let message = messages::lock_one(&mut tx, project, id).await?.ok_or(Error::MessageNotFound)?;
    if message.user != user {
        return Err(Error::AuthorRequired);
    }
    Ok((tx, message))
}

/// Sets the reaction of a user to an answer; `None` takes it back.
///
/// # Errors
/// [`Error::MessageNotFound`] for an answer that was replaced or deleted; [`Error::Field`] for a message that is no answer.
pub(crate) async fn react(
    pool: &Pool,
    user: UserId,
    project: ProjectId,
    id: MessageId,
    reaction: Option<Reaction>,
) -> Result<ConversationEntry, Error> {
    member::find(pool, user, &Target::Id(project), Role::Viewer).await?;
    let mut tx = store::begin(pool).await?;
    let found = messages::lock_one(&mut tx, project, id).await?;
    let message = found.filter(|message| !message.is_hidden && !message.is_deleted).ok_or(Error::MessageNotFound)?;
    if message.author != Author::Agent {
        let problem = "must be an answer of an agent".to_owned();
        return Err(Error::Field { field: "message_id".to_owned(), problem });
    }
    match reaction {
        Some(reaction) => reactions::set(&mut tx, project, id, user, &reaction).await?,
        None => reactions::delete(&mut tx, project, id, user).await?,
    }
    reactions::count(&mut tx, project, id).await?;
    store::commit(tx).await?;
    conversation::get(pool, user, project, id).await
}
