//! The seeded bugs, each with the scenario that must find it. A row here has its branch `chassis::seeded_bug::is("name")` in a service,
//! and every branch has its row.

use backlot::role::Role;

use super::round::Scenario;

/// A bug and the scenario that finds it.
pub struct Bug {
    pub name: &'static str,
    /// What is wrong then.
    pub what: &'static str,
    pub found_by: Scenario,
}

const COMMIT_IS_LOST: Scenario = Scenario::Fails(&[(Role::AgentStreaming, "rpc/CommitTurn/before", "abort")]);
const START_IS_LOST: Scenario = Scenario::Fails(&[(Role::AgentStreaming, "accept-turn/after", "abort")]);

/// All of them.
pub const BUGS: &[Bug] = &[
    bug("cursor-off-by-one", "a viewer that comes back gets its last event again", Scenario::Calm),
    bug("clean-end-on-drain", "a draining gateway ends its streams as if the turns were over", Scenario::Rolling),
    bug("skip-fence", "an owner that lost its turn goes on and writes", Scenario::Stops),
    bug("ignore-the-epoch", "the log takes events of any epoch", Scenario::Stale),
    bug("join-without-the-lock", "an append looks at the epoch and does not hold it", Scenario::Unwritten),
    bug("skipped-is-written", "an owner takes what the fence kept out for written, and shows it", Scenario::Stale),
    bug("deliver-before-commit", "viewers see events that a crash can take back", Scenario::Unwritten),
    bug("drop-doubtful-batch", "a batch whose outcome nobody knows is not sent again", Scenario::Unwritten),
    bug("no-heartbeat", "leases run out while their owners are well", Scenario::Calm),
    bug("drop-poll", "a lost doorbell is never made up for", Scenario::Deaf),
    bug("ask-finished-steps-again", "a recovery begins with the first step", Scenario::Kills),
    bug("read-the-conversation-anew", "a recovery tells the model what was said since", Scenario::Kills),
    bug("no-superseded", "a recovery does not say which events count no more", Scenario::Kills),
    bug("done-before-commit", "a turn is over before its files are stored", Scenario::Calm),
    bug("commit-without-the-digest", "a commit takes another set under the same turn for a repeat", Scenario::Calm),
    bug("commit-an-empty-set", "a recovery commits something else than the turn fixed", COMMIT_IS_LOST),
    bug("settle-without-the-turn", "a settled conflict loses what of the turn could be merged", Scenario::Calm),
    bug("keep-a-refused-question", "a turn that may not wait leaves its question behind", Scenario::Calm),
    bug("forget-the-key", "a request sent again is another turn", START_IS_LOST),
    bug("never-give-up", "a turn that kills its worker each time is tried for ever", Scenario::Poison),
    bug("stop-in-words-only", "a stop is acknowledged and nothing is stopped", Scenario::Calm),
];

const fn bug(name: &'static str, what: &'static str, found_by: Scenario) -> Bug {
    Bug { name, what, found_by }
}

/// The bugs of a day. After some days every bug has been tried.
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

    /// The product's sources, by path.
    fn sources() -> Vec<(PathBuf, String)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let walk = ["services", "gateway"].into_iter().flat_map(|folder| ignore::WalkBuilder::new(root.join(folder)).build());
        let paths = walk.filter_map(Result::ok).map(ignore::DirEntry::into_path);
        let sources = paths.filter(|path| path.extension().is_some_and(|end| end == "rs") && !path.ends_with("chassis/src/seeded_bug.rs"));
        sources.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
    }

    #[test]
    fn every_bug_is_in_a_service_and_has_its_finder() {
        let names = |text: String| {
            text.split("seeded_bug::is(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let seeded: BTreeSet<String> = sources().into_iter().flat_map(|(_, text)| names(text)).collect();
        assert_eq!(seeded, BUGS.iter().map(|bug| bug.name.to_owned()).collect());
    }

    #[test]
    fn product_code_has_one_line_for_a_bug() {
        let product = sources().into_iter().filter(|(path, _)| !path.ends_with("seeded_bugs.rs"));
        let long = |line: &&str| {
            let line = line.trim();
            (line.contains("seeded_bug!(") && !line.ends_with(");")) || (line.starts_with("if seeded_bug::is(") && line.ends_with('{'))
        };
        let places = product.flat_map(|(path, text)| {
            let lines: Vec<_> = text.lines().filter(long).map(str::to_owned).collect();
            lines.into_iter().map(move |line| format!("{}: {line}", path.display()))
        });
        assert_eq!(places.collect::<Vec<_>>(), Vec::<String>::new(), "a wrong variant belongs into a module `seeded_bugs`");
    }

    #[test]
    fn three_a_day_are_all_of_them_after_some_days() {
        let days = 0..i64::try_from(BUGS.len()).unwrap();
        let seen: BTreeSet<_> = days.flat_map(|day| of_day(day, 3)).map(|bug| bug.name).collect();
        assert_eq!(seen.len(), BUGS.len());
    }
}
