//! Unfinished steps are superseded. The other steps are in order and have the text of the model.

use super::{Event, Turn, Violations};

/// The types of events that must not be superseded.
const PERMANENT: [&str; 7] = ["turn.", "files.", "step.finished", "agent.selected", "turn.committing", "turn.started", "turn.accepted"];

/// The events that are not superseded.
#[must_use]
pub fn effective(log: &[Event]) -> Vec<&Event> {
    let superseded: Vec<(u32, u32)> =
        log.iter().filter(|event| event.kind == "step.superseded").map(|event| (event.number("from"), event.number("to"))).collect();
    let is_effective =
        |event: &&Event| event.kind != "step.superseded" && !superseded.iter().any(|(from, to)| (*from..=*to).contains(&event.seq));
    log.iter().filter(is_effective).collect()
}

pub(super) fn check(turn: &Turn, violations: &mut Violations<'_>) {
    for marker in turn.log.iter().filter(|event| event.kind == "step.superseded") {
        let (from, to) = (marker.number("from"), marker.number("to"));
        violations.require(0 < from && from <= to && to < marker.seq, "superseded events", || {
            format!("event {} supersedes {from} to {to}", marker.seq)
        });
        let permanent =
            turn.log.iter().find(|event| (from..=to).contains(&event.seq) && PERMANENT.iter().any(|kind| event.kind.starts_with(kind)));
        violations.require(permanent.is_none(), "superseded events", || format!("event {} supersedes {permanent:?}", marker.seq));
    }
    let steps = finished_steps(&effective(&turn.log), violations);
    let script = turn.watched.prompt.steps();
    for (number, text) in &steps {
        let planned = script.get(*number as usize - 1).map(|step| step.text.as_str());
        violations
            .require(planned == Some(text), "model text", || format!("step {number} has the text {text:?}, the model sent {planned:?}"));
    }
    let completed = turn.row.state == "completed";
    violations.require(!completed || steps.len() == script.len(), "all steps", || {
        format!("completed after {} of {} steps", steps.len(), script.len())
    });
}

/// Returns the finished steps and their texts.
fn finished_steps(log: &[&Event], violations: &mut Violations<'_>) -> Vec<(u32, String)> {
    let (mut steps, mut open) = (Vec::new(), None::<(u32, String)>);
    let mut closed = false;
    for event in log {
        match event.kind.as_str() {
            "step.started" => {
                let next = u32::try_from(steps.len()).unwrap_or(u32::MAX) + 1;
                let step = event.number("step");
                violations.require(open.is_none() && step == next && !closed, "steps in order", || {
                    format!("event {} starts step {step}, expected step {next}, open is {open:?}", event.seq)
                });
                open = Some((step, String::new()));
            }
            "step.finished" => match open.take().filter(|(step, _)| *step == event.number("step")) {
                Some(done) => steps.push(done),
                None => violations.require(false, "steps in order", || format!("event {} finishes a step that was not started", event.seq)),
            },
            "turn.committing" | "turn.completed" => {
                violations.require(open.is_none(), "steps in order", || format!("event {} while {open:?} is open", event.seq));
                closed = true;
            }
            "text.delta" => match &mut open {
                Some((_, text)) => text.push_str(event.text("text")),
                None => violations.require(false, "steps in order", || format!("event {} has text outside a step", event.seq)),
            },
            _ => {}
        }
    }
    steps
}
