//! The result of rounds.

use std::collections::BTreeMap;

use crate::check::Violation;

/// The result of one or more rounds.
#[derive(Default)]
pub struct Verdict {
    pub violations: Vec<Violation>,
    /// What happened, and how often.
    pub counts: BTreeMap<String, u64>,
    /// The turns that violated a rule, with their context, for people.
    pub histories: Vec<String>,
    /// The machine gave the cluster three quarters of the time or less.
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

    pub(crate) fn unless(&mut self, holds: bool, rule: &'static str, text: String) {
        if !holds {
            self.violations.push(Violation { rule, turn: None, text });
        }
    }

    /// Adds to what happened.
    pub fn count(&mut self, what: impl Into<String>, times: u64) {
        *self.counts.entry(what.into()).or_default() += times;
    }
}
