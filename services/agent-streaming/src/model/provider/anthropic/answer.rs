//! What a stream of the Messages API means. Pure: events of a response in, model events out.

mod block;

use std::collections::BTreeMap;

use proto::agent_streaming::Usage;
use serde_json::Value;

use self::block::Block;
use super::NAME;
use crate::model::provider::{
    FinishReason, ModelEvent, ModelRequest, ProviderError,
    answer::{self, Progress},
    calls::Names,
    end::Ends,
    http::malformed,
    sse::Event,
};

/// One answer, possibly over several responses.
pub(in crate::model::provider) struct Answer {
    names: Names,
    blocks: BTreeMap<u64, Block>,
    /// A call whose block ended, held until the next event shows that the answer was not cut there.
    held: Vec<ModelEvent>,
    usage: Counts,
    /// What the messages before this one used.
    spent: Counts,
    ends: Ends,
    message_id: String,
    content: Vec<Value>,
    output: bool,
    tools: bool,
    usage_told: bool,
}

impl Answer {
    pub(in crate::model::provider) fn new(request: &ModelRequest) -> Self {
        Self {
            names: Names::new(request),
            blocks: BTreeMap::new(),
            held: Vec::new(),
            usage: Counts::default(),
            spent: Counts::default(),
            ends: Ends::default(),
            message_id: String::new(),
            content: Vec::new(),
            output: false,
            tools: false,
            usage_told: true,
        }
    }

    /// The content blocks so far, as the API sent them.
    pub(super) fn take_content(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.content)
    }

    /// A message begins; some servers say so twice, or send a message in one piece.
    fn begin(&mut self, message: &Value, out: &mut Vec<ModelEvent>) -> Result<(), ProviderError> {
        let id = message["id"].as_str().unwrap_or_default();
        let same = !id.is_empty() && id == self.message_id;
        if same {
            self.count(&message["usage"]);
            return Ok(());
        }
        if !self.blocks.is_empty() {
            return Err(malformed(NAME, "another message before this one was whole"));
        }
        // What is whole was counted; the figures of another message come on top of it.
        if self.ends.any() {
            self.spent = self.spent.plus(&std::mem::take(&mut self.usage));
            // The end of that message is none of this one.
            self.ends.goes_on();
        }
        id.clone_into(&mut self.message_id);
        self.count(&message["usage"]);
        for (index, block) in (0..).zip(message["content"].as_array().into_iter().flatten()) {
            self.start(index, block, out);
            self.stop(index, out);
        }
        if let Some(word) = message["stop_reason"].as_str() {
            self.ends.say(word);
        }
        Ok(())
    }

    fn start(&mut self, index: u64, content: &Value, out: &mut Vec<ModelEvent>) {
        self.ends.goes_on();
        out.append(&mut self.held);
        let block = Block::start(content, &mut self.names, out);
        self.tools |= matches!(block, Block::Tool(_));
        self.blocks.insert(index, block);
        self.seen(out);
    }

    fn delta(&mut self, event: &Value, out: &mut Vec<ModelEvent>) -> Result<(), ProviderError> {
        let (index, delta) = (event["index"].as_u64().unwrap_or_default(), &event["delta"]);
        if !self.blocks.contains_key(&index) {
            if delta["type"] == "input_json_delta" {
                return Err(malformed(NAME, "arguments of a call that never began"));
            }
            self.blocks.extend(Block::of_delta(delta, &mut self.names).map(|block| (index, block)));
        }
        if let Some(block) = self.blocks.get_mut(&index) {
            let before = out.len();
            block.delta(delta, out);
            if out.len() > before {
                self.ends.goes_on();
            }
        }
        self.seen(out);
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
        self.seen(out);
    }

    fn stop_all(&mut self, out: &mut Vec<ModelEvent>) {
        let open: Vec<u64> = self.blocks.keys().copied().collect();
        for index in open {
            self.stop(index, out);
        }
    }

    /// Notes the first output; what was counted before it follows it at once.
    fn seen(&mut self, out: &mut Vec<ModelEvent>) {
        self.output |= !out.is_empty();
        if self.output && !self.usage_told {
            out.extend(self.total());
        }
    }

    /// What the answer has used so far.
    fn total(&mut self) -> Option<ModelEvent> {
        self.usage_told = true;
        let total = self.spent.plus(&self.usage);
        (total != Counts::default()).then(|| ModelEvent::Usage(total.usage()))
    }

    /// The message is over.
    fn finish(&mut self, out: &mut Vec<ModelEvent>) -> Result<Progress, ProviderError> {
        if self.ends.is_paused() && !self.tools {
            self.spent = self.spent.plus(&std::mem::take(&mut self.usage));
            self.stop_all(out);
            self.ends.clear();
            return Ok(Progress::Paused);
        }
        let finish = if self.ends.is_paused() { FinishReason::ToolCalls } else { self.ends.finish(NAME, self.tools)? };
        // It is told below.
        self.usage_told = true;
        self.stop_all(out);
        // A call that ends where the answer was cut may itself be cut, however whole it looks.
        let held = std::mem::take(&mut self.held);
        if finish == FinishReason::ToolCalls {
            out.extend(held);
        }
        out.extend(self.total());
        out.push(ModelEvent::Finished(finish));
        Ok(Progress::Whole)
    }

    fn count(&mut self, usage: &Value) {
        self.usage.replace(usage);
        self.usage_told = self.usage == Counts::default();
    }
}

impl answer::Answer for Answer {
    fn event(&mut self, event: &Event, out: &mut Vec<ModelEvent>) -> Result<Progress, ProviderError> {
        let Some(data) = answer::object(NAME, event)? else { return Ok(Progress::Open) };
        match data["type"].as_str().unwrap_or(&event.name) {
            "message_start" => self.begin(&data["message"], out)?,
            // From a server that does not stream.
            "message" => {
                self.begin(&data, out)?;
                return self.finish(out);
            }
            "content_block_start" => self.start(data["index"].as_u64().unwrap_or_default(), &data["content_block"], out),
            "content_block_delta" => self.delta(&data, out)?,
            "content_block_stop" => self.stop(data["index"].as_u64().unwrap_or_default(), out),
            "message_delta" => {
                self.count(&data["usage"]);
                if let Some(word) = data["delta"]["stop_reason"].as_str() {
                    if word == "refusal" {
                        tracing::info!(details = %data["delta"]["stop_details"], "the model declined");
                    }
                    self.ends.say(word);
                }
            }
            "message_stop" => return self.finish(out),
            // Kinds that do not exist yet.
            _ => {}
        }
        Ok(Progress::Open)
    }

    fn end_of_response(&mut self, out: &mut Vec<ModelEvent>) -> Result<Progress, ProviderError> {
        self.finish(out)
    }

    fn unreported_usage(&mut self) -> Option<ModelEvent> {
        (!self.usage_told).then(|| self.total()).flatten()
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

    /// `input_tokens` of this API leaves cached ones out; ours counts them in.
    fn usage(&self) -> Usage {
        let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Usage {
            input_tokens: small(self.input.saturating_add(self.cache_write).saturating_add(self.cache_read)),
            output_tokens: small(self.output),
            cached_input_tokens: small(self.cache_read),
            cache_write_input_tokens: small(self.cache_write),
            reasoning_tokens: small(self.thinking),
        }
    }
}

#[cfg(test)]
mod tests;
