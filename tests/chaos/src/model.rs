//! The script of the model server: the number in the prompt determines the answer.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use test_support::model_server::{Answer, At, Request, Script};

use super::{
    prompt::{Prompt, Step, Task},
    record::{Call, Record},
};
use crate::deployment::timeline;

/// The time between two events: long enough for faults in the middle of an answer.
const PACE: Duration = Duration::from_millis(12);
/// The number of characters in a delta.
const FRAGMENT: usize = 16;
/// How long the model pauses in an answer to [`Task::SlowAnswer`], and in the last one to [`Task::Module`]: two leases.
const LONG_PAUSE: Duration = Duration::from_secs(3);
/// How long the model pauses in the first answer to [`Task::Conflict`]: long enough for a save.
const SHORT_PAUSE: Duration = Duration::from_secs(1);
/// The position of a pause in the answer.
const PAUSE_AT: At = At::Event(6);

/// Creates the script, which also records every call.
#[must_use]
pub fn script(record: Arc<Record>) -> Script {
    Script::with(move |_, request| {
        let ask = Prompt::parse(&request.prompt())?;
        let step = request.step();
        record.called(Call { number: ask.number, step: u32::try_from(step).ok()?, at: timeline::now(), input_hash: input_hash(request) });
        let answer = answer(ask.steps().get(step - 1)?)?;
        Some(match (ask.task, step) {
            // The worker of a poison turn is killed before it has made progress.
            (Task::SlowAnswer | Task::Poison, _) => answer.pause_at(PAUSE_AT, LONG_PAUSE),
            (Task::Module, _) if step == ask.steps().len() => answer.pause_at(PAUSE_AT, LONG_PAUSE),
            (Task::Conflict, 1) => answer.pause_at(PAUSE_AT, SHORT_PAUSE),
            _ => answer,
        })
    })
}

fn answer(step: &Step) -> Option<Answer> {
    let said = Answer::default().pace(PACE).fragments(FRAGMENT).text(&step.text);
    Some(step.calls.iter().fold(said, |answer, (tool, input)| answer.tool(tool, input.clone())))
}

/// The hash of the messages in a request. All requests for a step must have the same one. Ids of tool calls are ignored, because each
/// answer has new ones.
fn input_hash(request: &Request) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut messages = request.body["messages"].clone();
    remove_ids(&mut messages);
    let mut hasher = DefaultHasher::new();
    messages.to_string().hash(&mut hasher);
    hasher.finish()
}

fn remove_ids(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(remove_ids),
        Value::Object(fields) => {
            fields.retain(|name, _| !["id", "tool_use_id", "tool_call_id"].contains(&name.as_str()));
            fields.values_mut().for_each(remove_ids);
        }
        _ => {}
    }
}
