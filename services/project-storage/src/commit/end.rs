//! The end of a turn without files.

use proto::id::{MessageId, TurnId};

use crate::{
    error::Error,
    model::{
        message::{Author, Message},
        turn::TurnEnd,
    },
    store::{self, Pool, messages, projects, turns},
};

/// Ends a turn without files.
pub(crate) async fn end(pool: &Pool, id: TurnId, end: TurnEnd) -> Result<(), Error> {
    let begun = if matches!(end, TurnEnd::Withdrawn) { turns::find(pool, id).await?.and_then(|turn| turn.project) } else { None };
    let mut tx = store::begin(pool).await?;
    if let Some(project) = begun {
        messages::lock(&mut tx, project).await?;
        // As where they were hidden: whoever ends one of these has written its answer, or will find its question as it is then.
        turns::lock_hidden_by(&mut tx, project, id).await?;
    }
    let Some(ended) = turns::end(&mut tx, id, end.state(), end.failure_reason()).await? else {
        drop(tx);
        let turn = turns::find(pool, id).await?;
        // A turn that was given up is given up; one that was committed cannot be.
        return if turn.is_none_or(|turn| turn.state.is_given_up()) { Ok(()) } else { Err(Error::TurnEnded) };
    };
    match (end, ended.conversation) {
        (TurnEnd::Withdrawn, _) if chassis::seeded_bug::is("keep-a-refused-question") => {}
        (TurnEnd::Withdrawn, _) => messages::withdraw(&mut tx, id).await?,
        (TurnEnd::Failed { partial, .. } | TurnEnd::Cancelled { partial }, Some((project, user))) if !partial.is_empty() => {
            let message = Message {
                id: MessageId::generate(),
                turn: id,
                author: Author::Agent,
                text: partial,
                partial: true,
                revision: None,
                user,
                created_at: chassis::clock::now(),
            };
            messages::insert(&mut tx, project, &message).await?;
            projects::touch(&mut tx, project, None).await?;
        }
        (TurnEnd::Failed { .. } | TurnEnd::Cancelled { .. }, _) => {}
    }
    store::commit(tx).await?;
    Ok(())
}
