//! Decodes the event stream of the Messages API.

mod block;

use std::collections::BTreeMap;

use proto::agent_streaming::Usage;
use serde_json::Value;

use self::block::Block;
use super::NAME;
use crate::model::provider::{
    FinishReason, ModelEvent, ModelRequest, ProviderError,
    answer::{self, Progress},
    calls::IdGenerator,
    finish::FinishTracker,
    http::malformed,
    sse::Event,
};

/// One answer, possibly over several responses.
pub(in crate::model::provider) struct Answer {
    ids: IdGenerator,
    /// The open blocks by index.
    blocks: BTreeMap<u64, Block>,
    /// The events of the last call, held back until the next event shows that the answer was not cut at this call.
    held: Vec<ModelEvent>,
    usage: Counts,
    /// The usage of the earlier messages of this answer.
    earlier_usage: Counts,
    finish: FinishTracker,
    message_id: String,
    /// The finished blocks, as the API sent them.
    content: Vec<Value>,
    output: bool,
    tools: bool,
    usage_reported: bool,
}

impl Answer {
    pub(in crate::model::provider) fn new(request: &ModelRequest) -> Self {
        Self {
            ids: IdGenerator::new(request),
            blocks: BTreeMap::new(),
            held: Vec::new(),
            usage: Counts::default(),
            earlier_usage: Counts::default(),
            finish: FinishTracker::default(),
            message_id: String::new(),
            content: Vec::new(),
            output: false,
            tools: false,
            usage_reported: true,
        }
    }

    /// Takes the content blocks so far, as the API sent them.
    pub(super) fn take_content(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.content)
    }

    /// Handles the start of a message. Some servers send it twice, or send the complete message in it.
    fn begin(&mut self, message: &Value, out: &mut Vec<ModelEvent>) -> Result<(), ProviderError> {
        let id = message["id"].as_str().unwrap_or_default();
        let same = !id.is_empty() && id == self.message_id;
        if same {
            self.count(&message["usage"]);
            return Ok(());
        }
        if !self.blocks.is_empty() {
            return Err(malformed(NAME, "another message before this one was complete"));
        }
        // The usage of another message is added to that of the complete one.
        if self.finish.is_set() {
            self.earlier_usage = self.earlier_usage.plus(&std::mem::take(&mut self.usage));
            // The finish reason of the previous message does not count for this one.
            self.finish.content_follows();
        }
        id.clone_into(&mut self.message_id);
        self.count(&message["usage"]);
        for (index, block) in (0..).zip(message["content"].as_array().into_iter().flatten()) {
            self.start(index, block, out);
            self.stop(index, out);
        }
        if let Some(reason) = message["stop_reason"].as_str() {
            self.finish.record(reason);
        }
        Ok(())
    }

    fn start(&mut self, index: u64, content: &Value, out: &mut Vec<ModelEvent>) {
        self.finish.content_follows();
        out.append(&mut self.held);
        let block = Block::start(content, &mut self.ids, out);
        self.tools |= matches!(block, Block::Tool(_));
        self.blocks.insert(index, block);
        self.report_after_output(out);
    }

    fn delta(&mut self, event: &Value, out: &mut Vec<ModelEvent>) -> Result<(), ProviderError> {
        let (index, delta) = (event["index"].as_u64().unwrap_or_default(), &event["delta"]);
        if !self.blocks.contains_key(&index) {
            if delta["type"] == "input_json_delta" {
                return Err(malformed(NAME, "arguments of a call that was not started"));
            }
            self.blocks.extend(Block::of_delta(delta, &mut self.ids).map(|block| (index, block)));
        }
        if let Some(block) = self.blocks.get_mut(&index) {
            let before = out.len();
            block.delta(delta, out);
            if out.len() > before {
                self.finish.content_follows();
            }
        }
        self.report_after_output(out);
        Ok(())
    }

    fn stop(&mut self, index: u64, out: &mut Vec<ModelEvent>) {
        let Some(block) = self.blocks.remove(&index) else { return };
        self.content.extend(block.content());
        if matches!(block, Block::Tool(_)) {
            block.finish(&mut self.held);
        } else {
            block.finish(out);
        }
        self.report_after_output(out);
    }

    fn stop_all(&mut self, out: &mut Vec<ModelEvent>) {
        let open: Vec<u64> = self.blocks.keys().copied().collect();
        for index in open {
            self.stop(index, out);
        }
    }

    /// Reports the usage as soon as there is output.
    fn report_after_output(&mut self, out: &mut Vec<ModelEvent>) {
        self.output |= !out.is_empty();
        if self.output && !self.usage_reported {
            out.extend(self.total());
        }
    }

    /// The usage of the answer so far.
    fn total(&mut self) -> Option<ModelEvent> {
        self.usage_reported = true;
        let total = self.earlier_usage.plus(&self.usage);
        (total != Counts::default()).then(|| ModelEvent::Usage(total.usage()))
    }

    /// Handles the end of the message.
    fn finish(&mut self, out: &mut Vec<ModelEvent>) -> Result<Progress, ProviderError> {
        if self.finish.is_paused() && !self.tools {
            self.earlier_usage = self.earlier_usage.plus(&std::mem::take(&mut self.usage));
            self.stop_all(out);
            self.finish.clear();
            return Ok(Progress::Paused);
        }
        let finish = if self.finish.is_paused() { FinishReason::ToolCalls } else { self.finish.finish(NAME, self.tools)? };
        // The usage is reported below.
        self.usage_reported = true;
        self.stop_all(out);
        // If the answer was cut, its last call may be cut too, even if it looks complete.
        let held = std::mem::take(&mut self.held);
        if finish == FinishReason::ToolCalls {
            out.extend(held);
        }
        out.extend(self.total());
        out.push(ModelEvent::Finished(finish));
        Ok(Progress::Complete)
    }

    fn count(&mut self, usage: &Value) {
        self.usage.replace(usage);
        self.usage_reported = self.usage == Counts::default();
    }
}

impl answer::Answer for Answer {
    fn event(&mut self, event: &Event, out: &mut Vec<ModelEvent>) -> Result<Progress, ProviderError> {
        let Some(data) = answer::object(NAME, event)? else { return Ok(Progress::Open) };
        match data["type"].as_str().unwrap_or(&event.name) {
            "message_start" => self.begin(&data["message"], out)?,
            // A server that does not stream sends the complete message.
            "message" => {
                self.begin(&data, out)?;
                return self.finish(out);
            }
            "content_block_start" => self.start(data["index"].as_u64().unwrap_or_default(), &data["content_block"], out),
            "content_block_delta" => self.delta(&data, out)?,
            "content_block_stop" => self.stop(data["index"].as_u64().unwrap_or_default(), out),
            "message_delta" => {
                self.count(&data["usage"]);
                if let Some(reason) = data["delta"]["stop_reason"].as_str() {
                    if reason == "refusal" {
                        tracing::info!(details = %data["delta"]["stop_details"], "the model declined to answer");
                    }
                    self.finish.record(reason);
                }
            }
            "message_stop" => return self.finish(out),
            // Unknown events are ignored.
            _ => {}
        }
        Ok(Progress::Open)
    }

    fn end_of_response(&mut self, out: &mut Vec<ModelEvent>) -> Result<Progress, ProviderError> {
        self.finish(out)
    }

    fn unreported_usage(&mut self) -> Option<ModelEvent> {
        (!self.usage_reported).then(|| self.total()).flatten()
    }
}

/// The usage as the provider reports it. Reports are cumulative: each field of a report replaces the previous value.
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
        let by_ttl = by_ttl.iter().any(Option::is_some).then(|| by_ttl.into_iter().flatten().fold(0, u64::saturating_add));
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
            input: self.input.saturating_add(other.input),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            output: self.output.saturating_add(other.output),
            thinking: self.thinking.saturating_add(other.thinking),
        }
    }

    /// Converts the counts. `input_tokens` of this API excludes cached tokens; ours includes them.
    fn usage(&self) -> Usage {
        let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Usage {
            input_tokens: small(self.input.saturating_add(self.cache_write).saturating_add(self.cache_read)),
            output_tokens: small(self.output),
            cached_input_tokens: small(self.cache_read),
            cache_write_input_tokens: small(self.cache_write),
            reasoning_tokens: small(self.thinking),
            ..Usage::default()
        }
    }
}

#[cfg(test)]
mod tests;
