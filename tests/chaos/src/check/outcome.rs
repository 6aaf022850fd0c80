//! How a turn may end: completed; conflicted if a person wrote the same file; cancelled if somebody cancelled it; failed only if its
//! workers were lost too often.

use super::{Broken, Rules, Turn};
use crate::{ask::Wish, record::Cancel};

pub(super) fn check(turn: &Turn, rules: &Rules, broken: &mut Broken<'_>) {
    let state = turn.row.state.as_str();
    let cancel = turn.watched.cancel;
    if matches!(cancel, Some(Cancel::Done(_))) {
        broken.unless(state == "cancelled", "after a cancel", || format!("{state} after an acknowledged cancel"));
    }
    match state {
        "completed" => {}
        "conflicted" => {
            broken.unless(turn.watched.ask.wish == Wish::Clash, "outcome", || "nobody wrote the same file".to_owned());
        }
        "cancelled" => {
            let asked = matches!(cancel, Some(Cancel::Done(_) | Cancel::Unknown));
            broken.unless(asked, "outcome", || format!("cancelled, and the answer to a cancel was {cancel:?}"));
        }
        "failed" => {
            // The first claim is no recovery.
            let lost = turn.row.reason == "WORKER_LOST" && turn.row.epoch > rules.recoveries;
            // Its client came back with its key after it had been given up.
            let never_begun = turn.row.reason == "NOT_BEGUN" && turn.project.is_empty();
            broken.unless(lost || never_begun, "outcome", || format!("failed with {} in epoch {}", turn.row.reason, turn.row.epoch));
        }
        _ => broken.unless(false, "outcome", || format!("it is {state}")),
    }
    let committed = turn.log.iter().any(|event| event.kind == "files.committed");
    let writes = turn.watched.ask.steps().iter().any(|step| !step.calls.is_empty());
    broken.unless(state != "completed" || committed == writes, "what was written is committed", || format!("committed: {committed}"));
    let expected: &[i16] = match (state, committed) {
        ("completed", true) => &[2],
        ("completed", false) => &[3],
        ("conflicted", false) => &[4],
        // A cancel may come between the end that a worker tells project-storage and its own last event: given up is given up.
        _ => &[5, 6],
    };
    broken.unless(turn.storage.is_some_and(|found| expected.contains(&found)), "both services agree", || {
        format!("project-storage has {:?}, {expected:?} belongs to {state}", turn.storage)
    });
}
