//! What was broken when. Promises about time hold only while PostgreSQL and one replica of each role are available. A [`Trouble`] is an
//! interval in which they were not, and the loss of a worker restarts the clock of its turns. Time during which the machine starved the
//! cluster does not count.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use backlot::role::Role;
use test_support::canary::{self, Starved};

pub use test_support::canary::{Millis, millis, now};

/// The record of a deployment's faults.
#[derive(Default)]
pub struct Timeline(Mutex<Book>);

#[derive(Default)]
struct Book {
    notes: Vec<(Millis, String)>,
    /// Replicas that are missing.
    missing: BTreeSet<String>,
    replicas: Vec<(&'static str, String)>,
    /// The parts that are missing altogether, and since when.
    open: Vec<(String, Millis)>,
    troubles: Vec<Trouble>,
    /// When a worker was killed, stopped or drained.
    losses: Vec<Millis>,
    pauses: Vec<Span>,
    paused: Vec<(String, Millis)>,
}

/// A start and an end.
pub type Span = (Millis, Millis);

/// An interval in which the cluster lacked a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub what: String,
    pub span: Span,
}

/// What is known about an interval.
#[derive(Debug, Clone, Default)]
pub struct Past {
    pub troubles: Vec<Trouble>,
    /// When a worker was killed, stopped or drained.
    pub losses: Vec<Millis>,
    /// When a worker was stopped.
    pub pauses: Vec<Span>,
    /// When the machine starved the cluster.
    pub starved: Starved,
}

impl Timeline {
    /// Records an event.
    pub fn note(&self, text: impl Into<String>) {
        self.book().notes.push((now(), text.into()));
    }

    /// A part of the cluster is broken until [`Timeline::over`].
    pub fn trouble(&self, what: &str) {
        let mut book = self.book();
        book.notes.push((now(), format!("{what}: begins")));
        book.open.push((what.to_owned(), now()));
    }

    /// Records that the part is repaired.
    pub fn over(&self, what: &str) {
        let mut book = self.book();
        book.notes.push((now(), format!("{what}: over")));
        book.close(what);
    }

    pub(super) fn exists(&self, role: Role, name: &str) {
        let mut book = self.book();
        book.replicas.push((role.name(), name.to_owned()));
        book.missing.insert(name.to_owned());
    }

    pub(super) fn down(&self, role: Role, name: &str) {
        let mut book = self.book();
        book.notes.push((now(), format!("{name} is away")));
        book.missing.insert(name.to_owned());
        if role == Role::AgentStreaming {
            book.losses.push(now());
        }
        if book.replicas.iter().all(|(of, name)| *of != role.name() || book.missing.contains(name)) {
            book.open.push((role.name().to_owned(), now()));
        }
    }

    /// Records that a worker is stopped.
    pub(super) fn stopped(&self, role: Role, name: &str) {
        self.down(role, name);
        if role == Role::AgentStreaming {
            self.book().paused.push((name.to_owned(), now()));
        }
    }

    pub(super) fn up(&self, role: Role, name: &str) {
        let mut book = self.book();
        book.notes.push((now(), format!("{name} is there")));
        book.missing.remove(name);
        book.close(role.name());
        if let Some(at) = book.paused.iter().position(|(paused, _)| paused == name) {
            let (_, from) = book.paused.remove(at);
            book.pauses.push((from, now()));
        }
    }

    /// All troubles so far. Unfinished ones last until now.
    #[must_use]
    pub fn past(&self) -> Past {
        let book = self.book();
        let open = book.open.iter().map(|(what, from)| Trouble { what: what.clone(), span: (*from, now()) });
        let paused = book.paused.iter().map(|(_, from)| (*from, now()));
        Past {
            troubles: book.troubles.iter().cloned().chain(open).collect(),
            losses: book.losses.clone(),
            pauses: book.pauses.iter().copied().chain(paused).collect(),
            starved: canary::starved(),
        }
    }

    /// What happened between two moments, for people.
    #[must_use]
    pub fn between(&self, from: Millis, to: Millis) -> Vec<(Millis, String)> {
        self.book().notes.iter().filter(|(at, _)| (from..=to).contains(at)).cloned().collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn close(&mut self, what: &str) {
        let (closed, open) = std::mem::take(&mut self.open).into_iter().partition(|(name, _)| name == what);
        self.open = open;
        self.troubles.extend(Vec::into_iter(closed).map(|(what, from)| Trouble { what, span: (from, now()) }));
    }
}
