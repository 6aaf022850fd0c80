//! The demo's voice: words and calls become events in small pieces, counted as they go out.

use proto::agent_streaming::Usage;
use serde_json::Value;

use crate::model::provider::{AssistantBlock, FinishReason, ModelEvent, ModelMessage, ModelRequest, calls::Names};

/// Bytes of a piece of text, about.
const TEXT_PIECE: usize = 16;
/// Bytes of a piece of arguments.
const JSON_PIECE: usize = 40;
/// The demo has no tokenizer.
const BYTES_PER_TOKEN: usize = 4;

pub(super) struct Script {
    names: Names,
    events: Vec<ModelEvent>,
    input_bytes: usize,
    output_bytes: usize,
    max_bytes: usize,
    /// The answer reached its limit: nothing more goes out.
    cut: bool,
    calls: bool,
}

impl Script {
    pub(super) fn new(request: &ModelRequest) -> Self {
        Self {
            names: Names::new(request),
            events: Vec::new(),
            input_bytes: size(request),
            output_bytes: 0,
            max_bytes: request.max_tokens as usize * BYTES_PER_TOKEN,
            cut: false,
            calls: false,
        }
    }

    /// One block of text.
    pub(super) fn say(&mut self, text: &str) {
        if self.cut {
            return;
        }
        let block = self.names.block();
        self.events.push(ModelEvent::TextStarted { block: block.clone() });
        for text in pieces(text, TEXT_PIECE, true) {
            if !self.spend(text) {
                break;
            }
            self.events.push(ModelEvent::TextDelta { block: block.clone(), text: text.to_owned() });
        }
        self.events.push(ModelEvent::TextFinished { block });
    }

    /// One call.
    pub(super) fn call(&mut self, tool: &str, input: Value) {
        if self.cut {
            return;
        }
        self.calls = true;
        let call_id = self.names.call("");
        self.events.push(ModelEvent::ToolStarted { call_id: call_id.clone(), tool: tool.to_owned() });
        for json in pieces(&input.to_string(), JSON_PIECE, false) {
            if !self.spend(json) {
                return;
            }
            self.events.push(ModelEvent::ToolInputDelta { call_id: call_id.clone(), json: json.to_owned() });
        }
        self.events.push(ModelEvent::ToolReady { call_id, input, opaque: Value::Null });
    }

    fn spend(&mut self, piece: &str) -> bool {
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

/// Everything that the demo was given to read.
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
    request.system.len() + tools.sum::<usize>() + messages.sum::<usize>()
}

/// Cuts text into pieces of about `size` bytes; whole words stay whole.
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
