//! What a stream of chat completion chunks means. Pure: data of one event in, model events out.

mod call;

use proto::agent_streaming::Usage;
use serde_json::{Value, json};

use self::call::Calls;
use super::NAME;
use crate::provider::{
    FinishReason, ModelEvent, ModelRequest, ProviderError,
    calls::Names,
    http::{Said, malformed},
};

/// One answer.
pub(super) struct Answer {
    names: Names,
    open: Option<Open>,
    calls: Calls,
    /// The last one counts: some backends put it on every chunk.
    usage: Option<Usage>,
    reason: Option<FinishReason>,
    refused: bool,
    output: bool,
}

/// The block that deltas go to.
enum Open {
    Text { id: String },
    Reasoning { id: String, field: Option<&'static str>, details: Vec<Value> },
}

impl Answer {
    pub(super) fn new(request: &ModelRequest) -> Self {
        Self { names: Names::new(request), open: None, calls: Calls::default(), usage: None, reason: None, refused: false, output: false }
    }

    /// Whether anything was handed out that a viewer may have seen.
    pub(super) fn has_output(&self) -> bool {
        self.output
    }

    /// Whether the model has said that it is done; `[DONE]` and usage may still follow, or be missing.
    pub(super) fn is_finished(&self) -> bool {
        self.reason.is_some()
    }

    /// Takes one event; true at the end of the answer.
    pub(super) fn event(&mut self, data: &str, out: &mut Vec<ModelEvent>) -> Result<bool, ProviderError> {
        if data.trim() == "[DONE]" {
            if !self.is_finished() {
                return Err(super::super::http::cut(NAME));
            }
            return self.end(out).map(|()| true);
        }
        let chunk: Value = serde_json::from_str(data).map_err(|_| malformed(NAME, "an event that is not JSON"))?;
        if chunk.get("error").is_some_and(|e| !e.is_null()) || chunk["object"] == "error" {
            return Err(Said::of(&chunk).into_error(NAME));
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
            self.usage = Some(read_usage(usage));
        }
        // Empty in the first chunk of Azure and in the one that carries usage. Others than the first were not asked for.
        if let Some(choice) = chunk["choices"].as_array().and_then(|all| all.iter().find(|c| c["index"].as_u64().unwrap_or_default() == 0))
        {
            self.choice(choice, out)?;
        }
        self.output |= !out.is_empty();
        Ok(false)
    }

    fn choice(&mut self, choice: &Value, out: &mut Vec<ModelEvent>) -> Result<(), ProviderError> {
        let delta = &choice["delta"];
        let text = |field: &str| delta[field].as_str().filter(|text| !text.is_empty());
        // Some send the same words under both names.
        let reasoning = ["reasoning_content", "reasoning"].into_iter().find_map(|field| Some((field, text(field)?)));
        self.reasoning(reasoning, delta["reasoning_details"].as_array(), out);
        self.text(text("content"), out);
        if let Some(refusal) = text("refusal") {
            self.refused = true;
            self.text(Some(refusal), out);
        }
        let fragments = delta["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
        let legacy = delta.get("function_call").filter(|call| call.is_object()).map(|call| json!({"index": 0, "function": call}));
        for fragment in fragments.iter().chain(&legacy) {
            self.close(out);
            self.calls.fragment(fragment, &mut self.names, out);
        }
        match choice["finish_reason"].as_str() {
            None | Some("") => {}
            Some("error") => return Err(malformed(NAME, "finish_reason error")),
            Some(reason) => {
                self.reason.get_or_insert(match reason {
                    "length" => FinishReason::Length,
                    "content_filter" => FinishReason::ContentFilter,
                    "tool_calls" | "function_call" => FinishReason::ToolCalls,
                    _ => FinishReason::Stop,
                });
            }
        }
        Ok(())
    }

    fn text(&mut self, text: Option<&str>, out: &mut Vec<ModelEvent>) {
        let Some(text) = text else { return };
        let block = match &self.open {
            Some(Open::Text { id }) => id.clone(),
            _ => {
                self.close(out);
                let id = self.names.block();
                out.push(ModelEvent::TextStarted { block: id.clone() });
                self.open = Some(Open::Text { id: id.clone() });
                id
            }
        };
        out.push(ModelEvent::TextDelta { block, text: text.to_owned() });
    }

    fn reasoning(&mut self, text: Option<(&'static str, &str)>, more: Option<&Vec<Value>>, out: &mut Vec<ModelEvent>) {
        let more = more.map(Vec::as_slice).unwrap_or_default();
        if text.is_none() && more.is_empty() {
            return;
        }
        if !matches!(self.open, Some(Open::Reasoning { .. })) {
            self.close(out);
            let id = self.names.block();
            out.push(ModelEvent::ReasoningStarted { block: id.clone() });
            self.open = Some(Open::Reasoning { id, field: None, details: Vec::new() });
        }
        if let Some(Open::Reasoning { id, field, details }) = &mut self.open {
            details.extend_from_slice(more);
            if let Some((name, text)) = text {
                *field = Some(name);
                out.push(ModelEvent::ReasoningDelta { block: id.clone(), text: text.to_owned() });
            }
        }
    }

    fn close(&mut self, out: &mut Vec<ModelEvent>) {
        match self.open.take() {
            None => {}
            Some(Open::Text { id }) => out.push(ModelEvent::TextFinished { block: id }),
            Some(Open::Reasoning { id, field, details }) => {
                let mut opaque = json!({"provider": NAME});
                if let Some(field) = field {
                    opaque["field"] = field.into();
                }
                if !details.is_empty() {
                    opaque["details"] = details.into();
                }
                out.push(ModelEvent::ReasoningFinished { block: id, opaque });
            }
        }
    }

    /// The stream is over after a finish reason.
    pub(super) fn end(&mut self, out: &mut Vec<ModelEvent>) -> Result<(), ProviderError> {
        self.close(out);
        let reason = match self.reason.unwrap_or(FinishReason::Stop) {
            // Gemini's compatibility layer, Ollama and vLLM say `stop` after calls; some say `tool_calls` without any.
            FinishReason::Stop | FinishReason::ToolCalls if self.calls.any() => FinishReason::ToolCalls,
            FinishReason::Stop | FinishReason::ToolCalls if self.refused => FinishReason::ContentFilter,
            FinishReason::Stop | FinishReason::ToolCalls => FinishReason::Stop,
            cut @ (FinishReason::Length | FinishReason::ContentFilter) => cut,
        };
        self.calls.ready(reason == FinishReason::ToolCalls, out)?;
        out.extend(self.usage.take().map(ModelEvent::Usage));
        out.push(ModelEvent::Finished(reason));
        self.output = true;
        Ok(())
    }
}

fn read_usage(usage: &Value) -> Usage {
    let count = |path: &str| usage.pointer(path).and_then(Value::as_u64).map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX));
    Usage {
        input_tokens: count("/prompt_tokens"),
        output_tokens: count("/completion_tokens"),
        cached_input_tokens: count("/prompt_tokens_details/cached_tokens"),
        cache_write_input_tokens: count("/prompt_tokens_details/cache_write_tokens"),
        reasoning_tokens: count("/completion_tokens_details/reasoning_tokens"),
    }
}

#[cfg(test)]
mod tests;
