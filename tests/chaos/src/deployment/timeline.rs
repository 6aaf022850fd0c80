//! Records the faults of a deployment. Time limits apply only while PostgreSQL and one replica of each role are available. An [`Outage`] is an
//! interval in which a part was not. The loss of a worker restarts the time limit of its turns. Starved time does not count.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use backlot::role::Role;
use test_support::canary::{self, Starvation};

pub use test_support::canary::{Millis, millis, now};

/// The faults of a deployment.
#[derive(Default)]
pub struct Timeline(Mutex<Faults>);

#[derive(Default)]
struct Faults {
    notes: Vec<(Millis, String)>,
    /// The replicas that do not run.
    missing: BTreeSet<String>,
    replicas: Vec<(&'static str, String)>,
    /// The parts that are not available, and since when.
    open: Vec<(String, Millis)>,
    outages: Vec<Outage>,
    /// When a worker was killed, paused or drained.
    losses: Vec<Millis>,
    pauses: Vec<Span>,
    paused: Vec<(String, Millis)>,
}

/// A start and an end.
pub type Span = (Millis, Millis);

/// An interval in which a part of the cluster was not available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    pub what: String,
    pub span: Span,
}

/// The recorded faults.
#[derive(Debug, Clone, Default)]
pub struct FaultHistory {
    pub outages: Vec<Outage>,
    /// When a worker was killed, paused or drained.
    pub losses: Vec<Millis>,
    /// When a worker was paused.
    pub pauses: Vec<Span>,
    /// When the machine was starved.
    pub starved: Starvation,
}

impl Timeline {
    /// Records a note.
    pub fn note(&self, text: impl Into<String>) {
        self.faults().notes.push((now(), text.into()));
    }

    /// Records that a part is not available until [`Timeline::end_outage`].
    pub fn begin_outage(&self, what: &str) {
        let mut faults = self.faults();
        faults.notes.push((now(), format!("{what}: outage begins")));
        faults.open.push((what.to_owned(), now()));
    }

    /// Records that a part is available again.
    pub fn end_outage(&self, what: &str) {
        let mut faults = self.faults();
        faults.notes.push((now(), format!("{what}: outage ends")));
        faults.close(what);
    }

    pub(super) fn add_replica(&self, role: Role, name: &str) {
        let mut faults = self.faults();
        faults.replicas.push((role.name(), name.to_owned()));
        faults.missing.insert(name.to_owned());
    }

    pub(super) fn replica_down(&self, role: Role, name: &str) {
        let mut faults = self.faults();
        faults.notes.push((now(), format!("{name} is down")));
        faults.missing.insert(name.to_owned());
        if role == Role::AgentStreaming {
            faults.losses.push(now());
        }
        if faults.replicas.iter().all(|(of, name)| *of != role.name() || faults.missing.contains(name)) {
            faults.open.push((role.name().to_owned(), now()));
        }
    }

    /// Records that a replica is paused.
    pub(super) fn replica_paused(&self, role: Role, name: &str) {
        self.replica_down(role, name);
        if role == Role::AgentStreaming {
            self.faults().paused.push((name.to_owned(), now()));
        }
    }

    pub(super) fn replica_up(&self, role: Role, name: &str) {
        let mut faults = self.faults();
        faults.notes.push((now(), format!("{name} is up")));
        faults.missing.remove(name);
        faults.close(role.name());
        if let Some(at) = faults.paused.iter().position(|(paused, _)| paused == name) {
            let (_, from) = faults.paused.remove(at);
            faults.pauses.push((from, now()));
        }
    }

    /// The faults so far. Outages and pauses that have not ended last until now.
    #[must_use]
    pub fn fault_history(&self) -> FaultHistory {
        let faults = self.faults();
        let open = faults.open.iter().map(|(what, from)| Outage { what: what.clone(), span: (*from, now()) });
        let paused = faults.paused.iter().map(|(_, from)| (*from, now()));
        FaultHistory {
            outages: faults.outages.iter().cloned().chain(open).collect(),
            losses: faults.losses.clone(),
            pauses: faults.pauses.iter().copied().chain(paused).collect(),
            starved: canary::starvation(),
        }
    }

    /// The notes between two times.
    #[must_use]
    pub fn between(&self, from: Millis, to: Millis) -> Vec<(Millis, String)> {
        self.faults().notes.iter().filter(|(at, _)| (from..=to).contains(at)).cloned().collect()
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Faults {
    fn close(&mut self, what: &str) {
        let (closed, open) = std::mem::take(&mut self.open).into_iter().partition(|(name, _)| name == what);
        self.open = open;
        self.outages.extend(Vec::into_iter(closed).map(|(what, from)| Outage { what, span: (from, now()) }));
    }
}
