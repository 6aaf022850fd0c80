//! The rules that must hold after a round, as pure functions over what everybody saw. For each rule, `tests` has a history that violates
//! it.
//!
//! - [`log`]: sequence numbers, the terminal event, the row, and what viewers saw of it.
//! - [`steps`]: which events count, and that they are what the model said.
//! - [`provider`]: how often the model was asked, and that each request for a step was the same.
//! - [`outcome`]: how a turn may end.
//! - [`conversation`]: the questions that count are shown with their answers.
//! - [`tree`]: the files and revisions of projects follow from the logs.
//! - [`liveness`]: every turn makes progress.

pub mod conversation;
pub mod liveness;
pub mod log;
pub mod outcome;
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

use super::record::{Call, Saved, Watched};
use crate::deployment::timeline::{self, Millis, Past};

/// An event as it stands in a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub seq: u32,
    pub kind: String,
    /// By its writer's clock.
    pub at: Millis,
    pub data: Value,
}

impl Event {
    /// # Errors
    /// The frame is not what the contract says.
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
    /// The numbers of its events.
    pub seqs: Vec<u32>,
    /// Project-storage has not been told of its end.
    pub end_due: bool,
}

/// Everything that is known of a turn.
#[derive(Debug, Clone)]
pub struct Turn {
    pub watched: Watched,
    pub project: String,
    /// As it reads now.
    pub frames: Vec<Frame>,
    pub log: Vec<Event>,
    pub row: Row,
    /// Its state at project-storage: 1 open, 2 committed, 3 unchanged, 4 conflicted, 5 failed, 6 cancelled.
    pub storage: Option<i16>,
    pub calls: Vec<Call>,
}

/// A project as its person finds it.
#[derive(Debug, Clone, Default)]
pub struct Project {
    pub id: String,
    pub tree: BTreeMap<String, String>,
    /// The revisions that its person made.
    pub saved: Vec<Saved>,
    /// Everything that was said: the turn of each message, and whether it is to be seen; the oldest first.
    pub messages: Vec<(String, bool)>,
    /// The number of its newest revision.
    pub head: u32,
    /// Turns with more than one revision.
    pub doubled: Vec<String>,
}

/// What is promised here.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The longest silence of a turn that is not waiting, in a whole cluster.
    pub silence: Millis,
    /// The longest way of an event to a viewer that is there, in a whole cluster.
    pub delay: Millis,
    /// Nothing was broken, so nobody lost a turn.
    pub calm: bool,
    /// Takeovers after which a turn may be given up.
    pub recoveries: i64,
    pub lease: Millis,
}

/// Something that may not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: &'static str,
    pub turn: Option<String>,
    pub text: String,
}

/// Whether the machine had so little time that an owner may have lost its lease. It prolongs it three times as often as it has to.
fn leases_starved(past: &Past, rules: &Rules, from: Millis, to: Millis) -> bool {
    past.starved.lost(from, to) * 3 >= rules.lease * 2
}

/// Everything that is wrong with a round.
#[must_use]
pub fn check(turns: &[Turn], projects: &[Project], past: &Past, rules: &Rules) -> Vec<Violation> {
    let mut found = Vec::new();
    for turn in turns {
        let mut broken = Broken { turn: Some(turn.watched.turn.clone()), found: &mut found };
        log::check(turn, &mut broken);
        steps::check(turn, &mut broken);
        provider::check(turn, past, rules, &mut broken);
        outcome::check(turn, rules, &mut broken);
        liveness::check(turn, past, rules, &mut broken);
    }
    for project in projects {
        let of: Vec<_> = turns.iter().filter(|turn| turn.project == project.id).collect();
        let mut broken = Broken { turn: None, found: &mut found };
        tree::check(project, &of, &mut broken);
        conversation::check(project, turns, &mut broken);
    }
    found
}

/// Where rules say what they found.
pub struct Broken<'a> {
    turn: Option<String>,
    found: &'a mut Vec<Violation>,
}

impl Broken<'_> {
    fn unless(&mut self, holds: bool, rule: &'static str, text: impl FnOnce() -> String) {
        if !holds {
            self.found.push(Violation { rule, turn: self.turn.clone(), text: text() });
        }
    }
}
