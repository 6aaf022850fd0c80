//! Translates the events of the model into events of the log.

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

/// Translates one answer.
#[derive(Default)]
pub(super) struct AnswerTranslator {
    /// The answer has produced events for viewers.
    pub(super) output: bool,
    /// The answer has text or a tool call. Reasoning alone is not an answer.
    pub(super) answered: bool,
    pub(super) bytes: usize,
    pub(super) calls: usize,
    partial_calls: HashMap<String, PartialCall>,
}

/// A call whose arguments are incomplete.
struct PartialCall {
    tool: String,
    input: InputStream,
    /// The bytes of arguments that were streamed.
    bytes: usize,
}

impl AnswerTranslator {
    /// Adds the size of an event to `bytes` and `calls`. Arguments are counted once: when they are streamed, or else when they are complete.
    pub(super) fn count(&mut self, event: &ModelEvent) {
        self.bytes += match event {
            ModelEvent::TextDelta { text, .. } | ModelEvent::ReasoningDelta { text, .. } => text.len(),
            ModelEvent::ToolStarted { tool, .. } => {
                self.calls += 1;
                tool.len()
            }
            ModelEvent::ToolInputDelta { call_id, json } => {
                if let Some(call) = self.partial_calls.get_mut(call_id) {
                    call.bytes += json.len();
                }
                json.len()
            }
            ModelEvent::ToolReady { call_id, input, opaque } => {
                let streamed = self.partial_calls.get(call_id).map_or(0, |call| call.bytes);
                input.to_string().len().saturating_sub(streamed) + opaque_json(opaque).len()
            }
            ModelEvent::ReasoningFinished { opaque, .. } => opaque_json(opaque).len(),
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
                vec![Kind::ReasoningFinished(ReasoningFinished { block_id: block, opaque_json: opaque_json(&opaque) })]
            }
            ModelEvent::ToolStarted { call_id, tool } => {
                let call = PartialCall { input: InputStream::new(&tool), tool: tool.clone(), bytes: 0 };
                self.partial_calls.insert(call_id.clone(), call);
                vec![Kind::ToolStarted(ToolStarted { call_id, tool })]
            }
            ModelEvent::ToolInputDelta { call_id, json } => self.input(&call_id, &json),
            ModelEvent::ToolReady { call_id, input, opaque } => self.ready(call_id, input, &opaque),
            // The caller handles these.
            ModelEvent::Usage(_) | ModelEvent::Finished(_) => Vec::new(),
        }
    }

    fn input(&mut self, call_id: &str, json: &str) -> Vec<Kind> {
        let Some(call) = self.partial_calls.get_mut(call_id) else { return Vec::new() };
        call.input.push(json).into_iter().map(|event| kind_of(call_id, event)).collect()
    }

    fn ready(&mut self, call_id: String, input: Value, opaque: &Value) -> Vec<Kind> {
        let opaque_json = opaque_json(opaque);
        let Some(PartialCall { tool, input: stream, .. }) = self.partial_calls.remove(&call_id) else {
            return vec![Kind::ToolReady(ToolReady { call_id, input_json: input.to_string(), opaque_json })];
        };
        let input = tools::repair(&tool, input);
        let mut kinds: Vec<_> = stream.finish(&input).into_iter().map(|event| kind_of(&call_id, event)).collect();
        kinds.push(Kind::ToolReady(ToolReady { call_id, input_json: without_content(&tool, input).to_string(), opaque_json }));
        kinds
    }
}

/// The JSON text of a value that only the provider reads. Empty for null.
fn opaque_json(opaque: &Value) -> String {
    if opaque.is_null() { String::new() } else { opaque.to_string() }
}

fn kind_of(call_id: &str, event: InputEvent) -> Kind {
    let call_id = call_id.to_owned();
    match event {
        InputEvent::Opened { path } => Kind::FileOpened(FileOpened { call_id, path, operation: FileOperation::Write as i32 }),
        InputEvent::Text(text) => Kind::FileDelta(FileDelta { call_id, text }),
        InputEvent::Json(json) => Kind::ToolInputDelta(ToolInputDelta { call_id, json }),
    }
}

/// Removes the content of a written file from the arguments, because its deltas have it. Empty content stays, because it has no deltas.
fn without_content(tool: &str, mut input: Value) -> Value {
    if tool == "write_file"
        && let Some(object) = input.as_object_mut()
        && object.get("content").and_then(Value::as_str).is_some_and(|content| !content.is_empty())
    {
        object.shift_remove("content");
    }
    input
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{model::provider::AssistantBlock, turn::transcript::Transcript};

    mod calls;

    fn types(kinds: &[Kind]) -> Vec<&'static str> {
        kinds.iter().map(proto::event::type_name).collect()
    }

    #[test]
    fn the_events_of_an_answer_keep_their_order() {
        let mut translator = AnswerTranslator::default();
        let mut kinds = Vec::new();
        for event in [
            ModelEvent::ReasoningStarted { block: "r".into() },
            ModelEvent::ReasoningDelta { block: "r".into(), text: "hm".into() },
            ModelEvent::ReasoningFinished { block: "r".into(), opaque: json!("sealed") },
            ModelEvent::TextStarted { block: "t".into() },
            ModelEvent::TextDelta { block: "t".into(), text: "I ".into() },
            ModelEvent::TextDelta { block: "t".into(), text: "write".into() },
            ModelEvent::TextFinished { block: "t".into() },
            ModelEvent::ToolStarted { call_id: "c".into(), tool: "read_file".into() },
            ModelEvent::ToolInputDelta { call_id: "c".into(), json: r#"{"path":"a"}"#.into() },
            ModelEvent::ToolReady { call_id: "c".into(), input: json!({"path": "a"}), opaque: json!("seal") },
        ] {
            kinds.extend(translator.translate(event));
        }
        let expected = "reasoning.started reasoning.delta reasoning.finished text.started text.delta text.delta text.finished \
            tool.started tool.input_delta tool.ready";
        assert_eq!(types(&kinds).join(" "), expected);
        let step = step_of(&kinds);
        assert_eq!(
            step.blocks,
            [
                AssistantBlock::Reasoning { text: "hm".into(), opaque: json!("sealed") },
                AssistantBlock::Text("I write".into()),
                AssistantBlock::ToolCall { id: "c".into(), tool: "read_file".into(), input: json!({"path": "a"}), opaque: json!("seal") },
            ]
        );
    }

    fn step_of(kinds: &[Kind]) -> crate::turn::transcript::Step {
        let mut transcript = Transcript::default();
        transcript.apply(&Kind::StepStarted(proto::agent_streaming::StepStarted { step: 1 }));
        kinds.iter().for_each(|kind| transcript.apply(kind));
        transcript.take_open()
    }

    #[test]
    fn the_content_of_a_file_is_only_in_its_deltas() {
        let input = json!({"path": "a.txt", "content": "hello"});
        for streamed in [true, false] {
            let mut translator = AnswerTranslator::default();
            let mut kinds = translator.translate(ModelEvent::ToolStarted { call_id: "c".into(), tool: "write_file".into() });
            if streamed {
                kinds.extend(translator.translate(ModelEvent::ToolInputDelta { call_id: "c".into(), json: input.to_string() }));
            }
            kinds.extend(translator.translate(ModelEvent::ToolReady { call_id: "c".into(), input: input.clone(), opaque: Value::Null }));
            assert_eq!(types(&kinds), ["tool.started", "file.opened", "file.delta", "tool.ready"]);
            let Some(Kind::ToolReady(ready)) = kinds.last() else { panic!("{kinds:?}") };
            assert_eq!(ready.input_json, r#"{"path":"a.txt"}"#);
            let step = step_of(&kinds);
            let call = step.calls().next().expect("a call");
            assert!(call.opened && *call.input == input);
        }
    }
}
