//! The allowed ends of a turn: completed; conflicted if a user saved the same file; cancelled if a client asked for it; failed only if its
//! workers were lost too often.

use super::{Rules, Turn, Violations};
use crate::{prompt::Task, record::Cancel};

pub(super) fn check(turn: &Turn, rules: &Rules, violations: &mut Violations<'_>) {
    let state = turn.row.state.as_str();
    let cancel = turn.watched.cancel;
    if matches!(cancel, Some(Cancel::Done(_))) {
        violations.require(state == "cancelled", "acknowledged cancel", || format!("the turn is {state}"));
    }
    match state {
        "completed" => {}
        "conflicted" => {
            violations.require(turn.watched.prompt.task == Task::Conflict, "outcome", || {
                "conflicted, but no user saved the same file".to_owned()
            });
        }
        "cancelled" => {
            let may_be_cancelled = matches!(cancel, Some(Cancel::Done(_) | Cancel::Unknown));
            violations.require(may_be_cancelled, "outcome", || format!("cancelled, and the answer to a cancel was {cancel:?}"));
        }
        "failed" => {
            // The first claim does not count as a recovery.
            let lost = turn.row.reason == "WORKER_LOST" && turn.row.epoch > rules.recoveries;
            // Its client repeated the start after the turn had been withdrawn.
            let never_begun = turn.row.reason == "NOT_BEGUN" && turn.project.is_empty();
            violations.require(lost || never_begun, "outcome", || format!("failed with {} in epoch {}", turn.row.reason, turn.row.epoch));
        }
        _ => violations.require(false, "outcome", || format!("the state is {state}")),
    }
    let committed = turn.log.iter().any(|event| event.kind == "files.committed");
    let asks = turn.watched.prompt.task == Task::Ask;
    violations.require(!asks || !committed, "a question changes nothing", || "the turn has made a revision".to_owned());
    let writes = turn.watched.prompt.steps().iter().any(|step| !step.calls.is_empty());
    violations
        .require(asks || state != "completed" || committed == writes, "written files are committed", || format!("committed: {committed}"));
    let expected: &[i16] = match (state, committed) {
        ("completed", true) => &[2],
        ("completed", false) => &[3],
        ("conflicted", false) => &[4],
        // A cancel may arrive after project-storage has recorded a failure and before the terminal event.
        _ => &[5, 6],
    };
    violations.require(turn.storage.is_some_and(|found| expected.contains(&found)), "both services agree", || {
        format!("project-storage has the state {:?}, expected one of {expected:?} for {state}", turn.storage)
    });
}
