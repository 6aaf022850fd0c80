//! The conversation before a turn. It is read when the turn starts, and its plan is stored with the texts that the model gets, so later workers do
//! not read it again. The ids of the newest messages are stored with the start, for the release before, whose workers read these messages:
//! project-storage gives a turn the texts of the time when it began.

use std::time::Duration;

use chassis::seeded_bug;
use proto::{error::ErrorCode, id::MessageId, project_storage::Message};

use crate::{
    turn::{Failure, Reason, Turn},
    upstream::{Upstream, failure_of, retry_until_answered},
};

/// The largest number of messages.
pub(crate) const LIMIT: i32 = 1_000;
/// The largest number of messages that the previous release of project-storage answers, and that is read if more are too large for one answer.
const FEWER: i32 = 200;
/// The newest messages whose ids are stored, for workers of the previous release.
const STORED: usize = 50;

/// The messages before a turn.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Conversation {
    /// The oldest first.
    pub(crate) messages: Vec<Message>,
    /// Whether there may be older ones.
    pub(crate) is_cut: bool,
}

impl Conversation {
    /// The newest messages, of which at most `limit` were asked for.
    #[must_use]
    pub(crate) fn newest(messages: Vec<Message>, limit: i32) -> Self {
        let is_cut = messages.len() >= limit.unsigned_abs() as usize;
        Self { messages, is_cut }
    }
}

/// The newest messages before the turn.
pub(crate) async fn newest(upstream: &Upstream, turn: &Turn, timeout: Duration) -> Result<Conversation, Failure> {
    let of = async |limit| {
        let read = retry_until_answered(Some(timeout), || upstream.messages(turn.id, limit, &[])).await;
        read.map(|messages| Conversation::newest(messages, limit))
    };
    let read = match of(LIMIT).await {
        Err(fault) if matches!(fault.code, ErrorCode::InvalidArgument | ErrorCode::RateLimited) => of(FEWER).await,
        read => read,
    };
    read.map_err(|fault| failure_of(&fault))
}

/// The messages that the release before has started the turn with. The model got all of them.
pub(crate) async fn recorded(upstream: &Upstream, turn: &Turn, timeout: Duration) -> Result<Conversation, Failure> {
    let Some(ids) = turn.history.as_ref().filter(|_| !seeded_bug::is("read-the-conversation-anew")) else {
        // A release before that did not store the ids.
        return newest(upstream, turn, timeout).await;
    };
    if ids.is_empty() {
        return Ok(Conversation::default());
    }
    let messages = check_same(ids, read(upstream, turn, ids, timeout).await?)?;
    Ok(Conversation { messages, is_cut: false })
}

async fn read(upstream: &Upstream, turn: &Turn, ids: &[MessageId], timeout: Duration) -> Result<Vec<Message>, Failure> {
    let read = retry_until_answered(Some(timeout), || upstream.messages(turn.id, FEWER, ids)).await;
    read.map_err(|fault| failure_of(&fault))
}

/// The ids to store.
pub(crate) fn stored(messages: &[Message]) -> Result<Vec<MessageId>, Failure> {
    ids(&messages[messages.len().saturating_sub(STORED)..])
}

fn ids(messages: &[Message]) -> Result<Vec<MessageId>, Failure> {
    let invalid = |_| Failure::new(Reason::Internal, "a message of the conversation has an invalid id");
    messages.iter().map(|message| message.id.parse().map_err(invalid)).collect()
}

/// Fails if the messages are not the requested ones. The previous release of project-storage ignores the ids and answers the newest
/// messages, which may be the same.
fn check_same(requested: &[MessageId], read: Vec<Message>) -> Result<Vec<Message>, Failure> {
    if ids(&read)? == requested {
        return Ok(read);
    }
    Err(Failure::new(Reason::Internal, "the messages that the turn has started with can no longer be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_may_be_cut_at_the_limit_that_was_asked_for() {
        for (count, limit, is_cut) in
            [(0, LIMIT, false), (200, LIMIT, false), (999, LIMIT, false), (1_000, LIMIT, true), (200, FEWER, true)]
        {
            let conversation = Conversation::newest(vec![Message::default(); count], limit);
            assert_eq!((conversation.messages.len(), conversation.is_cut), (count, is_cut), "{count} of {limit}");
        }
    }

    #[test]
    fn a_resumed_turn_accepts_only_the_same_messages() {
        let ids: [MessageId; 3] = std::array::from_fn(|_| MessageId::generate());
        let message = |id: &MessageId| Message { id: id.to_string(), ..Message::default() };
        let [a, b, c] = ids.each_ref().map(message);
        let requested = &ids[..2];
        assert_eq!(check_same(requested, vec![a.clone(), b.clone()]), Ok(vec![a.clone(), b.clone()]));
        for (what, read) in [
            ("one is missing", vec![a.clone()]),
            ("one more", vec![a.clone(), b.clone(), c.clone()]),
            ("another one", vec![a.clone(), c]),
            ("another order", vec![b.clone(), a.clone()]),
            ("none", vec![]),
            ("no id", vec![a, Message::default()]),
        ] {
            assert_eq!(check_same(requested, read).map_err(|failure| failure.reason), Err(Reason::Internal), "{what}");
        }
    }
}
