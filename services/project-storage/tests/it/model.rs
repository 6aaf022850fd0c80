//! Sequences of operations, run against the service and against a [`reference::Reference`] in memory that does the same to maps of files.
//! After each operation the answers and the head must be equal, and at the end all revisions of all projects.
//!
//! The reference has its own merge of trees and of lines. No two new lines are equal, so that a merge has one answer. Names that clash, and
//! locks, are not part of it.
//!
//! `BACKLOT_MODEL_CASES` sets the number of cases, and `BACKLOT_MODEL_SEED` the seed of the first one. A case that fails is made smaller,
//! and printed with its seed.

use proptest::{
    prelude::Strategy as _,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use self::{
    operation::{Kind, Operation, operation},
    world::{Difference, Tally, World},
};
use crate::harness::Cluster;

mod merge;
mod operation;
mod reference;
mod world;

/// Operations of a case.
const OPERATIONS: usize = 80;
/// Cases without a setting.
const CASES: u64 = 6;
/// How many times as many run if the kinds of [`NEEDED`] have not all done what they are for.
const MAX_ROUNDS: u64 = 6;
/// The kinds of operations that must have changed something.
const NEEDED: [Kind; 7] = [Kind::Save, Kind::Turn, Kind::Revert, Kind::Undo, Kind::Redo, Kind::Resolve, Kind::Merge];
/// Runs that make a failing case smaller.
const MAX_SHRINKS: usize = 300;

/// The operations of a case.
fn operations(seed: u64) -> Vec<Operation> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let tree = proptest::collection::vec(operation(), OPERATIONS).new_tree(&mut runner);
    tree.expect("operations").current()
}

/// Runs a case. Returns how its operations ended, or the number of the one that differs and how.
async fn run(cluster: &Cluster, operations: &[Operation]) -> Result<Tally, (usize, Difference)> {
    let mut world = World::new(cluster).await;
    for (n, operation) in operations.iter().enumerate() {
        world.run(operation).await.map_err(|difference| (n, difference))?;
    }
    world.check_all().await.map_err(|difference| (operations.len(), difference))?;
    Ok(world.tally)
}

/// Removes operations as long as the rest still fails.
async fn shrink(cluster: &Cluster, mut operations: Vec<Operation>) -> (Vec<Operation>, Difference) {
    let (mut found, mut runs, mut size) = (String::new(), 0, operations.len());
    while size > 0 && runs < MAX_SHRINKS {
        let mut at = 0;
        while at < operations.len() && runs < MAX_SHRINKS {
            let rest = [&operations[..at], &operations[(at + size).min(operations.len())..]].concat();
            runs += 1;
            match Box::pin(run(cluster, &rest)).await {
                Err((n, difference)) => {
                    operations = rest;
                    operations.truncate(n + 1);
                    found = difference;
                }
                Ok(_) => at += size,
            }
        }
        size /= 2;
    }
    (operations, found)
}

#[expect(clippy::disallowed_methods, reason = "a setting of a test")]
pub(crate) fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_does_what_the_reference_does() {
    let cluster = Cluster::start().await;
    let random = u64::from_le_bytes(*uuid::Uuid::new_v4().as_bytes().first_chunk().expect("eight bytes"));
    let first = setting("BACKLOT_MODEL_SEED").unwrap_or(random);
    let mut tally = Tally::new();
    let cases = setting("BACKLOT_MODEL_CASES").unwrap_or(CASES);
    let missing = |tally: &Tally| NEEDED.into_iter().find(|kind| !tally.contains_key(&(*kind, "committed")));
    for n in 0..cases * MAX_ROUNDS {
        if n >= cases && missing(&tally).is_none() {
            break;
        }
        let seed = first.wrapping_add(n);
        let operations = operations(seed);
        match Box::pin(run(&cluster, &operations)).await {
            Ok(found) => found.into_iter().for_each(|(kind, count)| *tally.entry(kind).or_default() += count),
            Err((n, difference)) => {
                let (smaller, found) = shrink(&cluster, operations[..operations.len().min(n + 1)].to_vec()).await;
                panic!("BACKLOT_MODEL_SEED={seed}, operation {n}: {difference}\nsmaller: {found}\n{smaller:#?}");
            }
        }
    }
    assert_eq!(missing(&tally), None, "seed {first}: {tally:?}");
}
