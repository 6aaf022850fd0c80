//! What everybody saw: the provider its calls, the viewers their frames, the clients their answers.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use test_support::{canary::Stopwatch, sse::Frame};

use super::script::Ask;
use crate::deployment::timeline::Millis;

/// What the kind of an answer ends with that does not count.
const STARVED: &str = " on a starved machine";

/// A call that the provider got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Of the turn, as in its prompt.
    pub number: u64,
    pub step: u32,
    pub at: Millis,
    /// Of all that the model was told.
    pub question: u64,
}

/// One connection of a viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The cursor that it came with.
    pub after: u32,
    pub opened: Millis,
    pub frames: Vec<Frame>,
    /// When each of them came.
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
    /// As only a finished turn may end it.
    Clean,
    /// Its server or the network broke it.
    Broken,
    /// The viewer hung up.
    HungUp,
    /// It got bytes that no viewer may get.
    Bad(String),
}

/// What a cancel was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    Done(Millis),
    TooLate,
    /// Nothing that says which.
    Unknown,
}

/// A turn from its client's side.
#[derive(Debug, Clone)]
pub struct Watched {
    pub ask: Ask,
    pub person: usize,
    /// When it was first asked for.
    pub begun: Stopwatch,
    pub turn: String,
    /// The turn whose question its own stands in place of.
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
    /// The conflicted turn that it settles: what could be merged of it is there, too.
    pub settles: Option<String>,
    /// Path and content.
    pub file: (String, String),
}

/// What was written down in a round.
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
    /// Answers that no good client deserves.
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

    /// Something happened that may not, whatever is broken.
    pub fn wrong(&self, text: impl Into<String>) {
        lock(&self.wrongs).push(text.into());
    }

    /// A request was answered as it should be.
    pub fn succeeded(&self, kind: String) {
        self.made.fetch_add(1, Ordering::Relaxed);
        self.succeeded.fetch_add(1, Ordering::Relaxed);
        self.answered(kind);
    }

    /// A request has to be sent again. It does not count if the machine had too little time for an answer.
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

    /// Requests that were sent, and those of them that did what they were to do.
    #[must_use]
    pub fn requests(&self) -> (u64, u64) {
        (self.made.load(Ordering::Relaxed), self.succeeded.load(Ordering::Relaxed))
    }

    /// Answers so far that said "later" and count.
    #[must_use]
    pub fn server_errors(&self) -> u64 {
        let counts = |kind: &str| kind.contains(": 5") && !kind.ends_with(STARVED);
        lock(&self.answers).iter().filter(|(kind, _)| counts(kind)).map(|(_, times)| times).sum()
    }

    #[must_use]
    pub fn answers(&self) -> BTreeMap<String, u64> {
        lock(&self.answers).clone()
    }

    /// Everything that was written down since the last time.
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
