//! What a stream of chat completion chunks means. Pure: events of a response in, model events out.

mod call;

use proto::agent_streaming::Usage;
use serde_json::{Value, json};

use self::call::Calls;
use super::{
    NAME,
    content::{Piece, Tagged, pieces},
    seal::{self, Seal},
    usage,
};
use crate::model::provider::{
    FinishReason, ModelEvent, ModelRequest, ProviderError,
    answer::{self, Progress, text},
    calls::Names,
    end::Ends,
    error_body::ErrorBody,
    sse::Event,
};

/// One answer.
pub(in crate::model::provider) struct Answer {
    names: Names,
    open: Option<Open>,
    tagged: Tagged,
    calls: Calls,
    seal: Seal,
    /// The last one counts: some backends put it on every chunk.
    usage: Option<Usage>,
    ends: Ends,
    refused: bool,
    /// Text, reasoning or calls have come.
    any: bool,
}

/// The block that deltas go to.
enum Open {
    Text { id: String },
    Reasoning { id: String, field: &'static str },
}

impl Answer {
    pub(in crate::model::provider) fn new(request: &ModelRequest) -> Self {
        Self {
            names: Names::new(request),
            open: None,
            tagged: Tagged::default(),
            calls: Calls::new(request.tools.iter().map(|tool| tool.name).collect()),
            seal: Seal::default(),
            usage: None,
            ends: Ends::default(),
            refused: false,
            any: false,
        }
    }

    fn choice(&mut self, choice: &Value, out: &mut Vec<ModelEvent>) {
        let mut came = self.delta(&choice["delta"], out);
        // A server that does not stream sends the message whole; one that does may repeat it at the end.
        if !came && !self.any {
            came = self.delta(&choice["message"], out);
        }
        if came {
            self.any = true;
            self.ends.goes_on();
        }
        // The end in the same chunk comes after what the chunk brings.
        if let Some(word) = choice["finish_reason"].as_str() {
            self.ends.say(word);
        }
    }

    /// Whether the delta brought more of the answer.
    fn delta(&mut self, delta: &Value, out: &mut Vec<ModelEvent>) -> bool {
        self.seal.delta(delta);
        // Some send the same words under both names. Those of a list are for people here; the list itself goes back.
        let field = seal::TEXT_FIELDS.into_iter().find(|field| text(delta, field).is_some());
        let reasoning = field.map_or_else(|| seal::readable(delta), |field| text(delta, field).unwrap_or_default().to_owned());
        self.reasoning(field.unwrap_or_default(), &reasoning, out);
        let refusal = text(delta, "refusal").map(|refusal| Piece::Refusal(refusal.to_owned()));
        let pieces: Vec<Piece> = pieces(&delta["content"]).into_iter().chain(refusal).filter(|piece| !piece.text().is_empty()).collect();
        let mut came = !reasoning.is_empty() || !pieces.is_empty();
        for piece in pieces {
            match piece {
                Piece::Text(text) => self.tagged.push(&text).into_iter().for_each(|piece| self.piece(piece, out)),
                other => self.piece(other, out),
            }
        }
        let fragments = delta["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
        let legacy = delta.get("function_call").filter(|call| call.is_object()).map(|call| json!({"index": 0, "function": call}));
        for fragment in fragments.iter().chain(&legacy) {
            self.close(out);
            came |= self.calls.fragment(fragment, &mut self.names, out);
        }
        came
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
            Some(Open::Text { id }) => id.clone(),
            _ => {
                self.close_block(out);
                let id = self.names.block();
                out.push(ModelEvent::TextStarted { block: id.clone() });
                self.open = Some(Open::Text { id: id.clone() });
                id
            }
        };
        out.push(ModelEvent::TextDelta { block, text: text.to_owned() });
    }

    /// `field` is what the reasoning goes back in; empty if it goes back otherwise.
    fn reasoning(&mut self, field: &'static str, text: &str, out: &mut Vec<ModelEvent>) {
        if text.is_empty() {
            return;
        }
        let block = match &self.open {
            Some(Open::Reasoning { id, field: open }) if *open == field => id.clone(),
            _ => {
                self.close_block(out);
                let id = self.names.block();
                out.push(ModelEvent::ReasoningStarted { block: id.clone() });
                self.open = Some(Open::Reasoning { id: id.clone(), field });
                id
            }
        };
        out.push(ModelEvent::ReasoningDelta { block, text: text.to_owned() });
    }

    /// Closes the text or reasoning before a call, or at the end.
    fn close(&mut self, out: &mut Vec<ModelEvent>) {
        if let Some(piece) = self.tagged.finish() {
            self.piece(piece, out);
        }
        self.close_block(out);
    }

    fn close_block(&mut self, out: &mut Vec<ModelEvent>) {
        out.extend(self.open.take().map(|open| match open {
            Open::Text { id } => ModelEvent::TextFinished { block: id },
            Open::Reasoning { id, field } => {
                let mut opaque = json!({"provider": NAME});
                if !field.is_empty() {
                    opaque["field"] = field.into();
                }
                ModelEvent::ReasoningFinished { block: id, opaque }
            }
        }));
    }

    /// The response is over.
    fn finish(&mut self, out: &mut Vec<ModelEvent>) -> Result<Progress, ProviderError> {
        let finish = self.ends.finish(NAME, self.calls.any())?;
        self.close(out);
        let finish = if finish == FinishReason::Stop && self.refused { FinishReason::ContentFilter } else { finish };
        self.calls.ready(finish == FinishReason::ToolCalls, self.seal.take(), out)?;
        out.extend(self.usage.take().map(ModelEvent::Usage));
        out.push(ModelEvent::Finished(finish));
        Ok(Progress::Whole)
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
        // Empty in the first chunk of Azure and in the one that carries usage. Others than the first were not asked for.
        let choices = chunk["choices"].as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(choice) = choices.iter().find(|choice| choice["index"].as_u64().unwrap_or_default() == 0) {
            if let Some(said) = ErrorBody::find(choice) {
                return Err(said.into_error(NAME));
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
