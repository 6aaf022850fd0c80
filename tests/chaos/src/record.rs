//! What everybody saw: calls at the provider, frames at viewers, answers at clients.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use test_support::{canary::Stopwatch, sse::Frame};

use super::ask::Ask;
use crate::deployment::timeline::Millis;

/// The suffix of the kinds of answers that do not count.
const STARVED: &str = " on a starved machine";

/// A call at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The turn's number, as in its prompt.
    pub number: u64,
    pub step: u32,
    pub at: Millis,
    /// A hash of everything that the model was told.
    pub question: u64,
}

/// One connection of a viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The cursor of the request.
    pub after: u32,
    pub opened: Millis,
    pub frames: Vec<Frame>,
    /// When each of them arrived.
    pub came: Vec<Millis>,
    pub end: End,
}

impl View {
    /// The last event that it has.
    #[must_use]
    pub fn last(&self) -> u32 {
        self.frames.last().map_or(self.after, |frame| frame.id)
    }
}

/// How a viewer's connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Cleanly, which only an ended turn allows.
    Clean,
    /// Its server or the network broke it.
    Broken,
    /// The viewer disconnected.
    HungUp,
    /// The viewer received invalid bytes.
    Bad(String),
}

/// The answer to a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    Done(Millis),
    TooLate,
    /// Unknown: no answer told.
    Unknown,
}

/// A turn as its client sees it.
#[derive(Debug, Clone)]
pub struct Watched {
    pub ask: Ask,
    pub person: usize,
    /// When it was first requested.
    pub begun: Stopwatch,
    pub turn: String,
    /// The turn whose question it replaces.
    pub replaces: Option<String>,
    pub views: Vec<View>,
    pub cancel: Option<Cancel>,
    /// Its viewer saw the end.
    pub finished: bool,
}

/// A revision that a person made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    pub project: String,
    pub number: u32,
    /// The conflicted turn that it resolves. The mergeable part of the turn is included.
    pub settles: Option<String>,
    /// Path and content.
    pub file: (String, String),
}

/// The records of a round.
pub struct Taken {
    pub calls: Vec<Call>,
    pub watched: Vec<Watched>,
    pub saved: Vec<Saved>,
    pub wrongs: Vec<String>,
}

/// Everything of a round.
#[derive(Default)]
pub struct Record {
    calls: Mutex<Vec<Call>>,
    watched: Mutex<Vec<Watched>>,
    saved: Mutex<Vec<Saved>>,
    /// Answers that no well-behaved client may get.
    wrongs: Mutex<Vec<String>>,
    /// Answers by their kind, for people.
    answers: Mutex<BTreeMap<String, u64>>,
    made: AtomicU64,
    succeeded: AtomicU64,
    pub reconnects: AtomicU64,
    next: AtomicU64,
}

impl Record {
    /// A number that no turn has had.
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn called(&self, call: Call) {
        lock(&self.calls).push(call);
    }

    pub fn watched(&self, watched: Watched) {
        lock(&self.watched).push(watched);
    }

    pub fn saved(&self, saved: Saved) {
        lock(&self.saved).push(saved);
    }

    /// Records something that must not happen, whatever is broken.
    pub fn wrong(&self, text: impl Into<String>) {
        lock(&self.wrongs).push(text.into());
    }

    /// Counts a request that got a proper answer.
    pub fn succeeded(&self, kind: String) {
        self.made.fetch_add(1, Ordering::Relaxed);
        self.succeeded.fetch_add(1, Ordering::Relaxed);
        self.answered(kind);
    }

    /// Counts a request that has to be sent again, unless the machine was starved during it.
    pub fn failed(&self, kind: String, sent: Stopwatch) {
        if sent.is_starved() {
            return self.answered(kind + STARVED);
        }
        self.made.fetch_add(1, Ordering::Relaxed);
        self.answered(kind);
    }

    fn answered(&self, kind: String) {
        *lock(&self.answers).entry(kind).or_default() += 1;
    }

    /// The numbers of requests and of requests that succeeded.
    #[must_use]
    pub fn requests(&self) -> (u64, u64) {
        (self.made.load(Ordering::Relaxed), self.succeeded.load(Ordering::Relaxed))
    }

    /// Transient refusals so far that count.
    #[must_use]
    pub fn server_errors(&self) -> u64 {
        let counts = |kind: &str| kind.contains(": 5") && !kind.ends_with(STARVED);
        lock(&self.answers).iter().filter(|(kind, _)| counts(kind)).map(|(_, times)| times).sum()
    }

    #[must_use]
    pub fn answers(&self) -> BTreeMap<String, u64> {
        lock(&self.answers).clone()
    }

    /// Takes the records since the last call.
    #[must_use]
    pub fn take(&self) -> Taken {
        let (calls, watched) = (std::mem::take(&mut *lock(&self.calls)), std::mem::take(&mut *lock(&self.watched)));
        Taken { calls, watched, saved: std::mem::take(&mut *lock(&self.saved)), wrongs: std::mem::take(&mut *lock(&self.wrongs)) }
    }

    /// Calls of a turn so far.
    #[must_use]
    pub fn calls_of(&self, number: u64) -> usize {
        lock(&self.calls).iter().filter(|call| call.number == number).count()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
