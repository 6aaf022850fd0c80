//! Stop, at whichever replica it is asked for. The log and the row are changed in one transaction; the owner learns of it by
//! its fence, project-storage through the outbox.

use chassis::{clock, seeded_bug};
use proto::{
    agent_streaming::{TurnCancelled, TurnEvent, turn_event::Kind},
    id::{TurnId, UserId},
};

#[cfg(feature = "seeded-bugs")]
use crate::seeded_bugs;
use crate::{
    app::App,
    error::Error,
    metrics::{self, End},
    store::{ends, turns},
    turn::event,
    turn::{Cancel, State, Turn},
};

pub(crate) async fn cancel(app: &App, user: UserId, id: TurnId) -> Result<Turn, Error> {
    seeded_bug!(return seeded_bugs::answer_without_a_stop(app, user, id).await?);
    let (cancel, seq) = ends::cancel(&app.db, id, user, event).await?.ok_or(Error::TurnNotFound)?;
    match cancel {
        Cancel::Now => announce(app, id, seq),
        Cancel::Done => {}
        Cancel::TooLate => return Err(Error::TooLate),
    }
    let turn = turns::find(&app.db, id, user).await?.ok_or(Error::TurnNotFound)?;
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
pub(crate) fn announce(app: &App, id: TurnId, seq: u32) {
    app.journal.fence(id);
    app.tails.ring(id, seq);
    app.doorbell.ring(vec![(id, seq)]);
    app.outbox.notify_one();
    app.doorbell.work();
}
