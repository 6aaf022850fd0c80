//! Decodes the stream of chat completion chunks.

mod call;

use proto::agent_streaming::Usage;
use serde_json::{Value, json};

use self::call::Calls;
use super::{
    NAME,
    content::{Piece, TagSplitter, pieces},
    opaque::{self, OpaqueFields},
    usage,
};
use crate::model::provider::{
    FinishReason, ModelEvent, ModelRequest, ProviderError,
    answer::{self, Progress, text},
    calls::IdGenerator,
    error_body::ErrorBody,
    finish::FinishTracker,
    sse::Event,
};

/// One answer.
pub(in crate::model::provider) struct Answer {
    ids: IdGenerator,
    open: Option<OpenBlock>,
    splitter: TagSplitter,
    calls: Calls,
    opaque: OpaqueFields,
    /// The last usage. Some servers send it with every chunk.
    usage: Option<Usage>,
    finish: FinishTracker,
    refused: bool,
    /// There was text, reasoning or a call.
    any: bool,
}

/// The block that deltas belong to.
enum OpenBlock {
    Text { id: String },
    Reasoning { id: String, field: &'static str },
}

impl Answer {
    pub(in crate::model::provider) fn new(request: &ModelRequest) -> Self {
        Self {
            ids: IdGenerator::new(request),
            open: None,
            splitter: TagSplitter::default(),
            calls: Calls::new(request.tools.iter().map(|tool| tool.name).collect()),
            opaque: OpaqueFields::default(),
            usage: None,
            finish: FinishTracker::default(),
            refused: false,
            any: false,
        }
    }

    fn choice(&mut self, choice: &Value, out: &mut Vec<ModelEvent>) {
        let mut has_content = self.delta(&choice["delta"], out);
        // A server that does not stream sends the complete message. A server that streams may repeat the message at the end.
        if !has_content && !self.any {
            has_content = self.delta(&choice["message"], out);
        }
        if has_content {
            self.any = true;
            self.finish.content_follows();
        }
        // The finish reason of a chunk counts after its content.
        if let Some(reason) = choice["finish_reason"].as_str() {
            self.finish.record(reason);
        }
    }

    /// Decodes a delta. Returns whether it has content.
    fn delta(&mut self, delta: &Value, out: &mut Vec<ModelEvent>) -> bool {
        self.opaque.delta(delta);
        // Some servers send the same reasoning in both text fields. The text in a list is only shown; the list itself is sent back.
        let field = opaque::TEXT_FIELDS.into_iter().find(|field| text(delta, field).is_some());
        let reasoning = field.map_or_else(|| opaque::reasoning_text(delta), |field| text(delta, field).unwrap_or_default().to_owned());
        self.reasoning(field.unwrap_or_default(), &reasoning, out);
        let refusal = text(delta, "refusal").map(|refusal| Piece::Refusal(refusal.to_owned()));
        let pieces: Vec<Piece> = pieces(&delta["content"]).into_iter().chain(refusal).filter(|piece| !piece.text().is_empty()).collect();
        let mut has_content = !reasoning.is_empty() || !pieces.is_empty();
        for piece in pieces {
            match piece {
                Piece::Text(text) => self.splitter.push(&text).into_iter().for_each(|piece| self.piece(piece, out)),
                other => self.piece(other, out),
            }
        }
        let fragments = delta["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
        let legacy = delta.get("function_call").filter(|call| call.is_object()).map(|call| json!({"index": 0, "function": call}));
        for fragment in fragments.iter().chain(&legacy) {
            self.close(out);
            has_content |= self.calls.fragment(fragment, &mut self.ids, out);
        }
        has_content
    }

    fn piece(&mut self, piece: Piece, out: &mut Vec<ModelEvent>) {
        match piece {
            Piece::Text(text) => self.text(&text, out),
            Piece::Reasoning(field, text) => self.reasoning(field, &text, out),
            Piece::Refusal(text) => {
                self.refused = true;
                self.text(&text, out);
            }
        }
    }

    fn text(&mut self, text: &str, out: &mut Vec<ModelEvent>) {
        if text.is_empty() {
            return;
        }
        let block = match &self.open {
            Some(OpenBlock::Text { id }) => id.clone(),
            _ => {
                self.close_block(out);
                let id = self.ids.block();
                out.push(ModelEvent::TextStarted { block: id.clone() });
                self.open = Some(OpenBlock::Text { id: id.clone() });
                id
            }
        };
        out.push(ModelEvent::TextDelta { block, text: text.to_owned() });
    }

    /// `field` is the field in which the reasoning is sent back. It is empty if the reasoning is in a list that is sent back.
    fn reasoning(&mut self, field: &'static str, text: &str, out: &mut Vec<ModelEvent>) {
        if text.is_empty() {
            return;
        }
        let block = match &self.open {
            Some(OpenBlock::Reasoning { id, field: open }) if *open == field => id.clone(),
            _ => {
                self.close_block(out);
                let id = self.ids.block();
                out.push(ModelEvent::ReasoningStarted { block: id.clone() });
                self.open = Some(OpenBlock::Reasoning { id: id.clone(), field });
                id
            }
        };
        out.push(ModelEvent::ReasoningDelta { block, text: text.to_owned() });
    }

    /// Closes the open text or reasoning, before a call or at the end.
    fn close(&mut self, out: &mut Vec<ModelEvent>) {
        if let Some(piece) = self.splitter.finish() {
            self.piece(piece, out);
        }
        self.close_block(out);
    }

    fn close_block(&mut self, out: &mut Vec<ModelEvent>) {
        out.extend(self.open.take().map(|open| match open {
            OpenBlock::Text { id } => ModelEvent::TextFinished { block: id },
            OpenBlock::Reasoning { id, field } => {
                let mut opaque = json!({"provider": NAME});
                if !field.is_empty() {
                    opaque["field"] = field.into();
                }
                ModelEvent::ReasoningFinished { block: id, opaque }
            }
        }));
    }

    /// Handles the end of the response.
    fn finish(&mut self, out: &mut Vec<ModelEvent>) -> Result<Progress, ProviderError> {
        let finish = self.finish.finish(NAME, self.calls.any())?;
        self.close(out);
        let finish = if finish == FinishReason::Stop && self.refused { FinishReason::ContentFilter } else { finish };
        self.calls.ready(finish == FinishReason::ToolCalls, self.opaque.take(), out)?;
        out.extend(self.usage.take().map(ModelEvent::Usage));
        out.push(ModelEvent::Finished(finish));
        Ok(Progress::Complete)
    }
}

impl answer::Answer for Answer {
    fn event(&mut self, event: &Event, out: &mut Vec<ModelEvent>) -> Result<Progress, ProviderError> {
        if event.data.trim() == "[DONE]" {
            return self.finish(out);
        }
        let Some(chunk) = answer::object(NAME, event)? else { return Ok(Progress::Open) };
        if let Some(usage) = usage::find(&chunk) {
            self.usage = Some(usage);
        }
        // The list is empty in the first chunk of Azure and in the chunk with the usage. Only the first choice was requested.
        let choices = chunk["choices"].as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(choice) = choices.iter().find(|choice| choice["index"].as_u64().unwrap_or_default() == 0) {
            if let Some(error) = ErrorBody::find(choice) {
                return Err(error.into_error(NAME));
            }
            self.choice(choice, out);
        }
        Ok(Progress::Open)
    }

    fn end_of_response(&mut self, out: &mut Vec<ModelEvent>) -> Result<Progress, ProviderError> {
        self.finish(out)
    }

    fn unreported_usage(&mut self) -> Option<ModelEvent> {
        self.usage.take().map(ModelEvent::Usage)
    }
}

#[cfg(test)]
mod tests;
