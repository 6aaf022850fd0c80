//! The end of a turn without files.

use proto::id::{MessageId, ProjectId, TurnId};
use time::OffsetDateTime;

use crate::{
    error::Error,
    model::{
        message::{Author, Message, MessageState},
        turn::TurnEnd,
    },
    store::{self, Pool, Tx, messages, projects, turns},
};

/// Ends a turn without files. Its partial answer is kept.
///
/// # Errors
/// [`Error::TurnEnded`] if the turn was committed.
pub(crate) async fn end(pool: &Pool, id: TurnId, end: TurnEnd, now: OffsetDateTime) -> Result<(), Error> {
    let project = if matches!(end, TurnEnd::Withdrawn) { turns::find(pool, id).await?.and_then(|turn| turn.project) } else { None };
    let mut tx = store::begin(pool).await?;
    if let Some(project) = project {
        lock_hidden_turns(&mut tx, project, id).await?;
    }
    let Some(ended) = turns::end(&mut tx, id, end.state(), end.failure_reason()).await? else {
        drop(tx);
        let turn = turns::find(pool, id).await?;
        // A repeat succeeds. A committed turn can no longer be given up.
        return if turn.is_none_or(|turn| turn.state.has_ended_without_commit()) { Ok(()) } else { Err(Error::TurnEnded) };
    };
    match (end, ended.conversation) {
        (TurnEnd::Withdrawn, _) if chassis::seeded_bug::is("keep-a-refused-question") => {}
        (TurnEnd::Withdrawn, _) => messages::withdraw(&mut tx, id).await?,
        (TurnEnd::Failed { partial, .. } | TurnEnd::Cancelled { partial }, Some((project, user))) if !partial.text.is_empty() => {
            let message = Message {
                id: MessageId::generate(),
                turn: id,
                author: Author::Agent,
                text: partial.text,
                parts: partial.parts,
                partial: true,
                revision: None,
                user,
                created_at: now,
                state: MessageState::default(),
            };
            messages::insert(&mut tx, project, &message).await?;
            projects::touch(&mut tx, project, None).await?;
        }
        (TurnEnd::Failed { .. } | TurnEnd::Cancelled { .. }, _) => {}
    }
    store::commit(tx).await?;
    Ok(())
}

/// Locks the conversation, the turn, and the open turns whose questions it has hidden. The end of such a turn takes the same lock, so it
/// has written its answer already, or it will see its question as it is after the withdrawal.
async fn lock_hidden_turns(tx: &mut Tx, project: ProjectId, turn: TurnId) -> Result<(), Error> {
    messages::lock(tx, project).await?;
    turns::lock_hidden_by(tx, project, turn).await?;
    Ok(())
}
