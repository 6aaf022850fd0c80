//! The parts of a turn as chunks of the UI message stream. A client fails at a chunk of an unknown type, so chunks of newer major
//! versions of the AI SDK are sent only to clients that request their level. Pure.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderValue};
use bytes::{BufMut as _, BytesMut};
use proto::agent_streaming::{ChecksFinished, Turn, TurnEvent};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    chat::{
        parts::{AnswerParts, Block, File, InputProgress, Notice, Outcome, Part},
        values::{Tokens, notice_json, revision_json, turn_json},
    },
    error::{Failure, invalid},
    http::headers::{UI_STREAM, UI_STREAM_LEVEL},
    stream::sse::{self, Framing, Projection},
};

/// The end of the stream that generic tools expect. The clients of the AI SDK skip it.
const DONE: &[u8] = b"data: [DONE]\n\n";

/// Tools run on the server, so the client does not send results.
const PROVIDER_EXECUTED: bool = true;

/// The major version of the AI SDK whose chunks may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Five,
    Six,
    Seven,
}

impl Level {
    /// # Errors
    /// INVALID_FIELD that names the header.
    pub(crate) fn requested(headers: &HeaderMap) -> Result<Self, Failure> {
        match headers.get(UI_STREAM_LEVEL).map(HeaderValue::as_bytes) {
            None | Some(b"5") => Ok(Self::Five),
            Some(b"6") => Ok(Self::Six),
            Some(b"7") => Ok(Self::Seven),
            Some(_) => Err(invalid(UI_STREAM_LEVEL.as_str(), "must be 5, 6 or 7")),
        }
    }
}

/// One chunk, as the protocol names it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum Chunk<'a> {
    Start {
        message_id: &'a str,
        message_metadata: Value,
    },
    MessageMetadata {
        message_metadata: Value,
    },
    StartStep,
    FinishStep,
    ResetStep,
    TextStart {
        id: &'a str,
    },
    TextDelta {
        id: &'a str,
        delta: &'a str,
    },
    TextEnd {
        id: &'a str,
    },
    ReasoningStart {
        id: &'a str,
    },
    ReasoningDelta {
        id: &'a str,
        delta: &'a str,
    },
    ReasoningEnd {
        id: &'a str,
    },
    ToolInputStart {
        tool_call_id: &'a str,
        tool_name: &'a str,
        provider_executed: bool,
    },
    ToolInputDelta {
        tool_call_id: &'a str,
        input_text_delta: &'a str,
    },
    ToolInputAvailable {
        tool_call_id: &'a str,
        tool_name: &'a str,
        input: Value,
        provider_executed: bool,
    },
    ToolOutputAvailable {
        tool_call_id: &'a str,
        output: Value,
        provider_executed: bool,
    },
    ToolOutputError {
        tool_call_id: &'a str,
        error_text: &'a str,
        provider_executed: bool,
    },
    DataFile {
        id: &'a str,
        data: &'a File,
    },
    DataFileDelta {
        data: Value,
        transient: bool,
    },
    DataRevision {
        id: &'static str,
        data: Value,
    },
    DataChecks {
        id: &'static str,
        data: &'a ChecksFinished,
    },
    DataNotice {
        data: Value,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        transient: bool,
    },
    DataUsage {
        data: Tokens,
        transient: bool,
    },
    Abort {
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str>,
    },
    Finish {
        #[serde(skip_serializing_if = "Option::is_none")]
        finish_reason: Option<&'static str>,
        message_metadata: Value,
    },
    Error {
        error_text: String,
    },
}

/// The projection of one turn.
pub(crate) struct UiStream {
    turn: Turn,
    level: Level,
    /// The client has the events up to this number. They are processed to restore the state, and not sent.
    seen: u32,
    parts: AnswerParts,
}

impl UiStream {
    pub(crate) fn new(turn: Turn, level: Level, seen: u32) -> Self {
        Self { turn, level, seen, parts: AnswerParts::new(level >= Level::Seven) }
    }

    fn chunks<'a>(&'a self, part: &'a Part<'a>, out: &mut Vec<Chunk<'a>>) {
        out.push(match part {
            Part::Started => Chunk::Start { message_id: &self.turn.id, message_metadata: turn_json(&self.turn) },
            Part::Agent(agent) => Chunk::MessageMetadata { message_metadata: json!({ "agent": agent }) },
            Part::StepStarted(_) => Chunk::StartStep,
            Part::StepFinished(_) => Chunk::FinishStep,
            Part::StepReset => Chunk::ResetStep,
            Part::BlockStarted(Block::Text, id) => Chunk::TextStart { id },
            Part::BlockDelta(Block::Text, id, delta) => Chunk::TextDelta { id, delta },
            Part::BlockFinished(Block::Text, id) => Chunk::TextEnd { id },
            Part::BlockStarted(Block::Reasoning, id) => Chunk::ReasoningStart { id },
            Part::BlockDelta(Block::Reasoning, id, delta) => Chunk::ReasoningDelta { id, delta },
            Part::BlockFinished(Block::Reasoning, id) => Chunk::ReasoningEnd { id },
            Part::CallStarted { .. }
            | Part::CallInput { .. }
            | Part::CallTarget { .. }
            | Part::CallReady { .. }
            | Part::CallDone { .. } => {
                return self.call(part, out);
            }
            Part::File(file) => Chunk::DataFile { id: &file.path, data: file },
            Part::FileText { path, text } => Chunk::DataFileDelta { data: json!({ "path": path, "delta": text }), transient: true },
            Part::Notice(notice) => {
                // A notice that is true only while the turn runs does not stay in the message.
                let transient = matches!(notice, Notice::Queued { .. } | Notice::Retrying { .. });
                Chunk::DataNotice { data: notice_json(notice), transient }
            }
            Part::Usage(usage) => Chunk::DataUsage { data: Tokens::from(*usage), transient: true },
            Part::Committed(files) => Chunk::DataRevision { id: "revision", data: revision_json(files) },
            Part::Checked(checks) => Chunk::DataChecks { id: "checks", data: checks },
            Part::Ended(outcome) => return self.end(*outcome, out),
        });
    }

    /// Incomplete input is sent from level 6 on. A client of the AI SDK 5 that resumes after such a call appends the whole answer a
    /// second time. At level 5 a call is sent when its input, or the file that it writes, is known.
    fn call<'a>(&'a self, part: &'a Part<'a>, out: &mut Vec<Chunk<'a>>) {
        let streams = self.level >= Level::Six;
        let known = |call, tool, input| Chunk::ToolInputAvailable {
            tool_call_id: call,
            tool_name: tool,
            input,
            provider_executed: PROVIDER_EXECUTED,
        };
        match part {
            Part::CallStarted { call, tool } if streams => {
                out.push(Chunk::ToolInputStart { tool_call_id: call, tool_name: tool, provider_executed: PROVIDER_EXECUTED });
            }
            Part::CallInput { call, json } if streams => out.push(Chunk::ToolInputDelta { tool_call_id: call, input_text_delta: json }),
            Part::CallTarget { call, tool, path } if !streams => out.push(known(call, tool, json!({ "path": path }))),
            Part::CallReady { call, tool, input, .. } => out.push(known(call, tool, parsed(input))),
            Part::CallDone { call, tool, progress, outcome } => {
                if !streams && *progress == InputProgress::Partial {
                    out.push(known(call, tool, json!({})));
                }
                out.push(match outcome {
                    Ok(summary) => Chunk::ToolOutputAvailable {
                        tool_call_id: call,
                        output: json!({ "summary": summary }),
                        provider_executed: PROVIDER_EXECUTED,
                    },
                    Err(error) => Chunk::ToolOutputError { tool_call_id: call, error_text: error, provider_executed: PROVIDER_EXECUTED },
                });
            }
            _ => {}
        }
    }

    fn end<'a>(&'a self, outcome: Outcome<'a>, out: &mut Vec<Chunk<'a>>) {
        let from_six = self.level >= Level::Six;
        let (name, revision) = match outcome {
            Outcome::Failed { reason, message } => {
                out.push(Chunk::Error { error_text: problem(&self.turn, reason, message) });
                return;
            }
            Outcome::Completed { revision } => ("completed", revision),
            Outcome::Conflicted { revision } => ("conflicted", revision),
            Outcome::Cancelled => {
                out.push(Chunk::Abort { reason: from_six.then_some("the turn was stopped") });
                ("cancelled", "")
            }
        };
        let reason = match outcome {
            Outcome::Completed { .. } => finish_reason(self.parts.finish_reason()),
            _ => "other",
        };
        let usage = self.parts.usage().map(Tokens::from);
        let message_metadata = json!({ "outcome": name, "revision": revision, "finishReason": reason, "usage": usage });
        out.push(Chunk::Finish { finish_reason: from_six.then_some(reason), message_metadata });
    }
}

impl Framing for UiStream {
    fn headers(&self) -> HeaderMap {
        let mut headers = sse::stream_headers("text/event-stream");
        headers.insert(UI_STREAM, HeaderValue::from_static("v1"));
        headers
    }

    fn opening(&mut self, out: &mut BytesMut) {
        sse::opening(out);
    }

    fn heartbeat(&mut self, out: &mut BytesMut) {
        sse::heartbeat(out);
    }
}

impl Projection for UiStream {
    fn event(&mut self, out: &mut BytesMut, event: &TurnEvent) -> Result<(), serde_json::Error> {
        let parts = self.parts.event(event);
        if event.seq <= self.seen {
            return Ok(());
        }
        let mut chunks = Vec::new();
        for part in &parts {
            self.chunks(part, &mut chunks);
        }
        sse::frames(out, event.seq, &chunks)?;
        if event.is_terminal() {
            out.put_slice(DONE);
        }
        Ok(())
    }
}

/// Arguments as JSON, or as a string if they are not JSON.
fn parsed(input: &str) -> Value {
    serde_json::from_str(input).unwrap_or_else(|_| input.into())
}

/// The text becomes the `error.message` of the client. It has the form of a problem document, so that clients read both alike.
fn problem(turn: &Turn, reason: &str, message: &str) -> String {
    let slug: Cow<'_, str> = reason.to_ascii_lowercase().replace('_', "-").into();
    json!({
        "type": format!("https://backlot.dev/problems/{slug}"), "title": "The turn failed", "detail": message, "reason": reason,
        "domain": "agent-streaming.backlot.dev", "metadata": { "turnId": turn.id },
    })
    .to_string()
}

/// The finish reason in the spelling of the protocol.
fn finish_reason(reason: &str) -> &'static str {
    match reason {
        "stop" | "" => "stop",
        "length" => "length",
        "content_filter" => "content-filter",
        "tool_calls" => "tool-calls",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
