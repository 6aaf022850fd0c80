//! The part of the conversation that a turn tells the model. It is read once, when the turn starts, and its ids go on record with the
//! start. Each later owner reads exactly these messages: a late answer, a replacement or a withdrawal in between changes nothing. The
//! text of a message never changes, so its id is enough.

use std::time::Duration;

use chassis::seeded_bug;
use proto::{id::MessageId, project_storage::Message};

use crate::{
    drive::commit,
    turn::{Failure, Reason, Turn},
    upstream::{Upstream, retry_until_answered},
};

/// Messages at most.
const LIMIT: i32 = 50;

/// The newest messages, for the first owner.
pub(crate) async fn first(upstream: &Upstream, turn: &Turn, patience: Duration) -> Result<Vec<Message>, Failure> {
    read(upstream, turn, &[], patience).await
}

/// The same messages again, for a later owner.
pub(crate) async fn again(upstream: &Upstream, turn: &Turn, patience: Duration) -> Result<Vec<Message>, Failure> {
    let Some(ids) = turn.history.as_ref().filter(|_| !seeded_bug::is("read-the-conversation-anew")) else {
        // Started by the release before, which kept no record of it.
        return first(upstream, turn, patience).await;
    };
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    same(ids, read(upstream, turn, ids, patience).await?)
}

async fn read(upstream: &Upstream, turn: &Turn, ids: &[MessageId], patience: Duration) -> Result<Vec<Message>, Failure> {
    let read = retry_until_answered(Some(patience), || upstream.messages(turn.id, LIMIT, ids)).await;
    read.map_err(|fault| commit::refusal(&fault))
}

/// What goes on record.
pub(crate) fn ids(messages: &[Message]) -> Result<Vec<MessageId>, Failure> {
    let unreadable = |_| Failure::new(Reason::Internal, "a message of the conversation has no id");
    messages.iter().map(|message| message.id.parse().map_err(unreadable)).collect()
}

/// A turn fails rather than tell the model something else. A project-storage of the release before answers the newest messages, which
/// will do if they are the same.
fn same(wanted: &[MessageId], read: Vec<Message>) -> Result<Vec<Message>, Failure> {
    if ids(&read)? == wanted {
        return Ok(read);
    }
    Err(Failure::new(Reason::Internal, "the messages that the turn began with cannot be read any more"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_owner_takes_nothing_but_the_same_messages() {
        let ids: [MessageId; 3] = std::array::from_fn(|_| MessageId::generate());
        let message = |id: &MessageId| Message { id: id.to_string(), ..Message::default() };
        let [a, b, c] = ids.each_ref().map(message);
        let wanted = &ids[..2];
        assert_eq!(same(wanted, vec![a.clone(), b.clone()]), Ok(vec![a.clone(), b.clone()]));
        for (what, read) in [
            ("one is gone", vec![a.clone()]),
            ("another one came", vec![a.clone(), b.clone(), c.clone()]),
            ("one in place of another", vec![a.clone(), c]),
            ("another order", vec![b.clone(), a.clone()]),
            ("none", vec![]),
            ("no id", vec![a, Message::default()]),
        ] {
            assert_eq!(same(wanted, read).map_err(|failure| failure.reason), Err(Reason::Internal), "{what}");
        }
    }
}
