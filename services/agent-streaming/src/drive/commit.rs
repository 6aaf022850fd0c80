//! Ends a turn. A turn with files is committed at project-storage, then its terminal event is written. For a failed turn the terminal
//! event is written first, then the outbox sends EndTurn. Every call may be repeated, by this worker or by the next one.

use chassis::seeded_bug;
use prost::Message as _;
use proto::{
    agent_streaming::{FilesCommitted, FilesConflict, TurnCommitting, TurnCompleted, TurnConflicted, TurnFailed, turn_event::Kind},
    project_storage::{CommitOutcome, CommitTurnRequest, CommitTurnResponse, FileChange, file_change::Action},
};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

#[cfg(feature = "seeded-bugs")]
use crate::seeded_bugs;
use crate::{
    digest::hexadecimal,
    log::journal::{TurnLog, WriteError},
    turn::{Change, Failure, Turn, transcript::Transcript},
    upstream::{Upstream, failure_of, retry_until_answered},
};

/// The length of the message of a revision.
const SUMMARY_CHARS: usize = 120;
/// The changed files that are stored with the turn.
const MAX_FILES: usize = 100;

/// The first files that some changes leave in the project.
fn files(changes: &[FileChange]) -> Vec<String> {
    let left = changes.iter().filter_map(|change| match &change.action {
        Some(Action::Delete(_)) | None => None,
        Some(Action::Rename(rename)) => Some(rename.new_path.clone()),
        Some(_) => Some(change.path.clone()),
    });
    left.take(MAX_FILES).collect()
}

/// Seals the change set. After this no step is repeated: every later worker sends exactly this request.
pub(crate) async fn seal(
    log: &TurnLog,
    turn: &Turn,
    base_revision: &str,
    changes: Vec<FileChange>,
    transcript: &Transcript,
) -> Result<CommitTurnRequest, WriteError> {
    let digest = digest(&changes);
    let committing = TurnCommitting { digest: hexadecimal(&digest) };
    let request = CommitTurnRequest {
        turn_id: turn.id.to_string(),
        base_revision: base_revision.to_owned(),
        changes,
        digest: digest.into(),
        answer: transcript.answer.text().to_owned(),
        message: summary(&turn.prompt),
        parts: transcript.parts.parts(),
    };
    let change = Change::committing(request.encode_to_vec().into(), files(&request.changes));
    log.append(vec![Kind::TurnCommitting(committing)], change).await?;
    Ok(request)
}

/// Sends the change set until project-storage answers, and ends the turn with the outcome. It has no timeout: without an answer it is
/// unknown whether the commit has happened.
pub(crate) async fn commit(upstream: &Upstream, outbox: &Notify, log: &TurnLog, request: CommitTurnRequest) -> Result<(), WriteError> {
    seeded_bug!(return seeded_bugs::complete_before_commit(log, &request).await?);
    match retry_until_answered(None, || upstream.commit(request.clone())).await {
        Ok(answer) => {
            let (kinds, change) = outcome(answer, &request.base_revision);
            log.append(kinds, change).await
        }
        Err(fault) => {
            tracing::warn!(turn.id = request.turn_id, reason = fault.reason, "the commit was refused: {fault}");
            fail(outbox, log, &failure_of(&fault)).await
        }
    }
}

/// Ends a turn as failed. The outbox tells project-storage afterwards.
pub(crate) async fn fail(outbox: &Notify, log: &TurnLog, failure: &Failure) -> Result<(), WriteError> {
    let event = TurnFailed { reason: failure.reason.as_str().to_owned(), message: failure.message.clone() };
    log.append(vec![Kind::TurnFailed(event)], Change::failed(failure.reason)).await?;
    outbox.notify_one();
    Ok(())
}

/// The last events of a committed turn, and the change that ends it.
fn outcome(answer: CommitTurnResponse, base_revision: &str) -> (Vec<Kind>, Change) {
    let outcome = answer.outcome();
    let revision = answer.revision.unwrap_or_default();
    match outcome {
        CommitOutcome::Conflicted => {
            let kinds = vec![
                Kind::FilesConflict(FilesConflict { paths: answer.conflict_paths }),
                Kind::TurnConflicted(TurnConflicted { revision: revision.id.clone() }),
            ];
            (kinds, Change::conflicted(revision.id))
        }
        CommitOutcome::Committed => {
            let stat = revision.diff_stat.unwrap_or_default();
            let committed = FilesCommitted {
                revision: revision.id.clone(),
                number: revision.number,
                added: stat.added,
                modified: stat.modified,
                deleted: stat.deleted,
                renamed: stat.renamed,
            };
            let completed = TurnCompleted { revision: revision.id.clone() };
            (vec![Kind::FilesCommitted(committed), Kind::TurnCompleted(completed)], Change::completed(revision.id))
        }
        CommitOutcome::Unchanged | CommitOutcome::Unspecified => {
            // The turn made no revision, so the event names the base revision.
            let completed = TurnCompleted { revision: base_revision.to_owned() };
            (vec![Kind::TurnCompleted(completed)], Change::completed(String::new()))
        }
    }
}

/// SHA-256 of the changes alone, so that equal changes have equal digests.
fn digest(changes: &[FileChange]) -> Vec<u8> {
    let set = CommitTurnRequest { changes: changes.to_vec(), ..CommitTurnRequest::default() };
    Sha256::digest(set.encode_to_vec()).to_vec()
}

/// The first non-empty line of the prompt, cut to [`SUMMARY_CHARS`].
fn summary(prompt: &str) -> String {
    let line = prompt.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let short: String = line.chars().take(SUMMARY_CHARS).collect();
    if short.len() < line.len() { format!("{short}…") } else { short }
}

#[cfg(test)]
mod tests {
    use proto::project_storage::{DiffStat, FileContent, Revision, file_content::Data};

    use super::*;
    use crate::turn::State;

    fn write(path: &str, text: &str) -> FileChange {
        let content = FileContent { data: Some(Data::Text(text.to_owned())) };
        FileChange { path: path.into(), action: Some(Action::Write(content)), etag: String::new() }
    }

    #[test]
    fn the_digest_depends_on_the_changes_and_their_order() {
        assert_eq!(digest(&[write("a", "1")]), digest(&[write("a", "1")]));
        assert_ne!(digest(&[write("a", "1")]), digest(&[write("a", "2")]));
        assert_ne!(digest(&[write("a", "1"), write("b", "1")]), digest(&[write("b", "1"), write("a", "1")]));
        assert_eq!(digest(&[]).len(), 32);
    }

    #[test]
    fn every_outcome_ends_with_one_terminal_event() {
        let revision =
            Revision { id: "r2".into(), number: 2, diff_stat: Some(DiffStat { added: 3, ..Default::default() }), ..Default::default() };
        for (outcome, state, new_revision) in [
            (CommitOutcome::Committed, State::Completed, "r2"),
            (CommitOutcome::Unchanged, State::Completed, ""),
            (CommitOutcome::Conflicted, State::Conflicted, "r2"),
        ] {
            let answer = CommitTurnResponse {
                outcome: outcome as i32,
                revision: (outcome != CommitOutcome::Unchanged).then(|| revision.clone()),
                conflict_paths: vec!["a".into()],
            };
            let (kinds, change) = super::outcome(answer, "r1");
            let terminal = |kind: &Kind| matches!(kind, Kind::TurnCompleted(_) | Kind::TurnConflicted(_));
            assert_eq!(kinds.iter().filter(|kind| terminal(kind)).count(), 1);
            assert!(kinds.last().is_some_and(terminal));
            assert_eq!((change.state, change.revision.as_deref()), (Some(state), Some(new_revision)));
        }
    }

    #[test]
    fn the_summary_is_one_short_line() {
        assert_eq!(summary("\n  make a page \nwith more"), "make a page");
        assert_eq!(summary(&"é".repeat(500)).chars().count(), SUMMARY_CHARS + 1);
        assert_eq!(summary(" \n"), "");
    }
}
