//! What a stream of the Messages API means. Pure: data of one event in, model events out.

mod block;

use std::collections::BTreeMap;

use proto::agent_streaming::Usage;
use serde_json::Value;

use self::block::Block;
use super::NAME;
use crate::provider::{
    FinishReason, ModelEvent, ModelRequest, ProviderError,
    calls::Names,
    http::{Said, malformed},
};

/// Where an answer stands after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Open,
    /// The model wants its own words back to go on.
    Paused,
    Whole,
}

/// One answer, possibly over several responses.
pub(super) struct Answer {
    names: Names,
    blocks: BTreeMap<u64, Block>,
    /// A call whose block ended, held until the next event shows that the answer was not cut there.
    held: Vec<ModelEvent>,
    usage: Counts,
    /// What the responses before a pause used.
    spent: Counts,
    stop_reason: Option<String>,
    content: Vec<Value>,
    output: bool,
    tools: bool,
    usage_told: bool,
}

impl Answer {
    pub(super) fn new(request: &ModelRequest) -> Self {
        Self {
            names: Names::new(request),
            blocks: BTreeMap::new(),
            held: Vec::new(),
            usage: Counts::default(),
            spent: Counts::default(),
            stop_reason: None,
            content: Vec::new(),
            output: false,
            tools: false,
            usage_told: true,
        }
    }

    /// Whether anything was handed out that a viewer may have seen.
    pub(super) fn has_output(&self) -> bool {
        self.output
    }

    /// The content blocks so far, as the API sent them.
    pub(super) fn take_content(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.content)
    }

    pub(super) fn event(&mut self, data: &str, out: &mut Vec<ModelEvent>) -> Result<Progress, ProviderError> {
        let event: Value = serde_json::from_str(data).map_err(|_| malformed(NAME, "an event that is not JSON"))?;
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => self.count(&event["message"]["usage"]),
            "content_block_start" => self.start(&event, out),
            "content_block_delta" => self.delta(&event, out),
            "content_block_stop" => self.stop(event["index"].as_u64().unwrap_or_default(), out),
            "message_delta" => {
                self.count(&event["usage"]);
                if let Some(reason) = event["delta"]["stop_reason"].as_str() {
                    if reason == "refusal" {
                        tracing::info!(details = %event["delta"]["stop_details"], "the model declined");
                    }
                    self.stop_reason = Some(reason.to_owned());
                }
            }
            "message_stop" => return Ok(self.end(out)),
            "error" => return Err(Said::of(&event).into_error(NAME)),
            // `ping`, and kinds that do not exist yet.
            _ => {}
        }
        Ok(Progress::Open)
    }

    fn start(&mut self, event: &Value, out: &mut Vec<ModelEvent>) {
        out.append(&mut self.held);
        let block = Block::start(&event["content_block"], &mut self.names);
        if let Block::Tool { id, name, .. } = &block {
            self.tools = true;
            out.push(ModelEvent::ToolStarted { call_id: id.clone(), tool: name.clone() });
        }
        self.blocks.insert(event["index"].as_u64().unwrap_or_default(), block);
        self.seen(out);
    }

    fn delta(&mut self, event: &Value, out: &mut Vec<ModelEvent>) {
        if let Some(block) = self.blocks.get_mut(&event["index"].as_u64().unwrap_or_default()) {
            block.delta(&event["delta"], out);
        }
        self.seen(out);
    }

    fn stop(&mut self, index: u64, out: &mut Vec<ModelEvent>) {
        let Some(block) = self.blocks.remove(&index) else { return };
        self.content.extend(block.content());
        if matches!(block, Block::Tool { .. }) {
            block.finish(&mut self.held);
        } else {
            block.finish(out);
        }
        self.seen(out);
    }

    /// Notes the first output; what was counted before it follows it at once.
    fn seen(&mut self, out: &mut Vec<ModelEvent>) {
        self.output |= !out.is_empty();
        if self.output && !self.usage_told {
            self.usage_told = true;
            out.push(ModelEvent::Usage(self.spent.plus(&self.usage).usage()));
        }
    }

    fn end(&mut self, out: &mut Vec<ModelEvent>) -> Progress {
        let reason = match self.stop_reason.take().as_deref() {
            Some("max_tokens" | "model_context_window_exceeded") => FinishReason::Length,
            Some("refusal") => FinishReason::ContentFilter,
            _ if self.tools => FinishReason::ToolCalls,
            Some("pause_turn") => {
                self.spent = self.spent.plus(&std::mem::take(&mut self.usage));
                self.blocks.clear();
                return Progress::Paused;
            }
            _ => FinishReason::Stop,
        };
        // It is told below.
        self.usage_told = true;
        let open: Vec<u64> = self.blocks.keys().copied().collect();
        for index in open {
            self.stop(index, out);
        }
        // A call that ends where the answer was cut may itself be cut, however whole it looks.
        let held = std::mem::take(&mut self.held);
        if reason != FinishReason::Length {
            out.extend(held);
        }
        let total = self.spent.plus(&self.usage);
        if total != Counts::default() {
            out.push(ModelEvent::Usage(total.usage()));
        }
        out.push(ModelEvent::Finished(reason));
        Progress::Whole
    }

    fn count(&mut self, usage: &Value) {
        self.usage.replace(usage);
        self.usage_told = self.usage == Counts::default();
    }
}

/// The provider's numbers. Every report is cumulative: it replaces, field by field, where it names one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Counts {
    input: u64,
    cache_write: u64,
    cache_read: u64,
    output: u64,
    thinking: u64,
}

impl Counts {
    fn replace(&mut self, usage: &Value) {
        let ttl = |name: &str| usage["cache_creation"][name].as_u64();
        let by_ttl = [ttl("ephemeral_5m_input_tokens"), ttl("ephemeral_1h_input_tokens")];
        let by_ttl = by_ttl.iter().any(Option::is_some).then(|| by_ttl.into_iter().flatten().sum());
        for (field, now) in [
            (&mut self.input, usage["input_tokens"].as_u64()),
            (&mut self.cache_write, usage["cache_creation_input_tokens"].as_u64().or(by_ttl)),
            (&mut self.cache_read, usage["cache_read_input_tokens"].as_u64()),
            (&mut self.output, usage["output_tokens"].as_u64()),
            (&mut self.thinking, usage["output_tokens_details"]["thinking_tokens"].as_u64()),
        ] {
            *field = now.unwrap_or(*field);
        }
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            input: self.input + other.input,
            cache_write: self.cache_write + other.cache_write,
            cache_read: self.cache_read + other.cache_read,
            output: self.output + other.output,
            thinking: self.thinking + other.thinking,
        }
    }

    /// `input_tokens` of this API leaves cached ones out; ours counts them in.
    fn usage(&self) -> Usage {
        let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Usage {
            input_tokens: small(self.input + self.cache_write + self.cache_read),
            output_tokens: small(self.output),
            cached_input_tokens: small(self.cache_read),
            cache_write_input_tokens: small(self.cache_write),
            reasoning_tokens: small(self.thinking),
        }
    }
}

#[cfg(test)]
mod tests;
