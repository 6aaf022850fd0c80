//! Stop, at whichever replica it is asked for. The log and the row are changed in one transaction; the owner learns of it by
//! its fence, project-storage through the outbox.

use chassis::clock;
use proto::{
    agent_streaming::{TurnCancelled, TurnEvent, turn_event::Kind},
    id::{TurnId, UserId},
};

use crate::{
    Parts,
    error::Error,
    event,
    store::{ends, turns},
    turn::{Cancel, Turn},
};

pub(crate) async fn cancel(parts: &Parts, user: UserId, id: TurnId) -> Result<Turn, Error> {
    let turn = turns::find(&parts.db, id, user).await?.ok_or(Error::TurnNotFound)?;
    let event = TurnEvent {
        time: Some(clock::timestamp(clock::now())),
        trace_id: turn.trace_id,
        kind: Some(Kind::TurnCancelled(TurnCancelled {})),
        ..TurnEvent::default()
    };
    let (cancel, seq) = ends::cancel(&parts.db, id, user, &event::encode(&event)).await?.ok_or(Error::TurnNotFound)?;
    match cancel {
        Cancel::Now => {
            parts.journal.fence(id);
            parts.tails.ring(id, seq);
            parts.doorbell.ring(vec![(id, seq)]);
            parts.outbox.notify_one();
            // The slot is free.
            parts.doorbell.work();
        }
        Cancel::Done => {}
        Cancel::TooLate => return Err(Error::TooLate),
    }
    turns::find(&parts.db, id, user).await?.ok_or(Error::TurnNotFound)
}
