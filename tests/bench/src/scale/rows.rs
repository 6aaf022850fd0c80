//! The rows of the table. The limit of five times the baseline applies to the CPU compared with the pipe that commits. For the plain pipe,
//! which is not durable, and for tails, memory and the latency of other users, only the goals apply.

use super::{Figures, Outcome, Size, Target, WINDOW, other_user::Requests};
use crate::{
    sample::{Samples, median},
    table::{Goal, Table, Unit, shown},
};

/// The goal for the memory of an open stream with its turn, in bytes.
const MEMORY: f64 = 64.0 * 1024.0;
/// The goal for a request while streams are open, in seconds.
const ANSWER: f64 = 0.1;

pub(super) fn add(table: &mut Table, size: Size, outcome: &Outcome) {
    let what = match size.turns {
        1 => "scale, 1 turn".to_owned(),
        turns => format!("scale, {turns} turns"),
    };
    let of = |target: Target| &outcome.targets[&target];
    let (pipe, log, ours) = (of(Target::Pipe), of(Target::Log), of(Target::Backlot));
    events(table, &what, (log, ours), Baseline::Commits);
    events(table, &what, (pipe, ours), Baseline::Plain);
    let memory = (highest(&pipe.memory), highest(&ours.memory));
    if size.turns > 1 {
        // The memory of one stream is less than the noise.
        table.row(format!("{what}: memory per stream, compared with a plain pipe"), Unit::Bytes, memory, Goal::Aim(MEMORY));
    }
    other_user(table, &what, &outcome.idle, &outcome.during);
    notes(table, &what, size, outcome);
    for (target, figures) in &outcome.targets {
        if let Some(first) = figures.failures.first() {
            table.failure(format!("{what}: {}: {} streams failed, the first with: {first}", target.name(), figures.failures.len()));
        }
    }
}

/// The baseline of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Baseline {
    Commits,
    Plain,
}

fn events(table: &mut Table, what: &str, (baseline, ours): (&Figures, &Figures), kind: Baseline) {
    let compared = match kind {
        Baseline::Commits => "compared with a pipe that commits",
        Baseline::Plain => "compared with a plain pipe",
    };
    let cpu = match kind {
        Baseline::Commits => Goal::Times(2.7),
        Baseline::Plain => Goal::Tail(2.7),
    };
    table.row(format!("{what}: CPU per event, {compared}"), Unit::CpuPerMillion, (baseline.cpu(), ours.cpu()), cpu);
    let mut latency = |name: &str, of: fn(&Figures) -> &Samples, median: f64| {
        let (baseline, ours) = (of(baseline), of(ours));
        let name = format!("{what}: {name}");
        table.row(format!("{name}, p50, {compared}"), Unit::Time, (baseline.p50(), ours.p50()), Goal::Tail(median));
        table.row(format!("{name}, p99, {compared}"), Unit::Time, (baseline.p99(), ours.p99()), Goal::Tail(5.0));
    };
    // With one turn per round there are too few first deltas. The part `stream` measures more.
    if ours.first_latency.count() > 10.0 {
        latency("latency of the first event", |figures| &figures.first_latency, 3.0);
    }
    latency("latency of every event", |figures| &figures.latency, 5.0);
}

fn other_user(table: &mut Table, what: &str, idle: &Requests, during: &Requests) {
    let mut row = |name: &str, figures: (f64, f64)| {
        table.row(format!("{what}: {name} during the turns, p99, compared with no turns"), Unit::Time, figures, Goal::Bound(ANSWER));
    };
    row("a GET", (idle.gets.p99(), during.gets.p99()));
    row("a save", (idle.saves.p99(), during.saves.p99()));
    row("a query", (idle.queries.p99(), during.queries.p99()));
}

fn notes(table: &mut Table, what: &str, size: Size, outcome: &Outcome) {
    #[allow(clippy::cast_precision_loss, reason = "a few thousand turns")]
    let wanted = size.turns as f64 / size.pace.as_secs_f64();
    for (target, figures) in &outcome.targets {
        let both = |samples: &Samples| format!("{} / {}", shown(Unit::Time, samples.p50()), shown(Unit::Time, samples.p99()));
        table.note(format!(
            "{what}: {}: {} wanted, {} sent, {} seen; CPU {}, PostgreSQL {}; {} per stream; \
             p50 / p99: request to first event {}, latency of the first event {}, latency of every event {}",
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
        "{what}: backlot: {} events/s in {} statements of {:.1} each, p99 {}; all queries p99 {}; \
         idle {:.0} s and {:.2} CPU seconds after the last event",
        shown(Unit::Rate, median(ours.delivered.clone())).trim_end_matches("/s"),
        shown(Unit::Rate, appends / seconds),
        median(ours.delivered.clone()) / (appends / seconds),
        shown(Unit::Time, ours.queries.append_p99()),
        shown(Unit::Time, ours.queries.p99()),
        settled.0.as_secs_f64(),
        settled.1.as_secs_f64(),
    ));
}

/// The largest figure. Later rounds reuse the memory of the first one, so the largest growth counts.
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
