//! Fuzzing without a special compiler: inputs from a corpus are changed at random and given to a target, which panics if a rule does not
//! hold. `make test` tries some thousand changes of each target, and `make fuzz` more. `BACKLOT_FUZZ_CASES` sets the number.
//!
//! - [`Target`]: the inputs of a target, and the run. [`corpus`]: reads inputs. `mutation`: the changes.
//! - The targets that need private items are beside their code. The others are in `tests/targets`.

pub mod corpus;
mod mutation;

use proptest::{
    collection::vec,
    test_runner::{Config, TestError, TestRunner},
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
    /// `check` panics for an input. The message has the smallest such input that was found.
    pub fn run(&self, default_cases: u32, check: impl Fn(&[u8])) {
        let changes = (0..self.seeds.len(), vec(mutation::any(self.words.len()), 1..=MAX_CHANGES));
        let mut runner = TestRunner::new(Config { cases: cases(default_cases), failure_persistence: None, ..Config::default() });
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
                panic!("{reason}\n{} after {mutations:?}: b\"{shown}\"", self.seeds[seed].name);
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
fn cases(default: u32) -> u32 {
    std::env::var("BACKLOT_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
