//! The rows of the table. The limit of five times the baseline applies to CPU beside the pipe that commits. For the bare pipe, which
//! promises nothing, and for tails, memory and the latency of other users, only the goals apply.

use super::{Figures, Outcome, Size, Target, WINDOW, visit::Visits};
use crate::{
    sample::{Samples, median},
    table::{Goal, Table, Unit, shown},
};

/// Bytes that an open stream with its turn may hold.
const MEMORY: f64 = 64.0 * 1024.0;
/// What a request may take while streams are open, in seconds.
const ANSWER: f64 = 0.1;

pub(super) fn add(table: &mut Table, size: Size, outcome: &Outcome) {
    let what = match size.turns {
        1 => "scale, 1 turn".to_owned(),
        turns => format!("scale, {turns} turns"),
    };
    let of = |target: Target| &outcome.targets[&target];
    let (pipe, log, ours) = (of(Target::Pipe), of(Target::Log), of(Target::Backlot));
    events(table, &what, (log, ours), Floor::Commits);
    events(table, &what, (pipe, ours), Floor::Bare);
    let memory = (highest(&pipe.memory), highest(&ours.memory));
    if size.turns > 1 {
        // One stream is less than what a process grows by at any time.
        table.row(format!("{what}: memory for a stream, beside a bare pipe"), Unit::Bytes, memory, Goal::Bound(MEMORY));
    }
    visits(table, &what, &outcome.alone, &outcome.among);
    notes(table, &what, size, outcome);
    for (target, figures) in &outcome.targets {
        if let Some(first) = figures.failures.first() {
            table.fault(format!("{what}: {}: {} streams failed, the first with: {first}", target.name(), figures.failures.len()));
        }
    }
}

/// What ours stands beside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Floor {
    Commits,
    Bare,
}

fn events(table: &mut Table, what: &str, (floor, ours): (&Figures, &Figures), kind: Floor) {
    let beside = match kind {
        Floor::Commits => "beside a pipe that commits",
        Floor::Bare => "beside a bare pipe",
    };
    let cpu = match kind {
        Floor::Commits => Goal::Times(2.7),
        Floor::Bare => Goal::Tail(2.7),
    };
    table.row(format!("{what}: CPU per event, {beside}"), Unit::CpuPerMillion, (floor.cpu(), ours.cpu()), cpu);
    let mut latency = |name: &str, of: fn(&Figures) -> &Samples, median: f64| {
        let (floor, ours) = (of(floor), of(ours));
        let name = format!("{what}: {name}");
        table.row(format!("{name}, p50, {beside}"), Unit::Time, (floor.p50(), ours.p50()), Goal::Tail(median));
        table.row(format!("{name}, p99, {beside}"), Unit::Time, (floor.p99(), ours.p99()), Goal::Tail(5.0));
    };
    // With one turn a round there are only as many first deltas as rounds; the part `stream` has more of them.
    if ours.first_latency.count() > 10.0 {
        latency("first event's way", |figures| &figures.first_latency, 3.0);
    }
    latency("every event's way", |figures| &figures.latency, 5.0);
}

fn visits(table: &mut Table, what: &str, alone: &Visits, among: &Visits) {
    let mut row = |name: &str, figures: (f64, f64)| {
        table.row(format!("{what}: {name} meanwhile, beside no turns, p99"), Unit::Time, figures, Goal::Bound(ANSWER));
    };
    row("a GET", (alone.gets.p99(), among.gets.p99()));
    row("a save", (alone.saves.p99(), among.saves.p99()));
    row("a query", (alone.queries.p99(), among.queries.p99()));
}

fn notes(table: &mut Table, what: &str, size: Size, outcome: &Outcome) {
    #[allow(clippy::cast_precision_loss, reason = "a few thousand turns")]
    let wanted = size.turns as f64 / size.pace.as_secs_f64();
    for (target, figures) in &outcome.targets {
        let both = |samples: &Samples| format!("{} / {}", shown(Unit::Time, samples.p50()), shown(Unit::Time, samples.p99()));
        table.note(format!(
            "{what}: {}: {} wanted, {} sent, {} seen; CPU {}, PostgreSQL {}; {} a stream; \
             p50 / p99: request to first event {}, its way {}, every event's way {}",
            target.name(),
            shown(Unit::Rate, wanted),
            shown(Unit::Rate, median(figures.offered.clone())),
            shown(Unit::Rate, median(figures.delivered.clone())),
            shown(Unit::CpuPerMillion, figures.cpu()),
            shown(Unit::CpuPerMillion, figures.postgres()),
            shown(Unit::Bytes, highest(&figures.memory)),
            both(&figures.first),
            both(&figures.first_latency),
            both(&figures.latency),
        ));
    }
    let ours = &outcome.targets[&Target::Backlot];
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52 statements")]
    let appends = ours.queries.appends() as f64;
    let seconds = WINDOW.as_secs_f64() * f64::from(u32::try_from(size.rounds).unwrap_or(1));
    let settled = outcome.settled.iter().max_by_key(|(time, _)| *time).copied().unwrap_or_default();
    table.note(format!(
        "{what}: backlot: {} a second by {} statements of {:.1} each, p99 {}; all queries p99 {}; \
         after the last event of the last turn it worked for {:.0} s and {:.2} CPU seconds more",
        shown(Unit::Rate, median(ours.delivered.clone())).trim_end_matches("/s"),
        shown(Unit::Rate, appends / seconds),
        median(ours.delivered.clone()) / (appends / seconds),
        shown(Unit::Time, ours.queries.append_p99()),
        shown(Unit::Time, ours.queries.p99()),
        settled.0.as_secs_f64(),
        settled.1.as_secs_f64(),
    ));
}

/// Later rounds find the memory of the first, so the most that it has grown by is what counts.
fn highest(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::NAN, f64::max)
}

impl Figures {
    fn cpu(&self) -> f64 {
        median(self.cpu.clone())
    }

    fn postgres(&self) -> f64 {
        median(self.postgres.clone())
    }
}
