//! Wrong variants that the chaos harness must find, each behind its name (see [`chassis::seeded_bug`]). What needs the private
//! parts of a file is in a `seeded_bugs` module of that file.

use chassis::seeded_bug;
use proto::{
    agent_streaming::{TurnCompleted, turn_event::Kind},
    id::{TurnId, UserId},
    project_storage::CommitTurnRequest,
};

use crate::{
    app::App,
    error::Error,
    log::journal::{TurnLog, WriteError},
    store::turns,
    turn::{Change, State, Turn, transcript::RecordedTurn},
};

/// A recovery begins with the first step.
pub(crate) fn forget_finished_steps(past: &mut RecordedTurn) {
    if seeded_bug::is("ask-finished-steps-again") {
        past.transcript.finished.clear();
    }
}

/// A recovery commits something else than the turn stored.
pub(crate) fn empty_change_set(request: CommitTurnRequest) -> CommitTurnRequest {
    if seeded_bug::is("commit-an-empty-set") { CommitTurnRequest { changes: Vec::new(), ..request } } else { request }
}

/// Ends a turn before its files are stored. Returns `None` without the bug.
pub(crate) async fn complete_before_commit(log: &TurnLog, request: &CommitTurnRequest) -> Result<Option<()>, WriteError> {
    if !seeded_bug::is("done-before-commit") {
        return Ok(None);
    }
    let done = TurnCompleted { revision: request.base_revision.clone() };
    log.append(vec![Kind::TurnCompleted(done)], Change::completed(String::new())).await.map(Some)
}

/// Acknowledges a stop and stops nothing.
pub(crate) async fn answer_without_a_stop(app: &App, user: UserId, id: TurnId) -> Result<Option<Turn>, Error> {
    if !seeded_bug::is("stop-in-words-only") {
        return Ok(None);
    }
    let turn = turns::find(&app.db, id, user).await?.ok_or(Error::TurnNotFound)?;
    Ok(Some(Turn { state: State::Cancelled, ..turn }))
}
