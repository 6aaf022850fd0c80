//! What was broken when. Promises about time hold only while PostgreSQL and one replica of each role are there; a [`Trouble`] is
//! a stretch in which that was not so, and a lost worker restarts the clock of its turns. Time that the machine did not have for
//! the cluster is no time.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use backlot::settings::Role;
use test_support::canary::{self, Starved};

pub use test_support::canary::{Millis, millis, now};

/// The book of a deployment.
#[derive(Default)]
pub struct Timeline(Mutex<Book>);

#[derive(Default)]
struct Book {
    notes: Vec<(Millis, String)>,
    /// Replicas that there should be and that are not.
    missing: BTreeSet<String>,
    replicas: Vec<(&'static str, String)>,
    /// Since when which part is missing altogether.
    open: Vec<(String, Millis)>,
    troubles: Vec<Trouble>,
    /// When a worker was killed, stopped or drained.
    losses: Vec<Millis>,
    pauses: Vec<Span>,
    paused: Vec<(String, Millis)>,
}

/// From when to when.
pub type Span = (Millis, Millis);

/// A stretch of time in which the cluster lacked a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub what: String,
    pub span: Span,
}

/// What is known about a stretch of time.
#[derive(Debug, Clone, Default)]
pub struct Past {
    pub troubles: Vec<Trouble>,
    /// When a worker was killed, stopped or drained.
    pub losses: Vec<Millis>,
    /// When a worker stood still.
    pub pauses: Vec<Span>,
    /// When this machine had no time for the cluster.
    pub starved: Starved,
}

impl Timeline {
    /// Something happened.
    pub fn note(&self, text: impl Into<String>) {
        self.book().notes.push((now(), text.into()));
    }

    /// A part of the cluster is broken until [`Timeline::over`].
    pub fn trouble(&self, what: &str) {
        let mut book = self.book();
        book.notes.push((now(), format!("{what}: begins")));
        book.open.push((what.to_owned(), now()));
    }

    /// It is whole again.
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

    /// A worker stands still.
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

    /// All troubles so far, those that last until now.
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
