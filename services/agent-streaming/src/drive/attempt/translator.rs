//! An answer while it arrives. Pure: events of the model in, events of the log out.

use std::collections::HashMap;

use proto::agent_streaming::{
    FileDelta, FileOpened, FileOperation, ReasoningDelta, ReasoningFinished, ReasoningStarted, TextDelta, TextFinished, TextStarted,
    ToolInputDelta, ToolReady, ToolStarted, turn_event::Kind,
};
use serde_json::Value;

use crate::{
    model::provider::ModelEvent,
    workspace::tools::{
        self,
        input::{InputEvent, InputStream},
    },
};

/// What has arrived of an answer.
#[derive(Default)]
pub(super) struct AnswerTranslator {
    /// Something came that viewers see.
    pub(super) output: bool,
    /// Text or a call came. Reasoning alone is no answer.
    pub(super) answered: bool,
    pub(super) bytes: usize,
    pub(super) calls: usize,
    inputs: HashMap<String, Arriving>,
}

/// A call whose arguments are not whole yet.
struct Arriving {
    tool: String,
    input: InputStream,
    /// Of the arguments that streamed.
    bytes: usize,
}

impl AnswerTranslator {
    /// Counts what an event adds to the answer. Arguments that streamed count as they stream, others where they are whole.
    pub(super) fn count(&mut self, event: &ModelEvent) {
        self.bytes += match event {
            ModelEvent::TextDelta { text, .. } | ModelEvent::ReasoningDelta { text, .. } => text.len(),
            ModelEvent::ToolStarted { tool, .. } => {
                self.calls += 1;
                tool.len()
            }
            ModelEvent::ToolInputDelta { call_id, json } => {
                if let Some(arriving) = self.inputs.get_mut(call_id) {
                    arriving.bytes += json.len();
                }
                json.len()
            }
            ModelEvent::ToolReady { call_id, input, opaque } => {
                let streamed = self.inputs.get(call_id).map_or(0, |arriving| arriving.bytes);
                input.to_string().len().saturating_sub(streamed) + sealed(opaque).len()
            }
            ModelEvent::ReasoningFinished { opaque, .. } => sealed(opaque).len(),
            _ => 0,
        };
    }

    pub(super) fn translate(&mut self, event: ModelEvent) -> Vec<Kind> {
        self.output = true;
        self.answered |= match &event {
            ModelEvent::TextDelta { text, .. } => !text.trim().is_empty(),
            ModelEvent::ToolReady { .. } => true,
            _ => false,
        };
        match event {
            ModelEvent::TextStarted { block } => vec![Kind::TextStarted(TextStarted { block_id: block })],
            ModelEvent::TextDelta { block, text } => vec![Kind::TextDelta(TextDelta { block_id: block, text })],
            ModelEvent::TextFinished { block } => vec![Kind::TextFinished(TextFinished { block_id: block })],
            ModelEvent::ReasoningStarted { block } => vec![Kind::ReasoningStarted(ReasoningStarted { block_id: block })],
            ModelEvent::ReasoningDelta { block, text } => vec![Kind::ReasoningDelta(ReasoningDelta { block_id: block, text })],
            ModelEvent::ReasoningFinished { block, opaque } => {
                vec![Kind::ReasoningFinished(ReasoningFinished { block_id: block, opaque_json: sealed(&opaque) })]
            }
            ModelEvent::ToolStarted { call_id, tool } => {
                self.inputs.insert(call_id.clone(), Arriving { input: InputStream::new(&tool), tool: tool.clone(), bytes: 0 });
                vec![Kind::ToolStarted(ToolStarted { call_id, tool })]
            }
            ModelEvent::ToolInputDelta { call_id, json } => self.input(&call_id, &json),
            ModelEvent::ToolReady { call_id, input, opaque } => self.ready(call_id, input, &opaque),
            // Not part of what is said.
            ModelEvent::Usage(_) | ModelEvent::Finished(_) => Vec::new(),
        }
    }

    fn input(&mut self, call_id: &str, json: &str) -> Vec<Kind> {
        let Some(arriving) = self.inputs.get_mut(call_id) else { return Vec::new() };
        arriving.input.push(json).into_iter().map(|event| told(call_id, event)).collect()
    }

    fn ready(&mut self, call_id: String, input: Value, opaque: &Value) -> Vec<Kind> {
        let opaque_json = sealed(opaque);
        let Some(Arriving { tool, input: stream, .. }) = self.inputs.remove(&call_id) else {
            return vec![Kind::ToolReady(ToolReady { call_id, input_json: input.to_string(), opaque_json })];
        };
        let input = tools::mend(&tool, input);
        let mut kinds: Vec<_> = stream.finish(&input).into_iter().map(|event| told(&call_id, event)).collect();
        kinds.push(Kind::ToolReady(ToolReady { call_id, input_json: shown(&tool, input).to_string(), opaque_json }));
        kinds
    }
}

/// What only the provider reads, as JSON text.
fn sealed(opaque: &Value) -> String {
    if opaque.is_null() { String::new() } else { opaque.to_string() }
}

fn told(call_id: &str, event: InputEvent) -> Kind {
    let call_id = call_id.to_owned();
    match event {
        InputEvent::Opened { path } => Kind::FileOpened(FileOpened { call_id, path, operation: FileOperation::Write as i32 }),
        InputEvent::Text(text) => Kind::FileDelta(FileDelta { call_id, text }),
        InputEvent::Json(json) => Kind::ToolInputDelta(ToolInputDelta { call_id, json }),
    }
}

/// The arguments as viewers see them: what a file is to hold is in its deltas already, unless there is none.
fn shown(tool: &str, mut input: Value) -> Value {
    if tool == "write_file"
        && let Some(object) = input.as_object_mut()
        && object.get("content").and_then(Value::as_str).is_some_and(|content| !content.is_empty())
    {
        object.shift_remove("content");
    }
    input
}
