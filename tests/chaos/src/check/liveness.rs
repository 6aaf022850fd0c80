//! A turn that does not wait for another turn makes progress while the cluster is healthy and its worker runs. Its viewers receive new
//! events within a limit, even if doorbells are lost. Without faults it stays with its worker. Starved time does not count.

use super::{Event, Rules, Turn, Violations, leases_starved};
use crate::{
    deployment::timeline::{FaultHistory, Millis},
    record::View,
};

pub(super) fn check(turn: &Turn, faults: &FaultHistory, rules: &Rules, violations: &mut Violations<'_>) {
    for pair in turn.log.windows(2) {
        let [before, after] = pair else { continue };
        if is_waiting(before, after) {
            continue;
        }
        let quiet = longest_healthy(before.at, after.at, faults);
        violations.require(quiet <= rules.max_silence, "progress", || {
            format!("{quiet} ms without an event in a healthy cluster between events {} and {}", before.seq, after.seq)
        });
    }
    for view in &turn.watched.views {
        latency(turn, view, faults, rules, violations);
    }
    let starved = |pair: &[Event]| leases_starved(faults, rules, pair[0].at - rules.lease, pair[1].at);
    // A step is also superseded if its provider failed. Then the next event is the failed attempt.
    let failed = |at: usize| turn.log.get(at + 1).is_some_and(|next| next.kind == "attempt.failed");
    let superseded = |at: usize| turn.log[at].kind == "step.superseded" && !failed(at);
    let lost = (1..turn.log.len()).filter(|at| superseded(*at)).map(|at| &turn.log[at - 1..=at]).find(|pair| !starved(pair));
    violations.require(!rules.no_faults || lost.is_none(), "healthy workers keep their turns", || {
        format!("a worker lost the turn between these events: {lost:?}")
    });
}

/// Checks the time from the write of an event, or from the start of the connection, to its arrival.
fn latency(turn: &Turn, view: &View, faults: &FaultHistory, rules: &Rules, violations: &mut Violations<'_>) {
    for (frame, arrived) in view.frames.iter().zip(&view.arrived) {
        let Some(event) = turn.log.iter().find(|event| event.seq == frame.id) else { continue };
        let late = longest_healthy(event.at.max(view.opened), *arrived, faults);
        if late > rules.max_latency {
            return violations.require(false, "event latency", || format!("event {} arrived after {late} ms", event.seq));
        }
    }
}

/// Whether the turn waits in the queue between the two events. There is no limit for this time.
fn is_waiting(before: &Event, after: &Event) -> bool {
    before.kind == "turn.queued" || (before.kind == "agent.selected" && after.kind == "turn.started")
}

/// The longest part of an interval, without starved time, in which there was no outage and no worker was lost.
pub(super) fn longest_healthy(from: Millis, to: Millis, faults: &FaultHistory) -> Millis {
    let mut ends: Vec<(Millis, Millis)> = faults.losses.iter().map(|at| (*at, *at)).collect();
    ends.extend(faults.outages.iter().map(|trouble| trouble.span).chain(faults.pauses.iter().copied()));
    ends.retain(|(begin, end)| *end >= from && *begin <= to);
    ends.push((to, to));
    ends.sort_unstable();
    let (mut longest, mut since) = (0, from);
    for (begin, end) in ends {
        longest = longest.max(faults.starved.available(since, begin.max(since)));
        since = since.max(end);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::timeline::Outage;

    #[test]
    fn outages_losses_and_pauses_are_excluded() {
        let trouble = |from, to| Outage { what: "postgres".into(), span: (from, to) };
        let faults = FaultHistory {
            outages: vec![trouble(20, 50), trouble(30, 40)],
            losses: vec![5, 90, 200],
            pauses: vec![(60, 61)],
            ..FaultHistory::default()
        };
        assert_eq!(longest_healthy(0, 100, &FaultHistory::default()), 100);
        assert_eq!(longest_healthy(0, 100, &faults), 29);
        assert_eq!(longest_healthy(45, 58, &faults), 8);
    }

    #[test]
    fn starved_time_is_excluded() {
        let mut faults = FaultHistory { losses: vec![60], ..FaultHistory::default() };
        faults.starved.add(0, 60, 50);
        faults.starved.add(90, 100, 10);
        assert_eq!(longest_healthy(0, 100, &faults), 30);
        assert_eq!(longest_healthy(0, 59, &faults), 10);
    }
}
