//! All requests of a turn begin with the same prompt, which is planned once. The model is called once per step, and at most once more per failed
//! attempt or change of the worker. All calls for a step have the same input.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rules, Turn, Violations, leases_starved, steps::effective};
use crate::{
    deployment::timeline::{FaultHistory, Millis},
    record::Call,
};

/// The tolerance between the time of a call and the time of an event, on a busy machine.
const SLACK: Millis = 500;

pub(super) fn check(turn: &Turn, faults: &FaultHistory, rules: &Rules, violations: &mut Violations<'_>) {
    let mut by_step: BTreeMap<u32, Vec<&Call>> = BTreeMap::new();
    for call in &turn.calls {
        by_step.entry(call.step).or_default().push(call);
    }
    let failed = turn.log.iter().filter(|event| event.kind == "attempt.failed").count();
    let takeovers = usize::try_from(turn.row.epoch - 1).unwrap_or_default();
    let counts: Vec<_> = by_step.iter().map(|(step, calls)| (*step, calls.len())).collect();
    violations.require(counts.iter().all(|(_, calls)| *calls <= 1 + failed + takeovers), "model calls", || {
        format!("(step, calls) {counts:?} with {failed} failed attempts and epoch {}", turn.row.epoch)
    });
    for (step, calls) in &by_step {
        // The input is fixed when the turn starts, whatever happens to the conversation later.
        let inputs: BTreeSet<u64> = calls.iter().map(|call| call.input_hash).collect();
        let same = inputs.len() <= 1;
        violations.require(same, "same model input", || format!("the calls for step {step} had different inputs"));
    }
    // The conversation is folded when the turn starts, and never again.
    let prefixes: BTreeSet<&str> =
        turn.log.iter().filter(|event| event.kind == "attempt.started").map(|event| event.text("prefixHash")).collect();
    violations
        .require(prefixes.len() <= 1, "one beginning of all requests", || format!("the requests of the turn begin with {prefixes:?}"));
    let plans = turn.log.iter().filter(|event| event.kind == "context.planned").count();
    violations.require(plans <= 1, "one plan", || format!("the context was planned {plans} times"));
    for finished in effective(&turn.log).into_iter().filter(|event| event.kind == "step.finished") {
        let step = finished.number("step");
        let calls = by_step.get(&step).map(Vec::as_slice).unwrap_or_default();
        violations.require(!calls.is_empty(), "model calls", || format!("step {step} finished without a call"));
        let late = calls.iter().find(|call| faults.starved.available(finished.at, call.at) > SLACK && !is_excused(call.at, faults, rules));
        violations.require(late.is_none(), "no call for a finished step", || {
            format!("step {step} finished at {}, later call {late:?}", finished.at)
        });
    }
}

/// Whether a worker could not know at this time that it had lost the turn: it was paused or starved, or could not reach its log.
fn is_excused(at: Millis, faults: &FaultHistory, rules: &Rules) -> bool {
    let since = at - 2 * rules.lease - SLACK;
    leases_starved(faults, rules, since, at)
        || faults.pauses.iter().chain(faults.outages.iter().map(|trouble| &trouble.span)).any(|(from, to)| *from <= at && *to >= since)
}
