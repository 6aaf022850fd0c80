//! Builds the events of an answer of the demo: splits text and arguments into small pieces, and counts the tokens.

use proto::agent_streaming::Usage;
use serde_json::Value;

use crate::model::provider::{AssistantBlock, FinishReason, ModelEvent, ModelMessage, ModelRequest, calls::IdGenerator};

/// The approximate size of a piece of text in bytes.
const TEXT_PIECE: usize = 16;
/// The approximate size of a piece of arguments in bytes.
const JSON_PIECE: usize = 40;
/// The demo has no tokenizer, so it counts bytes.
const BYTES_PER_TOKEN: usize = 4;

pub(super) struct AnswerBuilder {
    ids: IdGenerator,
    events: Vec<ModelEvent>,
    input_bytes: usize,
    output_bytes: usize,
    max_bytes: usize,
    /// The answer has reached its limit. Nothing more is added.
    cut: bool,
    calls: bool,
}

impl AnswerBuilder {
    pub(super) fn new(request: &ModelRequest) -> Self {
        Self {
            ids: IdGenerator::new(request),
            events: Vec::new(),
            input_bytes: size(request),
            output_bytes: 0,
            max_bytes: request.max_tokens as usize * BYTES_PER_TOKEN,
            cut: false,
            calls: false,
        }
    }

    /// Adds a block of text.
    pub(super) fn text(&mut self, text: &str) {
        if self.cut {
            return;
        }
        let block = self.ids.block();
        self.events.push(ModelEvent::TextStarted { block: block.clone() });
        for text in pieces(text, TEXT_PIECE, true) {
            if !self.count(text) {
                break;
            }
            self.events.push(ModelEvent::TextDelta { block: block.clone(), text: text.to_owned() });
        }
        self.events.push(ModelEvent::TextFinished { block });
    }

    /// Adds a tool call.
    pub(super) fn call(&mut self, tool: &str, input: Value) {
        if self.cut {
            return;
        }
        self.calls = true;
        let call_id = self.ids.call("");
        self.events.push(ModelEvent::ToolStarted { call_id: call_id.clone(), tool: tool.to_owned() });
        for json in pieces(&input.to_string(), JSON_PIECE, false) {
            if !self.count(json) {
                return;
            }
            self.events.push(ModelEvent::ToolInputDelta { call_id: call_id.clone(), json: json.to_owned() });
        }
        self.events.push(ModelEvent::ToolReady { call_id, input, opaque: Value::Null });
    }

    /// Counts a piece. Returns false if the limit is reached.
    fn count(&mut self, piece: &str) -> bool {
        self.cut |= self.output_bytes + piece.len() > self.max_bytes;
        if !self.cut {
            self.output_bytes += piece.len();
        }
        !self.cut
    }

    pub(super) fn finish(mut self) -> Vec<ModelEvent> {
        let tokens = |bytes: usize| u32::try_from(bytes.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u32::MAX);
        let usage = Usage { input_tokens: tokens(self.input_bytes), output_tokens: tokens(self.output_bytes), ..Usage::default() };
        self.events.push(ModelEvent::Usage(usage));
        self.events.push(ModelEvent::Finished(match (self.cut, self.calls) {
            (true, _) => FinishReason::Length,
            (false, true) => FinishReason::ToolCalls,
            (false, false) => FinishReason::Stop,
        }));
        self.events
    }
}

/// The size of a request in bytes.
fn size(request: &ModelRequest) -> usize {
    let tools = request.tools.iter().map(|tool| tool.name.len() + tool.description.len() + tool.input_schema.to_string().len());
    let messages = request.messages.iter().map(|message| match message {
        ModelMessage::User { text } => text.len(),
        ModelMessage::Assistant { blocks } => blocks
            .iter()
            .map(|block| match block {
                AssistantBlock::Text(text) | AssistantBlock::Reasoning { text, .. } => text.len(),
                AssistantBlock::ToolCall { tool, input, .. } => tool.len() + input.to_string().len(),
            })
            .sum(),
        ModelMessage::ToolResults(results) => results.iter().map(|result| result.content.len()).sum(),
    });
    request.system.len() + request.tree.len() + tools.sum::<usize>() + messages.sum::<usize>()
}

/// Splits text into pieces of about `size` bytes. With `words` it splits only between words.
fn pieces(text: &str, size: usize, words: bool) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > size {
        let mut end = rest.ceil_char_boundary(size);
        if words {
            end = rest[end..].find(' ').map_or(rest.len(), |space| end + space + 1);
        }
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}
