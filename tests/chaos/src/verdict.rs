//! The result of rounds.

use std::collections::BTreeMap;

use crate::check::Violation;

/// The result of one or more rounds.
#[derive(Default)]
pub struct Verdict {
    pub violations: Vec<Violation>,
    /// Counts of faults, turns and requests by their description.
    pub counts: BTreeMap<String, u64>,
    /// The formatted histories of turns that violated a rule.
    pub histories: Vec<String>,
    /// The machine was starved during the rounds.
    pub starved: bool,
}

impl Verdict {
    pub fn add(&mut self, other: Self) {
        self.violations.extend(other.violations);
        self.histories.extend(other.histories);
        for (what, times) in other.counts {
            *self.counts.entry(what).or_default() += times;
        }
    }

    pub(crate) fn require(&mut self, holds: bool, rule: &'static str, text: String) {
        if !holds {
            self.violations.push(Violation { rule, turn: None, text });
        }
    }

    /// Adds to a count.
    pub fn count(&mut self, what: impl Into<String>, times: u64) {
        *self.counts.entry(what.into()).or_default() += times;
    }
}
