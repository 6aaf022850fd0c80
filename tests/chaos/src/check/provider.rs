//! The model is asked once for each step, and at most once more each time the turn changes its owner. Each request for a step is the
//! same.

use std::collections::{BTreeMap, BTreeSet};

use super::{Broken, Rules, Turn, leases_starved, steps::live};
use crate::{
    deployment::timeline::{Millis, Past},
    record::Call,
};

/// Between an event's own time and the call that it answers, on a busy machine.
const SLACK: Millis = 500;

pub(super) fn check(turn: &Turn, past: &Past, rules: &Rules, broken: &mut Broken<'_>) {
    let mut by_step: BTreeMap<u32, Vec<&Call>> = BTreeMap::new();
    for call in &turn.calls {
        by_step.entry(call.step).or_default().push(call);
    }
    let failed = turn.log.iter().filter(|event| event.kind == "attempt.failed").count();
    let handed = usize::try_from(turn.row.epoch - 1).unwrap_or_default();
    let counts: Vec<_> = by_step.iter().map(|(step, calls)| (*step, calls.len())).collect();
    broken.unless(counts.iter().all(|(_, calls)| *calls <= 1 + failed + handed), "calls", || {
        format!("(step, calls) {counts:?} with {failed} failed attempts and epoch {}", turn.row.epoch)
    });
    for (step, calls) in &by_step {
        // Whoever asks, and whatever became of the project meanwhile: what the model is told was fixed when the turn started.
        let questions: BTreeSet<u64> = calls.iter().map(|call| call.question).collect();
        let same = questions.len() <= 1;
        broken.unless(same, "the same question", || format!("the calls of step {step} told the model different things"));
    }
    for finished in live(&turn.log).into_iter().filter(|event| event.kind == "step.finished") {
        let step = finished.number("step");
        let calls = by_step.get(&step).map(Vec::as_slice).unwrap_or_default();
        broken.unless(!calls.is_empty(), "calls", || format!("step {step} was finished without a call"));
        let late = calls.iter().find(|call| past.starved.available(finished.at, call.at) > SLACK && !excused(call.at, past, rules));
        broken.unless(late.is_none(), "no call for a finished step", || format!("step {step} was finished at {}: {late:?}", finished.at));
    }
}

/// An owner that stood still, or that could not reach its log, does not know yet that it has lost the turn. One that the machine
/// had no time for stood still, too.
fn excused(at: Millis, past: &Past, rules: &Rules) -> bool {
    let since = at - 2 * rules.lease - SLACK;
    leases_starved(past, rules, since, at)
        || past.pauses.iter().chain(past.troubles.iter().map(|trouble| &trouble.span)).any(|(from, to)| *from <= at && *to >= since)
}
