//! Lists that concurrent saves append to. Each element is unique, so the final lists say in which order the saves took effect, and the reads
//! say which of them they saw.
//!
//! - An acknowledged append is in its list once, directly after what its save had read. A refused append is in no list. A save without an
//!   answer took effect as a whole or not at all.
//! - A read is a prefix of the final list and sees saves as a whole.
//! - There is one order of all operations that explains what they saw, over all lists together, and in which an operation that ended
//!   before another one began is first ([`order`]).

mod order;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::{Violation, Violations};
use crate::record::{ListHistory, ListOperation, ListOutcome, Lists};

/// The revision that creates a project without lists.
const FIRST_REVISION: usize = 1;

/// Checks all rules for the lists of a project. The order is checked only if the lists are intact.
#[must_use]
pub fn check(history: &ListHistory) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut violations = Violations { turn: None, found: &mut found };
    let history = Indexed::new(history);
    history.check_lists(&mut violations);
    history.check_appends(&mut violations);
    history.check_numbers(&mut violations);
    if found.is_empty() { order::check(&history).into_iter().collect() } else { found }
}

/// A history with the writer of each element.
struct Indexed<'a> {
    project: &'a str,
    operations: &'a [ListOperation],
    head: u32,
    last: &'a Lists,
    writers: BTreeMap<u64, usize>,
}

impl<'a> Indexed<'a> {
    fn new(history: &'a ListHistory) -> Self {
        let ListHistory { project, operations, last: (head, last) } = history;
        let appended = operations.iter().enumerate().flat_map(|(n, operation)| operation.appended.values().flatten().map(move |e| (*e, n)));
        Self { project, operations, head: *head, last, writers: appended.collect() }
    }

    fn last_list(&self, key: &str) -> &[u64] {
        self.last.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether an operation took effect: it was acknowledged, or its elements are in the lists.
    fn is_effective(&self, operation: &ListOperation) -> bool {
        match operation.outcome {
            ListOutcome::Done(_) => true,
            ListOutcome::Refused => false,
            ListOutcome::Unknown => operation.appended.iter().any(|(key, own)| own.iter().any(|e| self.last_list(key).contains(e))),
        }
    }

    fn check_lists(&self, violations: &mut Violations<'_>) {
        let done = self.operations.iter().filter(|operation| matches!(operation.outcome, ListOutcome::Done(_)));
        for (key, list) in self.last.iter().chain(done.flat_map(|operation| &operation.seen)) {
            self.check_list(key, list, violations);
        }
    }

    fn check_list(&self, key: &str, list: &[u64], violations: &mut Violations<'_>) {
        let project = self.project;
        let once = list.iter().collect::<BTreeSet<_>>().len() == list.len();
        violations.require(once, "an element is in its list once", || format!("{key} of project {project} has been {list:?}"));
        violations.require(self.last_list(key).starts_with(list), "a read is a prefix of the final list", || {
            format!("{key} of project {project} has been {list:?} and is {:?}", self.last_list(key))
        });
        for element in list {
            let writer = self.writers.get(element).map(|writer| &self.operations[*writer]);
            violations.require(writer.is_some_and(|writer| writer.appended.contains_key(key)), "no invented elements", || {
                format!("nobody has appended {element} to {key} of project {project}")
            });
            violations.require(writer.is_none_or(|writer| writer.outcome != ListOutcome::Refused), "no refused appends", || {
                format!("the append of {element} to {key} of project {project} was refused")
            });
        }
        let newest = list.last().and_then(|newest| Some((newest, self.operations[*self.writers.get(newest)?].appended.get(key)?)));
        violations.require(newest.is_none_or(|(newest, batch)| batch.last() == Some(newest)), "no half saves", || {
            format!("{key} of project {project} has been {list:?}, its last save is {newest:?}")
        });
    }

    fn check_appends(&self, violations: &mut Violations<'_>) {
        for operation in self.operations.iter().filter(|operation| self.is_effective(operation)) {
            for (key, own) in &operation.appended {
                let (list, project) = (self.last_list(key), self.project);
                let missing: Vec<_> = own.iter().filter(|element| !list.contains(element)).collect();
                let rule = if operation.outcome == ListOutcome::Unknown { "no half saves" } else { "acknowledged appends are kept" };
                violations.require(missing.is_empty(), rule, || format!("{key} of project {project} has no {missing:?}: {operation:?}"));
                let seen = operation.seen.get(key).map_or(&[][..], Vec::as_slice);
                let follows = list.strip_prefix(seen).is_some_and(|rest| rest.starts_with(own));
                violations.require(!missing.is_empty() || follows, "an append follows what its save has read", || {
                    format!("{key} of project {project} is {list:?}: {operation:?}")
                });
            }
        }
    }

    /// Each save made one revision, and nothing else did. No operation names a revision that was not made.
    fn check_numbers(&self, violations: &mut Violations<'_>) {
        for operation in self.operations {
            let first = if operation.appended.is_empty() { FIRST_REVISION } else { FIRST_REVISION + 1 };
            let is_made = |number: u32| number as usize >= first && number <= self.head;
            violations.require(operation.outcome.number().is_none_or(is_made), "operations name revisions that were made", || {
                format!("project {} has the head {}: {operation:?}", self.project, self.head)
            });
        }
        let saves = || self.operations.iter().filter(|operation| !operation.appended.is_empty() && self.is_effective(operation));
        let numbers: Vec<_> = saves().filter_map(|operation| operation.outcome.number()).collect();
        let distinct: BTreeSet<_> = numbers.iter().collect();
        violations.require(
            distinct.len() == numbers.len() && saves().count() + FIRST_REVISION == self.head as usize,
            "one revision for each save",
            || format!("project {} has {} saves, the revisions {numbers:?} and the head {}", self.project, saves().count(), self.head),
        );
    }
}
