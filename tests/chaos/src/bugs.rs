//! The seeded bugs, each with the scenario that must find it. Each row has a branch `chassis::seeded_bug::is("name")` in a service, and each
//! branch has a row.

use backlot::role::Role;

use super::round::Scenario;

/// A seeded bug.
pub struct Bug {
    pub name: &'static str,
    /// What the bug does.
    pub what: &'static str,
    pub found_by: Scenario,
}

const BEFORE_COMMIT_TURN: Scenario = Scenario::Chosen(&[(Role::AgentStreaming, "rpc/CommitTurn/before", "abort")]);
const AFTER_ACCEPT_TURN: Scenario = Scenario::Chosen(&[(Role::AgentStreaming, "accept-turn/after", "abort")]);

/// All seeded bugs.
pub const BUGS: &[Bug] = &[
    bug("cursor-off-by-one", "a viewer that reconnects gets its last event again", Scenario::NoFaults),
    bug("clean-end-on-drain", "a draining gateway ends its streams cleanly", Scenario::Rolling),
    bug("skip-fence", "a worker that lost its turn continues to write", Scenario::Pauses),
    bug("ignore-the-epoch", "the log accepts events of any epoch", Scenario::StaleWorkers),
    bug("join-without-the-lock", "an append reads the epoch without locking it", Scenario::LostWrites),
    bug("skipped-is-written", "a worker delivers events that the fence refused", Scenario::StaleWorkers),
    bug("deliver-before-commit", "viewers see events before they are committed", Scenario::LostWrites),
    bug("drop-doubtful-batch", "a batch with an unknown outcome is not sent again", Scenario::LostWrites),
    bug("no-heartbeat", "leases expire while their workers are healthy", Scenario::NoFaults),
    bug("drop-poll", "events are not read after a lost doorbell", Scenario::RedisOutage),
    bug("ask-finished-steps-again", "a resumed turn starts with the first step", Scenario::Kills),
    bug("read-the-conversation-anew", "a resumed turn sends newer messages to the model", Scenario::Kills),
    bug("fold-in-mid-turn", "a step of a turn tells less of the conversation than the one before", Scenario::NoFaults),
    bug("select-by-the-process", "the selection of an agent does not come out again", Scenario::NoFaults),
    bug("no-superseded", "a resumed turn does not supersede unfinished steps", Scenario::Kills),
    bug("done-before-commit", "a turn completes before its files are stored", Scenario::NoFaults),
    bug("commit-without-the-digest", "a commit with another change set counts as a retry", Scenario::NoFaults),
    bug("commit-an-empty-set", "a resumed turn commits another change set", BEFORE_COMMIT_TURN),
    bug("settle-without-the-turn", "resolving a conflict loses the merged files", Scenario::NoFaults),
    bug("ignore-the-base", "a save overwrites what is newer than its base", Scenario::NoFaults),
    bug("forget-the-undo", "an undo does not store what it has undone", Scenario::NoFaults),
    bug("delete-what-is-used-again", "a sweep deletes objects that a save has used since it looked", Scenario::NoFaults),
    bug("end-a-sweep-early", "a sweep ends before it has deleted anything", Scenario::NoFaults),
    bug("keep-a-refused-question", "a refused turn leaves its prompt in the conversation", Scenario::NoFaults),
    bug("forget-the-key", "a repeated request starts another turn", AFTER_ACCEPT_TURN),
    bug("never-give-up", "a turn that kills its workers is retried forever", Scenario::Poison),
    bug("commit-without-the-base", "a turn overwrites what is newer than its base", Scenario::NoFaults),
    bug("merge-takes-one-side", "a merge loses the lines of one side", Scenario::NoFaults),
    bug("resolve-with-the-head", "a resolution has other contents than those that were chosen", Scenario::NoFaults),
    bug("leave-the-lock-behind", "a lock does not follow a rename", Scenario::NoFaults),
    bug("lose-the-answer", "the answer of a turn is not in the conversation", Scenario::NoFaults),
    bug("preview-the-base", "the preview of a running turn shows the files without its changes", Scenario::NoFaults),
    bug("name-the-process-in-a-page", "a compiled page differs between replicas", Scenario::NoFaults),
    bug("write-in-an-answer", "a turn in mode ask has the tools that write", Scenario::NoFaults),
    bug("acknowledge-before-deletion", "the deletion of an account ends with its turns and keys left", Scenario::NoFaults),
    bug("forgive-a-replay", "the replay of a used refresh token does not end its session", Scenario::NoFaults),
    bug("end-at-a-repetition", "a repeated exchange of a refresh token ends its session", Scenario::NoFaults),
    bug("end-a-session-in-words", "gateways do not learn that a session or a key has ended", Scenario::NoFaults),
    bug("keep-recovery-codes", "recovery codes stay when the last second factor is removed", Scenario::NoFaults),
    bug("stop-in-words-only", "a cancel is acknowledged and has no effect", Scenario::NoFaults),
];

const fn bug(name: &'static str, what: &'static str, found_by: Scenario) -> Bug {
    Bug { name, what, found_by }
}

/// The bugs to test on a day, so that all bugs are tested within some days.
pub fn of_day(day: i64, count: usize) -> impl Iterator<Item = &'static Bug> {
    let days = i64::try_from(BUGS.len()).unwrap_or(1);
    let first = usize::try_from(day.rem_euclid(days)).unwrap_or_default() * count;
    BUGS.iter().cycle().skip(first % BUGS.len()).take(count.min(BUGS.len()))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    use super::*;

    /// The source files of the services and the gateway.
    fn sources() -> Vec<(PathBuf, String)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let walk = ["services", "gateway"].into_iter().flat_map(|folder| ignore::WalkBuilder::new(root.join(folder)).build());
        let paths = walk.filter_map(Result::ok).map(ignore::DirEntry::into_path);
        let sources = paths.filter(|path| path.extension().is_some_and(|end| end == "rs") && !path.ends_with("chassis/src/seeded_bug.rs"));
        sources.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
    }

    #[test]
    fn every_row_has_a_branch_and_every_branch_has_a_row() {
        let names = |text: String| {
            text.split("seeded_bug::is(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let seeded: BTreeSet<String> = sources().into_iter().flat_map(|(_, text)| names(text)).collect();
        assert_eq!(seeded, BUGS.iter().map(|bug| bug.name.to_owned()).collect());
    }

    #[test]
    fn product_code_has_one_line_per_bug() {
        let product = sources().into_iter().filter(|(path, _)| !path.ends_with("seeded_bugs.rs"));
        let long = |line: &&str| {
            let line = line.trim();
            (line.contains("seeded_bug!(") && !line.ends_with(");")) || (line.starts_with("if seeded_bug::is(") && line.ends_with('{'))
        };
        let places = product.flat_map(|(path, text)| {
            let lines: Vec<_> = text.lines().filter(long).map(str::to_owned).collect();
            lines.into_iter().map(move |line| format!("{}: {line}", path.display()))
        });
        assert_eq!(places.collect::<Vec<_>>(), Vec::<String>::new(), "longer code belongs in a module `seeded_bugs`");
    }

    #[test]
    fn all_bugs_are_tested_within_some_days() {
        let days = 0..i64::try_from(BUGS.len()).unwrap();
        let seen: BTreeSet<_> = days.flat_map(|day| of_day(day, 3)).map(|bug| bug.name).collect();
        assert_eq!(seen.len(), BUGS.len());
    }
}
