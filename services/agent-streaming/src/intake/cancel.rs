//! Cancels a turn, on any replica. One transaction changes the log and the row. The worker of the turn stops because its epoch has
//! moved, and the outbox tells project-storage.

use chassis::{clock, seeded_bug};
use proto::{
    agent_streaming::{TurnCancelled, TurnEvent, turn_event::Kind},
    id::{TurnId, UserId},
};
use time::OffsetDateTime;

#[cfg(feature = "seeded-bugs")]
use crate::seeded_bugs;
use crate::{
    app::App,
    error::Error,
    metrics::{self, TurnOutcome},
    store::{ends, turns},
    turn::event,
    turn::{CancelDecision, State, Turn},
};

pub(crate) async fn cancel(app: &App, user: UserId, id: TurnId, now: OffsetDateTime) -> Result<Turn, Error> {
    seeded_bug!(return seeded_bugs::answer_without_a_cancel(&app.db, user, id).await?);
    let (decision, seq) = ends::cancel(&app.db, id, user, event_at(now)).await?.ok_or(Error::TurnNotFound)?;
    match decision {
        CancelDecision::Now => announce(app, id, seq),
        CancelDecision::Done => {}
        CancelDecision::TooLate => return Err(Error::TooLate),
    }
    let turn = turns::find(&app.db, id, user).await?.ok_or(Error::TurnNotFound)?;
    if decision == CancelDecision::Now {
        report(&turn);
    }
    Ok(turn)
}

/// Counts a turn that has just been cancelled.
pub(crate) fn report(turn: &Turn) {
    metrics::turn_ended(turn, &TurnOutcome { state: State::Cancelled, reason: "", error: "", steps: None, usage: turn.usage });
}

/// Encodes `turn.cancelled` for the log of a turn with the given trace id.
pub(crate) fn event_at(now: OffsetDateTime) -> impl Fn(&str) -> Vec<u8> + Send + Sync {
    move |trace_id| {
        event::encode(&TurnEvent {
            time: Some(clock::timestamp(now)),
            trace_id: trace_id.to_owned(),
            kind: Some(Kind::TurnCancelled(TurnCancelled {})),
            ..TurnEvent::default()
        })
    }
}

/// Tells the turn's worker, its viewers, the outbox and the next turn of the project that a turn has just been cancelled.
pub(crate) fn announce(app: &App, id: TurnId, seq: u32) {
    app.journal.fence(id);
    app.tails.ring(id, seq);
    app.doorbell.ring(&[(id, seq)]);
    app.outbox.notify_one();
    app.doorbell.ring_work();
}
