//! The rules that must hold after a round, as pure functions over the observations. For each rule, `tests` has a history that violates it.
//!
//! - [`log`]: sequence numbers, the terminal event, the row, and what viewers received.
//! - [`steps`]: superseded steps, and that the other steps have the text of the model.
//! - [`provider`]: the number of calls of the model, and that all calls for a step had the same input.
//! - [`outcome`]: the allowed ends of a turn.
//! - [`conversation`]: every accepted message is there once and in order, and which messages are visible.
//! - [`contents`]: what a merge of lines and a resolution have.
//! - [`tree`]: the files and revisions of projects follow from the logs and the saves.
//! - [`lists`]: concurrent saves of the same files have one order, and none is lost.
//! - [`objects`]: stores have what their projects and templates name, and in the end nothing else.
//! - [`previews`]: a revision has the same compiled page at each replica.
//! - [`accounts`]: nothing is left of a deleted account.
//! - [`credentials`]: valid credentials are accepted, ended ones are refused, and a program has one live refresh token.
//! - [`known_accounts`]: accounts are as their persons know them, and no change is half done.
//! - [`liveness`]: every turn makes progress.

pub mod accounts;
pub mod contents;
pub mod conversation;
pub mod credentials;
pub mod known_accounts;
pub mod lists;
pub mod liveness;
pub mod log;
pub mod objects;
pub mod outcome;
pub mod previews;
pub mod provider;
pub mod steps;
pub mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::Value;
use test_support::sse::Frame;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::record::{Call, SavedRevision, WatchedTurn};
use crate::deployment::timeline::{self, FaultHistory, Millis};

/// An event of a turn's log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub seq: u32,
    pub kind: String,
    /// The time by the clock of its writer.
    pub at: Millis,
    pub data: Value,
}

impl Event {
    /// # Errors
    /// The frame violates the contract.
    pub fn of(frame: &Frame) -> Result<Self> {
        let mut json: Value = serde_json::from_str(&frame.data).context("data is JSON")?;
        let at = OffsetDateTime::parse(json["time"].as_str().context("time")?, &Rfc3339)?;
        let seq = json["seq"].as_u64().and_then(|seq| u32::try_from(seq).ok()).context("seq")?;
        anyhow::ensure!(seq == frame.id, "id {} of event {seq}", frame.id);
        let kind = json["type"].as_str().context("type")?.to_owned();
        Ok(Self { seq, kind, at: timeline::millis(at), data: json["data"].take() })
    }

    fn text(&self, key: &str) -> &str {
        self.data[key].as_str().unwrap_or_default()
    }

    fn number(&self, key: &str) -> u32 {
        self.data[key].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or_default()
    }

    fn is_terminal(&self) -> bool {
        TERMINAL.contains(&self.kind.as_str())
    }
}

const TERMINAL: [&str; 4] = ["turn.completed", "turn.failed", "turn.cancelled", "turn.conflicted"];

/// A turn's row at agent-streaming.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    pub state: String,
    pub reason: String,
    pub epoch: i64,
    pub last_seq: u32,
    /// The numbers of the stored events.
    pub seqs: Vec<u32>,
    /// The report of its end to project-storage is due.
    pub end_due: bool,
}

/// The observations of a turn.
#[derive(Debug, Clone)]
pub struct Turn {
    pub watched: WatchedTurn,
    pub project: String,
    /// The log as a viewer reads it after the round.
    pub frames: Vec<Frame>,
    pub log: Vec<Event>,
    pub row: Row,
    /// The state at project-storage: 1 open, 2 committed, 3 unchanged, 4 conflicted, 5 failed, 6 cancelled.
    pub storage: Option<i16>,
    pub calls: Vec<Call>,
}

/// A project after the round.
#[derive(Debug, Clone, Default)]
pub struct Project {
    pub id: String,
    pub tree: BTreeMap<String, String>,
    /// The revisions that its owner saved.
    pub saved: Vec<SavedRevision>,
    /// Its messages, the oldest first.
    pub messages: Vec<Message>,
    /// The number of its newest revision.
    pub head: u32,
    /// Turns with more than one revision.
    pub duplicates: Vec<String>,
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub turn: String,
    /// It is the prompt of the turn. Otherwise it is the answer.
    pub is_prompt: bool,
    pub text: String,
    pub visible: bool,
}

/// The limits of the rules.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The longest time between two events of a turn that is not waiting, in a healthy cluster.
    pub max_silence: Millis,
    /// The longest latency of an event to a connected viewer, in a healthy cluster.
    pub max_latency: Millis,
    /// There were no faults, so no worker may lose a turn.
    pub no_faults: bool,
    /// The number of lost workers after which a turn may fail.
    pub recoveries: i64,
    pub lease: Millis,
}

/// A violated rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: &'static str,
    pub turn: Option<String>,
    pub text: String,
}

/// Whether the machine was starved so much that a worker may have lost its lease. A worker extends its lease three times per lease.
fn leases_starved(faults: &FaultHistory, rules: &Rules, from: Millis, to: Millis) -> bool {
    faults.starved.lost(from, to) * 3 >= rules.lease * 2
}

/// Checks all rules for a round. Returns the violations.
#[must_use]
pub fn check(turns: &[Turn], projects: &[Project], faults: &FaultHistory, rules: &Rules) -> Vec<Violation> {
    let mut found = Vec::new();
    for turn in turns {
        let mut violations = Violations { turn: Some(turn.watched.turn.clone()), found: &mut found };
        log::check(turn, &mut violations);
        steps::check(turn, &mut violations);
        provider::check(turn, faults, rules, &mut violations);
        outcome::check(turn, rules, &mut violations);
        liveness::check(turn, faults, rules, &mut violations);
    }
    for project in projects {
        let of_project: Vec<_> = turns.iter().filter(|turn| turn.project == project.id).collect();
        let mut violations = Violations { turn: None, found: &mut found };
        tree::check(project, &of_project, &mut violations);
        conversation::check(project, turns, &mut violations);
    }
    found
}

/// Collects the violations of the rules.
pub struct Violations<'a> {
    turn: Option<String>,
    found: &'a mut Vec<Violation>,
}

impl Violations<'_> {
    fn require(&mut self, holds: bool, rule: &'static str, text: impl FnOnce() -> String) {
        if !holds {
            self.found.push(Violation { rule, turn: self.turn.clone(), text: text() });
        }
    }
}
