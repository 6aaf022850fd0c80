//! The parts of a turn as AG-UI events. Ids of messages and calls must be unique in a thread, so they contain the id of the turn. Nothing
//! follows RUN_FINISHED or RUN_ERROR, not even `[DONE]`, because the client reads every line as JSON. Pure.

use axum::http::HeaderMap;
use bytes::BytesMut;
use proto::agent_streaming::{Turn, TurnEvent};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    chat::{
        parts::{AnswerParts, Block, InputProgress, Outcome, Part},
        values::{Tokens, notice_json, revision_json, turn_json},
    },
    stream::sse::{self, Framing, Projection},
};

const VERSION: &str = "1.0";

/// One event, as the protocol names it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
enum Event<'a> {
    RunStarted { thread_id: &'a str, run_id: &'a str, protocol_version: &'static str },
    StepStarted { step_name: String },
    StepFinished { step_name: String },
    TextMessageStart { message_id: String, role: &'static str },
    TextMessageContent { message_id: String, delta: &'a str },
    TextMessageEnd { message_id: String },
    ReasoningStart { message_id: String },
    ReasoningMessageStart { message_id: String, role: &'static str },
    ReasoningMessageContent { message_id: String, delta: &'a str },
    ReasoningMessageEnd { message_id: String },
    ReasoningEnd { message_id: String },
    ToolCallStart { tool_call_id: String, tool_call_name: &'a str },
    ToolCallArgs { tool_call_id: String, delta: &'a str },
    ToolCallEnd { tool_call_id: String },
    ToolCallResult { message_id: String, tool_call_id: String, content: &'a str, role: &'static str },
    Custom { name: &'static str, value: Value },
    RunFinished { thread_id: &'a str, run_id: &'a str, outcome: Value, result: Value, usage: Vec<Value> },
    RunError { message: &'a str, code: &'a str, usage: Vec<Value> },
}

/// The projection of one turn.
pub(crate) struct AguiStream {
    turn: Turn,
    thread: String,
    run: String,
    parts: AnswerParts,
}

impl AguiStream {
    pub(crate) fn new(turn: Turn, thread: String, run: String) -> Self {
        // The protocol has no event that removes a part of a message.
        Self { turn, thread, run, parts: AnswerParts::new(false) }
    }

    fn id(&self, of: &str) -> String {
        format!("{}:{of}", self.turn.id)
    }

    fn events<'a>(&'a self, part: &'a Part<'a>, out: &mut Vec<Event<'a>>) {
        match part {
            Part::Started => {
                out.push(Event::RunStarted { thread_id: &self.thread, run_id: &self.run, protocol_version: VERSION });
                out.push(Event::Custom { name: "turn", value: turn_json(&self.turn) });
            }
            Part::Agent(agent) => out.push(Event::Custom { name: "agent", value: json!({ "agent": agent }) }),
            Part::StepStarted(step) => out.push(Event::StepStarted { step_name: step_name(*step) }),
            Part::StepFinished(step) => out.push(Event::StepFinished { step_name: step_name(*step) }),
            // The arguments also contain the path.
            Part::StepReset | Part::CallTarget { .. } => {}
            Part::BlockStarted(..) | Part::BlockDelta(..) | Part::BlockFinished(..) => self.block(part, out),
            Part::CallStarted { .. } | Part::CallInput { .. } | Part::CallReady { .. } | Part::CallDone { .. } => self.call(part, out),
            Part::File(file) => out.push(Event::Custom { name: "file", value: json!(file) }),
            Part::FileText { path, text } => {
                out.push(Event::Custom { name: "file-delta", value: json!({ "path": path, "delta": text }) });
            }
            Part::Notice(notice) => out.push(Event::Custom { name: "notice", value: notice_json(notice) }),
            Part::Usage(usage) => out.push(Event::Custom { name: "usage", value: json!(Tokens::from(*usage)) }),
            Part::Committed(files) => out.push(Event::Custom { name: "revision", value: revision_json(files) }),
            Part::Checked(checks) => out.push(Event::Custom { name: "checks", value: json!(checks) }),
            Part::Ended(outcome) => out.push(self.end(*outcome)),
        }
    }

    fn block<'a>(&'a self, part: &'a Part<'a>, out: &mut Vec<Event<'a>>) {
        match part {
            Part::BlockStarted(Block::Text, id) => out.push(Event::TextMessageStart { message_id: self.id(id), role: "assistant" }),
            Part::BlockDelta(Block::Text, id, delta) => out.push(Event::TextMessageContent { message_id: self.id(id), delta }),
            Part::BlockFinished(Block::Text, id) => out.push(Event::TextMessageEnd { message_id: self.id(id) }),
            Part::BlockStarted(Block::Reasoning, id) => {
                out.push(Event::ReasoningStart { message_id: self.id(id) });
                out.push(Event::ReasoningMessageStart { message_id: self.id(id), role: "reasoning" });
            }
            Part::BlockDelta(Block::Reasoning, id, delta) => {
                out.push(Event::ReasoningMessageContent { message_id: self.id(id), delta });
            }
            Part::BlockFinished(Block::Reasoning, id) => {
                out.push(Event::ReasoningMessageEnd { message_id: self.id(id) });
                out.push(Event::ReasoningEnd { message_id: self.id(id) });
            }
            _ => {}
        }
    }

    fn call<'a>(&'a self, part: &'a Part<'a>, out: &mut Vec<Event<'a>>) {
        match part {
            Part::CallStarted { call, tool } => out.push(Event::ToolCallStart { tool_call_id: self.id(call), tool_call_name: tool }),
            Part::CallInput { call, json } => out.push(Event::ToolCallArgs { tool_call_id: self.id(call), delta: json }),
            Part::CallReady { call, input, streamed, .. } => {
                if !streamed {
                    out.push(Event::ToolCallArgs { tool_call_id: self.id(call), delta: input });
                }
                out.push(Event::ToolCallEnd { tool_call_id: self.id(call) });
            }
            Part::CallDone { call, progress, outcome, .. } => {
                if *progress < InputProgress::Complete {
                    out.push(Event::ToolCallEnd { tool_call_id: self.id(call) });
                }
                let content = match outcome {
                    Ok(summary) => summary,
                    Err(error) => error.as_ref(),
                };
                let message_id = self.id(&format!("{call}:result"));
                out.push(Event::ToolCallResult { message_id, tool_call_id: self.id(call), content, role: "tool" });
            }
            _ => {}
        }
    }

    fn end<'a>(&'a self, outcome: Outcome<'a>) -> Event<'a> {
        let usage = self.usage();
        let (kind, name, revision) = match outcome {
            Outcome::Failed { reason, message } => return Event::RunError { message, code: reason, usage },
            Outcome::Completed { revision } => ("success", "completed", revision),
            // The run itself succeeded. The notice before and the result report the conflict of its files.
            Outcome::Conflicted { revision } => ("success", "conflicted", revision),
            Outcome::Cancelled => ("cancelled", "cancelled", ""),
        };
        let (outcome, result) = (json!({ "type": kind }), json!({ "outcome": name, "revision": revision }));
        Event::RunFinished { thread_id: &self.thread, run_id: &self.run, outcome, result, usage }
    }

    fn usage(&self) -> Vec<Value> {
        let Some(usage) = self.parts.usage() else { return Vec::new() };
        let mut entry = json!(Tokens::from(usage));
        if let Some((provider, model)) = self.turn.model.split_once('/') {
            entry["provider"] = provider.into();
            entry["model"] = model.into();
        }
        vec![entry]
    }
}

fn step_name(step: u32) -> String {
    format!("step-{step}")
}

impl Framing for AguiStream {
    fn headers(&self) -> HeaderMap {
        sse::stream_headers("text/event-stream")
    }

    fn opening(&mut self, out: &mut BytesMut) {
        sse::opening(out);
    }

    fn heartbeat(&mut self, out: &mut BytesMut) {
        sse::heartbeat(out);
    }
}

impl Projection for AguiStream {
    fn event(&mut self, out: &mut BytesMut, event: &TurnEvent) -> Result<(), serde_json::Error> {
        let parts = self.parts.event(event);
        let mut events = Vec::new();
        for part in &parts {
            self.events(part, &mut events);
        }
        sse::frames(out, event.seq, &events)
    }
}

#[cfg(test)]
mod tests;
