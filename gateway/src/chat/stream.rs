//! A turn's parts as chunks of the UI message stream. Clients of three majors read it: chunks that only newer ones know are
//! sent to those who ask for their level, since every client gives up at a type that it does not know. Pure.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::{BufMut as _, BytesMut};
use proto::agent_streaming::{Turn, TurnEvent, Usage};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    error::{Failure, invalid},
    parts::{Block, File, Known, Notice, Outcome, Part, Parts},
    sse::{self, Projection},
};

const PROTOCOL: HeaderName = HeaderName::from_static("x-vercel-ai-ui-message-stream");
/// Which chunks the client knows.
pub(crate) const LEVEL: &str = "x-backlot-ui-stream-level";
/// What generic tools expect at the end; the clients skip it.
const DONE: &[u8] = b"data: [DONE]\n\n";

/// Our tools run here: a client that is told so does not send their results back.
const HERE: bool = true;

/// The major of the AI SDK whose chunks may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Five,
    Six,
    Seven,
}

impl Level {
    /// # Errors
    /// INVALID_FIELD that names the header.
    pub(crate) fn wanted(headers: &HeaderMap) -> Result<Self, Failure> {
        match headers.get(LEVEL).map(HeaderValue::as_bytes) {
            None | Some(b"5") => Ok(Self::Five),
            Some(b"6") => Ok(Self::Six),
            Some(b"7") => Ok(Self::Seven),
            Some(_) => Err(invalid(LEVEL, "must be 5, 6 or 7")),
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

/// Usage with every number in it; ProtoJSON leaves zeros out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tokens {
    input_tokens: u32,
    output_tokens: u32,
    cached_input_tokens: u32,
    cache_write_input_tokens: u32,
    reasoning_tokens: u32,
}

impl From<&Usage> for Tokens {
    fn from(usage: &Usage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cached_input_tokens: usage.cached_input_tokens,
            cache_write_input_tokens: usage.cache_write_input_tokens,
            reasoning_tokens: usage.reasoning_tokens,
        }
    }
}

/// The projection of one turn.
pub(crate) struct UiStream {
    turn: Turn,
    level: Level,
    /// The reader has what came up to here. It is gone through again, so that what follows fits to it, and not sent.
    seen: u32,
    parts: Parts,
}

impl UiStream {
    pub(crate) fn new(turn: Turn, level: Level, seen: u32) -> Self {
        Self { turn, level, seen, parts: Parts::new(level >= Level::Seven) }
    }

    fn chunks<'a>(&'a self, part: &'a Part<'a>, out: &mut Vec<Chunk<'a>>) {
        out.push(match part {
            Part::Started => Chunk::Start { message_id: &self.turn.id, message_metadata: about(&self.turn) },
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
                // What is true only while the turn runs does not stay in the message.
                let transient = matches!(notice, Notice::Queued { .. } | Notice::Retrying { .. });
                Chunk::DataNotice { data: notice_json(notice), transient }
            }
            Part::Usage(usage) => Chunk::DataUsage { data: Tokens::from(*usage), transient: true },
            Part::Committed(files) => Chunk::DataRevision { id: "revision", data: revision_json(files) },
            Part::Ended(outcome) => return self.end(*outcome, out),
        });
    }

    /// Input that is still coming is shown from level 6 on: a client of the AI SDK 5 that resumes behind such a call keeps what it
    /// has and adds all of the answer to it once more. At level 5 a call is shown when its input, or the file that it writes, is known.
    fn call<'a>(&'a self, part: &'a Part<'a>, out: &mut Vec<Chunk<'a>>) {
        let streams = self.level >= Level::Six;
        let known = |call, tool, input| Chunk::ToolInputAvailable { tool_call_id: call, tool_name: tool, input, provider_executed: HERE };
        match part {
            Part::CallStarted { call, tool } if streams => {
                out.push(Chunk::ToolInputStart { tool_call_id: call, tool_name: tool, provider_executed: HERE });
            }
            Part::CallInput { call, json } if streams => out.push(Chunk::ToolInputDelta { tool_call_id: call, input_text_delta: json }),
            Part::CallTarget { call, tool, path } if !streams => out.push(known(call, tool, json!({ "path": path }))),
            Part::CallReady { call, tool, input, .. } => out.push(known(call, tool, parsed(input))),
            Part::CallDone { call, tool, known: so_far, outcome } => {
                if !streams && *so_far == Known::Pieces {
                    out.push(known(call, tool, json!({})));
                }
                out.push(match outcome {
                    Ok(summary) => {
                        Chunk::ToolOutputAvailable { tool_call_id: call, output: json!({ "summary": summary }), provider_executed: HERE }
                    }
                    Err(why) => Chunk::ToolOutputError { tool_call_id: call, error_text: why, provider_executed: HERE },
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

impl Projection for UiStream {
    fn headers(&self) -> HeaderMap {
        let mut headers = sse::stream_headers("text/event-stream");
        headers.insert(PROTOCOL, HeaderValue::from_static("v1"));
        headers
    }

    fn opening(&mut self, out: &mut BytesMut) {
        sse::opening(out);
    }

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

    fn heartbeat(&mut self, out: &mut BytesMut) {
        sse::heartbeat(out);
    }
}

/// Arguments as JSON; what is none goes through as it is.
fn parsed(input: &str) -> Value {
    serde_json::from_str(input).unwrap_or_else(|_| input.into())
}

/// What the first chunk says of the turn.
pub(crate) fn about(turn: &Turn) -> Value {
    json!({ "turnId": turn.id, "projectId": turn.project_id, "model": turn.model, "createdAt": turn.create_time })
}

pub(crate) fn notice_json(notice: &Notice<'_>) -> Value {
    match notice {
        Notice::Queued { turn } => {
            json!({ "code": "TURN_QUEUED", "text": "Another turn of the project is running; this one waits for it.", "turnId": turn })
        }
        Notice::Retrying { text } => json!({ "code": "ATTEMPT_FAILED", "text": text }),
        Notice::Superseded => {
            json!({ "code": "STEP_SUPERSEDED", "text": "The step was interrupted; what it said before this counts no more, and it begins anew." })
        }
        Notice::Conflicted { paths, revision } => {
            let text = "Somebody else changed the same files meanwhile; the turn's files are kept aside.";
            json!({ "code": "TURN_CONFLICTED", "text": text, "paths": paths, "revision": revision })
        }
    }
}

pub(crate) fn revision_json(files: &proto::agent_streaming::FilesCommitted) -> Value {
    json!({
        "revision": files.revision, "number": files.number,
        "added": files.added, "modified": files.modified, "deleted": files.deleted, "renamed": files.renamed,
    })
}

/// The text becomes the client's `error.message`, like the body of a refusal: one way to read both.
fn problem(turn: &Turn, reason: &str, message: &str) -> String {
    let slug: Cow<'_, str> = reason.to_ascii_lowercase().replace('_', "-").into();
    json!({
        "type": format!("https://backlot.dev/problems/{slug}"), "title": "The turn failed", "detail": message, "reason": reason,
        "domain": "agent-streaming.backlot.dev", "metadata": { "turnId": turn.id },
    })
    .to_string()
}

/// Our word in the protocol's spelling.
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
