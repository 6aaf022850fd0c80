//! Decodes one content block.

use serde_json::{Map, Value, json};

use super::super::NAME;
use crate::model::provider::{
    ModelEvent,
    answer::text,
    calls::{IdGenerator, arguments_object, opaque, parse_arguments},
};

/// The fields of a call that are decoded. All other fields are sent back unchanged with the call.
const CALL_FIELDS: [&str; 4] = ["type", "id", "name", "input"];

pub(super) enum Block {
    Text {
        id: String,
        text: String,
    },
    Thinking {
        id: String,
        /// `ReasoningStarted` was emitted.
        started: bool,
        text: String,
        signature: String,
    },
    Redacted {
        id: String,
        data: String,
    },
    Tool(Tool),
    /// A block of the provider's own tools, or of an unknown type.
    Other {
        id: String,
        start: Value,
        json: String,
    },
}

pub(super) struct Tool {
    pub(super) id: String,
    pub(super) name: String,
    /// The provider's own id.
    wire_id: String,
    /// The input in the start of the block. Deltas replace it.
    initial_input: Value,
    json: String,
    fields: Map<String, Value>,
}

impl Tool {
    fn start(content: &Value, ids: &mut IdGenerator) -> Self {
        let wire_id = content["id"].as_str().unwrap_or_default();
        let fields =
            content.as_object().into_iter().flatten().filter(|(field, value)| !CALL_FIELDS.contains(&field.as_str()) && !value.is_null());
        Self {
            id: ids.call(wire_id),
            name: content["name"].as_str().unwrap_or_default().to_owned(),
            wire_id: wire_id.to_owned(),
            initial_input: content["input"].clone(),
            json: String::new(),
            fields: fields.map(|(field, value)| (field.clone(), value.clone())).collect(),
        }
    }

    /// The arguments, as text if they are not an object.
    fn input(&self) -> Value {
        let has_initial = match &self.initial_input {
            Value::Object(fields) => !fields.is_empty(),
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            _ => true,
        };
        if !self.json.is_empty() || !has_initial {
            return parse_arguments(&self.json).unwrap_or_else(|| Value::String(self.json.clone()));
        }
        match &self.initial_input {
            Value::String(text) => parse_arguments(text).unwrap_or_else(|| self.initial_input.clone()),
            Value::Object(_) => self.initial_input.clone(),
            other => Value::String(other.to_string()),
        }
    }
}

impl Block {
    /// Starts a block, with the content that its start has already.
    pub(super) fn start(content: &Value, ids: &mut IdGenerator, out: &mut Vec<ModelEvent>) -> Self {
        let text = |field: &str| content[field].as_str().unwrap_or_default().to_owned();
        let mut block = match content["type"].as_str().unwrap_or_default() {
            "text" => Self::Text { id: ids.block(), text: String::new() },
            "thinking" => Self::Thinking { id: ids.block(), started: false, text: String::new(), signature: text("signature") },
            "redacted_thinking" => Self::Redacted { id: ids.block(), data: text("data") },
            "tool_use" => {
                let tool = Tool::start(content, ids);
                out.push(ModelEvent::ToolStarted { call_id: tool.id.clone(), tool: tool.name.clone() });
                Self::Tool(tool)
            }
            _ => Self::Other { id: ids.block(), start: content.clone(), json: String::new() },
        };
        match &mut block {
            Self::Text { .. } => block.text(&text("text"), out),
            Self::Thinking { .. } => block.thinking(&text("thinking"), out),
            Self::Redacted { .. } | Self::Tool(_) | Self::Other { .. } => {}
        }
        block
    }

    /// The block of a delta without a start of its block. `None` if the delta does not show the type of the block.
    pub(super) fn of_delta(delta: &Value, ids: &mut IdGenerator) -> Option<Self> {
        let kind = match delta["type"].as_str()? {
            "text_delta" => "text",
            "thinking_delta" => "thinking",
            _ => return None,
        };
        Some(Self::start(&json!({"type": kind}), ids, &mut Vec::new()))
    }

    pub(super) fn delta(&mut self, delta: &Value, out: &mut Vec<ModelEvent>) {
        match (&mut *self, delta["type"].as_str().unwrap_or_default()) {
            (Self::Text { .. }, "text_delta") => self.text(text(delta, "text").unwrap_or_default(), out),
            (Self::Thinking { .. }, "thinking_delta") => self.thinking(text(delta, "thinking").unwrap_or_default(), out),
            (Self::Thinking { signature, .. }, "signature_delta") => signature.push_str(text(delta, "signature").unwrap_or_default()),
            (Self::Tool(Tool { id, json, .. }), "input_json_delta") => {
                let new = partial_json(delta);
                if !new.is_empty() {
                    json.push_str(&new);
                    out.push(ModelEvent::ToolInputDelta { call_id: id.clone(), json: new });
                }
            }
            (Self::Other { json, .. }, "input_json_delta") => json.push_str(&partial_json(delta)),
            // `citations_delta` and unknown deltas are ignored.
            _ => {}
        }
    }

    /// A text block starts with its first character, so empty blocks emit no events.
    fn text(&mut self, new: &str, out: &mut Vec<ModelEvent>) {
        let Self::Text { id, text } = self else { return };
        if new.is_empty() {
            return;
        }
        if text.is_empty() {
            out.push(ModelEvent::TextStarted { block: id.clone() });
        }
        text.push_str(new);
        out.push(ModelEvent::TextDelta { block: id.clone(), text: new.to_owned() });
    }

    fn thinking(&mut self, new: &str, out: &mut Vec<ModelEvent>) {
        let Self::Thinking { id, started, text, .. } = self else { return };
        if new.is_empty() {
            return;
        }
        if !std::mem::replace(started, true) {
            out.push(ModelEvent::ReasoningStarted { block: id.clone() });
        }
        text.push_str(new);
        out.push(ModelEvent::ReasoningDelta { block: id.clone(), text: new.to_owned() });
    }

    /// The block as it is sent back to the API. `None` for empty text, which the API refuses.
    pub(super) fn content(&self) -> Option<Value> {
        match self {
            Self::Text { text, .. } => (!text.is_empty()).then(|| json!({"type": "text", "text": text})),
            Self::Thinking { text, signature, .. } => Some(json!({"type": "thinking", "thinking": text, "signature": signature})),
            Self::Redacted { data, .. } => Some(json!({"type": "redacted_thinking", "data": data})),
            Self::Tool(tool) => {
                Some(json!({"type": "tool_use", "id": tool.id, "name": tool.name, "input": arguments_object(&tool.input())}))
            }
            Self::Other { start, json, .. } => Some(other(start, json)),
        }
    }

    pub(super) fn finish(self, out: &mut Vec<ModelEvent>) {
        let reasoning = match self {
            Self::Text { id, text } => {
                if !text.is_empty() {
                    out.push(ModelEvent::TextFinished { block: id });
                }
                return;
            }
            Self::Tool(tool) => {
                let input = tool.input();
                out.push(ModelEvent::ToolReady { call_id: tool.id, input, opaque: opaque(NAME, &tool.wire_id, [("fields", tool.fields)]) });
                return;
            }
            Self::Thinking { started: false, signature, .. } if signature.is_empty() => return,
            Self::Thinking { id, started, signature, .. } => (id, started, json!({"provider": NAME, "signature": signature})),
            Self::Redacted { id, data } => (id, false, json!({"provider": NAME, "data": data})),
            Self::Other { id, start, json } => (id, false, json!({"provider": NAME, "block": other(&start, &json)})),
        };
        let (block, started, opaque) = reasoning;
        if !started {
            out.push(ModelEvent::ReasoningStarted { block: block.clone() });
        }
        out.push(ModelEvent::ReasoningFinished { block, opaque });
    }
}

/// A fragment of the arguments. Some servers send an object instead of text.
fn partial_json(delta: &Value) -> String {
    match &delta["partial_json"] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        object => object.to_string(),
    }
}

fn other(start: &Value, json: &str) -> Value {
    let mut block = start.clone();
    if let Some(input) = parse_arguments(json).filter(|_| !json.is_empty()) {
        block["input"] = input;
    }
    block
}
