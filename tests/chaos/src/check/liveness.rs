//! A turn that does not wait for another turn makes progress while the cluster is healthy and the turn's worker lives. Whoever follows it
//! sees new events soon, even if doorbells are lost. It stays with its owner while nothing breaks. Time during which the machine starved
//! the cluster does not count.

use super::{Broken, Event, Rules, Turn, leases_starved};
use crate::{
    deployment::timeline::{Millis, Past},
    record::View,
};

pub(super) fn check(turn: &Turn, past: &Past, rules: &Rules, broken: &mut Broken<'_>) {
    for pair in turn.log.windows(2) {
        let [before, after] = pair else { continue };
        if waits(before, after) {
            continue;
        }
        let quiet = longest(before.at, after.at, past);
        broken.unless(quiet <= rules.silence, "nothing stands still", || {
            format!("{quiet} ms of silence in a whole cluster between events {} and {}", before.seq, after.seq)
        });
    }
    for view in &turn.watched.views {
        on_the_way(turn, view, past, rules, broken);
    }
    let starved = |pair: &[Event]| leases_starved(past, rules, pair[0].at - rules.lease, pair[1].at);
    // A step is also superseded because its provider failed; then the failed attempt follows.
    let failed = |at: usize| turn.log.get(at + 1).is_some_and(|next| next.kind == "attempt.failed");
    let superseded = |at: usize| turn.log[at].kind == "step.superseded" && !failed(at);
    let lost = (1..turn.log.len()).filter(|at| superseded(*at)).map(|at| &turn.log[at - 1..=at]).find(|pair| !starved(pair));
    broken.unless(!rules.calm || lost.is_none(), "an owner that is well keeps its turn", || format!("lost before {lost:?}"));
}

/// From the log, or from when it was opened, to a connection.
fn on_the_way(turn: &Turn, view: &View, past: &Past, rules: &Rules, broken: &mut Broken<'_>) {
    for (frame, came) in view.frames.iter().zip(&view.came) {
        let Some(event) = turn.log.iter().find(|event| event.seq == frame.id) else { continue };
        let late = longest(event.at.max(view.opened), *came, past);
        if late > rules.delay {
            return broken.unless(false, "viewers see what is new", || format!("event {} came {late} ms late", event.seq));
        }
    }
}

/// A turn in the queue is silent for as long as others run. One that was told so before it waited may have been claimed later.
fn waits(before: &Event, after: &Event) -> bool {
    before.kind == "turn.queued" || (before.kind == "agent.selected" && after.kind == "turn.started")
}

/// The most time that was there in a part of a stretch without trouble and without the loss of a worker.
fn longest(from: Millis, to: Millis, past: &Past) -> Millis {
    let mut ends: Vec<(Millis, Millis)> = past.losses.iter().map(|at| (*at, *at)).collect();
    ends.extend(past.troubles.iter().map(|trouble| trouble.span).chain(past.pauses.iter().copied()));
    ends.retain(|(begin, end)| *end >= from && *begin <= to);
    ends.push((to, to));
    ends.sort_unstable();
    let (mut longest, mut since) = (0, from);
    for (begin, end) in ends {
        longest = longest.max(past.starved.available(since, begin.max(since)));
        since = since.max(end);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::timeline::Trouble;

    #[test]
    fn only_whole_stretches_count() {
        let trouble = |from, to| Trouble { what: "postgres".into(), span: (from, to) };
        let past =
            Past { troubles: vec![trouble(20, 50), trouble(30, 40)], losses: vec![5, 90, 200], pauses: vec![(60, 61)], ..Past::default() };
        assert_eq!(longest(0, 100, &Past::default()), 100);
        assert_eq!(longest(0, 100, &past), 29);
        assert_eq!(longest(45, 58, &past), 8);
    }

    #[test]
    fn only_time_that_was_there_counts() {
        let mut past = Past { losses: vec![60], ..Past::default() };
        past.starved.add(0, 60, 50);
        past.starved.add(90, 100, 10);
        assert_eq!(longest(0, 100, &past), 30);
        assert_eq!(longest(0, 59, &past), 10);
    }
}
