//! Bugs on purpose, and the scenario that must find each. A row here has its branch `chassis::planted::is("name")` in a service,
//! and every branch has its row.

use super::round::Scenario;

/// A bug and who finds it.
pub struct Planted {
    pub name: &'static str,
    /// What is wrong then.
    pub what: &'static str,
    pub found_by: Scenario,
}

/// All of them.
pub const PLANTED: &[Planted] = &[
    Planted { name: "cursor-off-by-one", what: "a viewer that comes back gets its last event again", found_by: Scenario::Calm },
    Planted {
        name: "clean-end-on-drain",
        what: "a draining gateway ends its streams as if the turns were over",
        found_by: Scenario::Rolling,
    },
    Planted { name: "skip-fence", what: "an owner that lost its turn goes on writing", found_by: Scenario::Stops },
    Planted {
        name: "skipped-is-written",
        what: "an owner takes what the fence kept out for written, and shows it",
        found_by: Scenario::Stops,
    },
    Planted { name: "deliver-before-commit", what: "viewers see events that a crash can take back", found_by: Scenario::Kills },
    Planted { name: "drop-doubtful-batch", what: "a batch whose outcome nobody knows is not sent again", found_by: Scenario::Failpoints },
    Planted { name: "no-heartbeat", what: "leases run out while their owners are well", found_by: Scenario::Calm },
    Planted { name: "drop-poll", what: "a lost doorbell is never made up for", found_by: Scenario::Engines },
    Planted { name: "ask-finished-steps-again", what: "a recovery begins with the first step", found_by: Scenario::Kills },
    Planted { name: "no-superseded", what: "a recovery does not say which events count no more", found_by: Scenario::Kills },
    Planted { name: "done-before-commit", what: "a turn is over before its files are stored", found_by: Scenario::Calm },
    Planted { name: "commit-an-empty-set", what: "a recovery commits something else than the turn fixed", found_by: Scenario::Failpoints },
    Planted { name: "forget-the-key", what: "a request sent again is another turn", found_by: Scenario::Network },
    Planted { name: "never-give-up", what: "a turn that kills its worker each time is tried for ever", found_by: Scenario::Poison },
    Planted { name: "stop-in-words-only", what: "a stop is acknowledged and nothing is stopped", found_by: Scenario::Calm },
];

/// The first rows: their scenarios find them within half a minute, so that three of them fit beside a sound run.
const QUICK: usize = 4;

/// Those whose turn it is on a day: all of the quick ones come up.
pub fn of_day(day: i64, count: usize) -> impl Iterator<Item = &'static Planted> {
    let quick = &PLANTED[..QUICK];
    let first = usize::try_from(day.rem_euclid(i64::try_from(QUICK).unwrap_or(1))).unwrap_or_default();
    quick.iter().cycle().skip(first * count % QUICK).take(count.min(QUICK))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_bug_is_in_a_service_and_has_its_finder() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let walk = ["services", "gateway"].into_iter().flat_map(|folder| ignore::WalkBuilder::new(root.join(folder)).build());
        let sources = walk.filter_map(Result::ok).filter(|entry| entry.path().extension().is_some_and(|end| end == "rs"));
        let texts = sources.map(|entry| fs::read_to_string(entry.path()).unwrap());
        let branches =
            |text: String| text.split("planted::is(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect::<Vec<_>>();
        let planted: BTreeSet<String> = texts.flat_map(branches).collect();
        assert_eq!(planted, PLANTED.iter().map(|planted| planted.name.to_owned()).collect());
    }

    #[test]
    fn three_a_day_are_all_quick_ones_after_some_days() {
        let seen: BTreeSet<_> = (0..i64::try_from(QUICK).unwrap()).flat_map(|day| of_day(day, 3)).map(|planted| planted.name).collect();
        assert_eq!(seen.len(), QUICK);
    }
}
