//! Wrong variants that the chaos harness must find. Each is switched on by its name (see [`chassis::seeded_bug`]). A variant that needs
//! private items of a file is in a `seeded_bugs` module of that file.

use chassis::seeded_bug;
use proto::{
    agent_streaming::{AgentSelected, TurnCompleted, turn_event::Kind},
    auth::AccountDeletion,
    id::{TurnId, UserId},
    project_storage::CommitTurnRequest,
};

use crate::{
    error::Error,
    log::journal::{TurnLog, WriteError},
    model::provider::ModelRequest,
    store::{Pool, turns},
    turn::{Change, State, Turn, transcript::RecordedTurn},
};

/// A resumed turn starts with the first step again.
pub(crate) fn forget_finished_steps(recorded: &mut RecordedTurn) {
    if seeded_bug::is("ask-finished-steps-again") {
        recorded.transcript.finished.clear();
    }
}

/// The conversation is folded again after each step.
pub(crate) fn fold_in_mid_turn(request: &mut ModelRequest) {
    if seeded_bug::is("fold-in-mid-turn") && request.history > 0 {
        request.messages.drain(..request.history);
        request.history = 0;
    }
}

/// The margin of a selection depends on the process.
pub(crate) fn select_by_the_process(selection: AgentSelected) -> AgentSelected {
    if !seeded_bug::is("select-by-the-process") {
        return selection;
    }
    AgentSelected { margin: selection.margin + 1 + std::process::id() % 100, ..selection }
}

/// A resumed turn commits an empty change set instead of the sealed one.
pub(crate) fn empty_change_set(request: CommitTurnRequest) -> CommitTurnRequest {
    if seeded_bug::is("commit-an-empty-set") { CommitTurnRequest { changes: Vec::new(), ..request } } else { request }
}

/// Completes a turn before its files are committed. Returns `None` when the bug is off.
pub(crate) async fn complete_before_commit(log: &TurnLog, request: &CommitTurnRequest) -> Result<Option<()>, WriteError> {
    if !seeded_bug::is("done-before-commit") {
        return Ok(None);
    }
    let done = TurnCompleted { revision: request.base_revision.clone() };
    log.append(vec![Kind::TurnCompleted(done)], Change::completed(String::new())).await.map(Some)
}

/// Acknowledges the deletion of an account and deletes nothing. Returns `None` when the bug is off.
pub(crate) fn acknowledge_before_deletion(entry: &AccountDeletion) -> Option<bool> {
    seeded_bug::is("acknowledge-before-deletion").then_some(entry.is_final)
}

/// Answers that a turn is cancelled and does not cancel it. Returns `None` when the bug is off.
pub(crate) async fn answer_without_a_cancel(db: &Pool, user: UserId, id: TurnId) -> Result<Option<Turn>, Error> {
    if !seeded_bug::is("stop-in-words-only") {
        return Ok(None);
    }
    let turn = turns::find(db, id, user).await?.ok_or(Error::TurnNotFound)?;
    Ok(Some(Turn { state: State::Cancelled, ..turn }))
}
