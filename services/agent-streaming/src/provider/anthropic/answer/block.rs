//! One content block while it streams.

use serde_json::{Value, json};

use crate::provider::{
    ModelEvent,
    calls::{Names, arguments_object, parse_arguments},
};

pub(super) enum Block {
    Text {
        id: String,
        text: String,
    },
    /// `told`: its beginning was handed out.
    Thinking {
        id: String,
        told: bool,
        text: String,
        signature: String,
    },
    Redacted {
        id: String,
        data: String,
    },
    Tool {
        id: String,
        name: String,
        json: String,
    },
    /// A kind that means nothing here, kept to be sent back.
    Other {
        start: Value,
        json: String,
    },
}

impl Block {
    pub(super) fn start(content: &Value, names: &mut Names) -> Self {
        let text = |field: &str| content[field].as_str().unwrap_or_default().to_owned();
        match content["type"].as_str().unwrap_or_default() {
            "text" => Self::Text { id: names.block(), text: String::new() },
            "thinking" => Self::Thinking { id: names.block(), told: false, text: String::new(), signature: text("signature") },
            "redacted_thinking" => Self::Redacted { id: names.block(), data: text("data") },
            "tool_use" => Self::Tool { id: names.call(&text("id")), name: text("name"), json: String::new() },
            _ => Self::Other { start: content.clone(), json: String::new() },
        }
    }

    /// A block of text begins with its first character: one that stays empty is never seen, and an overload before it can be
    /// retried.
    pub(super) fn delta(&mut self, delta: &Value, out: &mut Vec<ModelEvent>) {
        let piece = |field: &str| delta[field].as_str().filter(|text| !text.is_empty());
        match (self, delta["type"].as_str().unwrap_or_default()) {
            (Self::Text { id, text }, "text_delta") => {
                let Some(new) = piece("text") else { return };
                if text.is_empty() {
                    out.push(ModelEvent::TextStarted { block: id.clone() });
                }
                text.push_str(new);
                out.push(ModelEvent::TextDelta { block: id.clone(), text: new.to_owned() });
            }
            (Self::Thinking { id, told, text, .. }, "thinking_delta") => {
                let Some(new) = piece("thinking") else { return };
                if !std::mem::replace(told, true) {
                    out.push(ModelEvent::ReasoningStarted { block: id.clone() });
                }
                text.push_str(new);
                out.push(ModelEvent::ReasoningDelta { block: id.clone(), text: new.to_owned() });
            }
            (Self::Thinking { signature, .. }, "signature_delta") => signature.push_str(piece("signature").unwrap_or_default()),
            (Self::Tool { id, json, .. }, "input_json_delta") => {
                let Some(new) = piece("partial_json") else { return };
                json.push_str(new);
                out.push(ModelEvent::ToolInputDelta { call_id: id.clone(), json: new.to_owned() });
            }
            (Self::Other { json, .. }, "input_json_delta") => json.push_str(piece("partial_json").unwrap_or_default()),
            // `citations_delta`, and kinds that do not exist yet.
            _ => {}
        }
    }

    /// The block as the API would want it back; `None` if it would refuse it.
    pub(super) fn content(&self) -> Option<Value> {
        match self {
            Self::Text { text, .. } => (!text.is_empty()).then(|| json!({"type": "text", "text": text})),
            Self::Thinking { text, signature, .. } => Some(json!({"type": "thinking", "thinking": text, "signature": signature})),
            Self::Redacted { data, .. } => Some(json!({"type": "redacted_thinking", "data": data})),
            Self::Tool { id, name, json } => {
                let input = parse_arguments(json).unwrap_or_else(|| Value::String(json.clone()));
                Some(json!({"type": "tool_use", "id": id, "name": name, "input": arguments_object(&input)}))
            }
            Self::Other { start, json } => {
                let mut block = start.clone();
                if let Some(input) = parse_arguments(json).filter(|_| !json.is_empty()) {
                    block["input"] = input;
                }
                Some(block)
            }
        }
    }

    pub(super) fn finish(self, out: &mut Vec<ModelEvent>) {
        match self {
            Self::Text { id, text } => {
                if !text.is_empty() {
                    out.push(ModelEvent::TextFinished { block: id });
                }
            }
            Self::Thinking { id, told, signature, .. } => {
                if !told && signature.is_empty() {
                    return;
                }
                if !told {
                    out.push(ModelEvent::ReasoningStarted { block: id.clone() });
                }
                out.push(ModelEvent::ReasoningFinished { block: id, opaque: json!({"provider": "anthropic", "signature": signature}) });
            }
            Self::Redacted { id, data } => {
                out.push(ModelEvent::ReasoningStarted { block: id.clone() });
                out.push(ModelEvent::ReasoningFinished { block: id, opaque: json!({"provider": "anthropic", "data": data}) });
            }
            Self::Tool { id, json, .. } => {
                let input = parse_arguments(&json).unwrap_or(Value::String(json));
                out.push(ModelEvent::ToolReady { call_id: id, input });
            }
            Self::Other { .. } => {}
        }
    }
}
