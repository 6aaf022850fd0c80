//! Unfinished steps are superseded. The other steps follow one another, and together they are what the model said.

use super::{Broken, Event, Turn};

/// What an unfinished step cannot have left.
const LASTING: [&str; 7] = ["turn.", "files.", "step.finished", "agent.selected", "turn.committing", "turn.started", "turn.accepted"];

/// The events that count: all but those of superseded steps.
#[must_use]
pub fn live(log: &[Event]) -> Vec<&Event> {
    let gone: Vec<(u32, u32)> =
        log.iter().filter(|event| event.kind == "step.superseded").map(|event| (event.number("from"), event.number("to"))).collect();
    let counts = |event: &&Event| event.kind != "step.superseded" && !gone.iter().any(|(from, to)| (*from..=*to).contains(&event.seq));
    log.iter().filter(counts).collect()
}

pub(super) fn check(turn: &Turn, broken: &mut Broken<'_>) {
    for marker in turn.log.iter().filter(|event| event.kind == "step.superseded") {
        let (from, to) = (marker.number("from"), marker.number("to"));
        broken.unless(0 < from && from <= to && to < marker.seq, "superseded events", || {
            format!("event {} supersedes {from} to {to}", marker.seq)
        });
        let lasting =
            turn.log.iter().find(|event| (from..=to).contains(&event.seq) && LASTING.iter().any(|kind| event.kind.starts_with(kind)));
        broken.unless(lasting.is_none(), "superseded events", || format!("event {} supersedes {lasting:?}", marker.seq));
    }
    let steps = said(&live(&turn.log), broken);
    let script = turn.watched.ask.steps();
    for (number, text) in &steps {
        let planned = script.get(*number as usize - 1).map(|step| step.text.as_str());
        broken.unless(planned == Some(text), "what the model said", || format!("step {number} reads {text:?}, said was {planned:?}"));
    }
    let completed = turn.row.state == "completed";
    broken.unless(!completed || steps.len() == script.len(), "every step", || {
        format!("completed after {} of {} steps", steps.len(), script.len())
    });
}

/// The finished steps and their texts.
fn said(live: &[&Event], broken: &mut Broken<'_>) -> Vec<(u32, String)> {
    let (mut steps, mut open) = (Vec::new(), None::<(u32, String)>);
    let mut closed = false;
    for event in live {
        match event.kind.as_str() {
            "step.started" => {
                let next = u32::try_from(steps.len()).unwrap_or(u32::MAX) + 1;
                let step = event.number("step");
                broken.unless(open.is_none() && step == next && !closed, "steps in order", || {
                    format!("event {} starts step {step}, next is {next}, open is {open:?}", event.seq)
                });
                open = Some((step, String::new()));
            }
            "step.finished" => match open.take().filter(|(step, _)| *step == event.number("step")) {
                Some(done) => steps.push(done),
                None => broken.unless(false, "steps in order", || format!("event {} finishes a step that is not open", event.seq)),
            },
            "turn.committing" | "turn.completed" => {
                broken.unless(open.is_none(), "steps in order", || format!("event {} while {open:?} is open", event.seq));
                closed = true;
            }
            "text.delta" => match &mut open {
                Some((_, text)) => text.push_str(event.text("text")),
                None => broken.unless(false, "steps in order", || format!("event {} is text outside of a step", event.seq)),
            },
            _ => {}
        }
    }
    steps
}
