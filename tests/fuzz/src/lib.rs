//! Fuzzing without a special compiler: inputs from a corpus are changed at random and given to a target, which panics if a rule does not
//! hold. `make test` tries some thousand changes of each target, and `make fuzz` more. `BACKLOT_FUZZ_CASES` sets the number, and
//! `BACKLOT_FUZZ_SEED` the seed of the changes. A failure prints its seed.
//!
//! - [`Target`]: the inputs of a target, and the run. [`corpus`]: reads inputs. `mutation`: the changes.
//! - The targets that need private items are beside their code. The others are in `tests/targets`.

pub mod corpus;
mod mutation;

use std::hash::{BuildHasher as _, RandomState};

use proptest::{
    collection::vec,
    test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner},
};

pub use self::corpus::Seed;
use self::mutation::Mutation;

/// The most changes of an input.
const MAX_CHANGES: usize = 5;
/// The most bytes of a failing input that are shown.
const SHOWN_BYTES: usize = 2_000;

/// The inputs of a fuzz target.
pub struct Target {
    /// The inputs that are changed, at least one.
    pub seeds: Vec<Seed>,
    /// Bytes that the format treats specially, at least one. Changes insert them.
    pub words: Vec<Vec<u8>>,
}

impl Target {
    /// Changes inputs at random and checks each of them. `default_cases` is the number of inputs without `BACKLOT_FUZZ_CASES`.
    ///
    /// # Panics
    /// `check` panics for an input. The message has the smallest such input that was found, and the seed.
    pub fn run(&self, default_cases: u32, check: impl Fn(&[u8])) {
        self.run_with(setting("BACKLOT_FUZZ_SEED").unwrap_or_else(random_seed), default_cases, check);
    }

    /// As [`Target::run`], with the changes of a seed.
    ///
    /// # Panics
    /// As [`Target::run`].
    pub fn run_with(&self, seed_of_changes: u64, default_cases: u32, check: impl Fn(&[u8])) {
        let changes = (0..self.seeds.len(), vec(mutation::any(self.words.len()), 1..=MAX_CHANGES));
        let cases = setting("BACKLOT_FUZZ_CASES").unwrap_or(default_cases);
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed_of_changes.to_le_bytes());
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let outcome = runner.run(&changes, |(seed, mutations)| {
            check(&self.changed(seed, &mutations));
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Abort(reason)) => panic!("{reason}"),
            Err(TestError::Fail(reason, (seed, mutations))) => {
                let bytes = self.changed(seed, &mutations);
                let shown = bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii();
                panic!("BACKLOT_FUZZ_SEED={seed_of_changes}: {reason}\n{} after {mutations:?}: b\"{shown}\"", self.seeds[seed].name);
            }
        }
    }

    fn changed(&self, seed: usize, mutations: &[Mutation]) -> Vec<u8> {
        let mut bytes = self.seeds[seed].bytes.clone();
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes, &self.words));
        bytes
    }
}

#[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of a service")]
fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Another number in each process.
fn random_seed() -> u64 {
    RandomState::new().hash_one(0)
}
