//! The model: it answers by the number in the prompt and records every call.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use test_support::model_server::{Answer, At, Request, Script};

use super::{
    ask::{Ask, Step, Wish},
    record::{Call, Record},
};
use crate::deployment::timeline;

/// Slow enough for faults in the middle of an answer.
const PACE: Duration = Duration::from_millis(12);
/// Characters in one delta.
const FRAGMENT: usize = 16;
/// How long the model is silent in the middle of a [`Wish::Think`]: two leases.
const THOUGHT: Duration = Duration::from_secs(3);
/// The same in the first answer to a [`Wish::Clash`]: long enough for a save.
const SHORT_THOUGHT: Duration = Duration::from_secs(1);
/// Where in the answer.
const THINKS_AT: At = At::Event(6);

/// The model. The number in the prompt determines the answer, and every call is recorded.
#[must_use]
pub fn script(record: Arc<Record>) -> Script {
    Script::with(move |_, request| {
        let ask = Ask::parse(&request.prompt())?;
        let step = request.step();
        record.called(Call { number: ask.number, step: u32::try_from(step).ok()?, at: timeline::now(), question: question(request) });
        let answer = answer(ask.steps().get(step - 1)?)?;
        Some(match (ask.wish, step) {
            // A worker that should be killed has made no progress by then.
            (Wish::Think | Wish::Poison, _) => answer.pause_at(THINKS_AT, THOUGHT),
            (Wish::Clash, 1) => answer.pause_at(THINKS_AT, SHORT_THOUGHT),
            _ => answer,
        })
    })
}

fn answer(step: &Step) -> Option<Answer> {
    let said = Answer::default().pace(PACE).fragments(FRAGMENT).text(&step.text);
    Some(step.calls.iter().fold(said, |answer, (tool, input)| answer.tool(tool, input.clone())))
}

/// What the model was told. It is the same each time a step is requested, except for the ids of calls, which come from the repeated
/// answer.
fn question(request: &Request) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut messages = request.body["messages"].clone();
    unname(&mut messages);
    let mut hasher = DefaultHasher::new();
    messages.to_string().hash(&mut hasher);
    hasher.finish()
}

fn unname(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(unname),
        Value::Object(fields) => {
            fields.retain(|name, _| !["id", "tool_use_id", "tool_call_id"].contains(&name.as_str()));
            fields.values_mut().for_each(unname);
        }
        _ => {}
    }
}
