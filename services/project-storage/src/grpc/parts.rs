//! The parts of messages.

use std::mem;

use proto::{
    parts,
    project_storage::{self as pb, message_part::Kind},
    text::replace_nul,
};

use crate::model::{
    message::Message,
    part::{CallState, ChangedFile, FileStatus, Part, Tokens, ToolCall},
};

/// The parts of an answer within the limits, as a model and its tools made them: they are cut instead of refused. An agent of a release
/// without parts sends none, and then the answer is one text.
pub(super) fn decode(wire: Vec<pb::MessagePart>, answer: &str) -> Vec<Part> {
    let wire = if wire.is_empty() { parts::of_text(answer) } else { wire };
    parts::fit(wire.into_iter().map(without_nul).collect()).into_iter().filter_map(part).collect()
}

/// Replaces what the database cannot store, before the bytes are counted.
fn without_nul(mut part: pb::MessagePart) -> pb::MessagePart {
    let texts = match &mut part.kind {
        Some(Kind::Text(text)) => vec![text],
        Some(Kind::ToolCall(call)) => vec![&mut call.id, &mut call.tool, &mut call.arguments, &mut call.result, &mut call.error_reason],
        Some(Kind::File(_) | Kind::Usage(_) | Kind::Omitted(_)) | None => Vec::new(),
    };
    for text in texts {
        *text = replace_nul(mem::take(text));
    }
    part
}

fn part(wire: pb::MessagePart) -> Option<Part> {
    let truncated = wire.truncated;
    Some(match wire.kind? {
        Kind::Text(text) => Part::Text { text, truncated },
        Kind::ToolCall(call) => Part::ToolCall(ToolCall {
            state: match call.state() {
                pb::ToolCallState::Succeeded => CallState::Succeeded,
                pb::ToolCallState::Failed => CallState::Failed,
                pb::ToolCallState::Unfinished | pb::ToolCallState::Unspecified => CallState::Unfinished,
            },
            id: call.id,
            tool: call.tool,
            arguments: call.arguments,
            result: call.result,
            error_reason: call.error_reason,
            truncated,
        }),
        Kind::Usage(usage) => Part::Usage(Tokens {
            input: usage.input_tokens,
            output: usage.output_tokens,
            cached_input: usage.cached_input_tokens,
            cache_write_input: usage.cache_write_input_tokens,
            reasoning: usage.reasoning_tokens,
        }),
        Kind::Omitted(count) => Part::Omitted { count },
        // The files come from the revision.
        Kind::File(_) => return None,
    })
}

/// The parts of a message. A message without stored parts is one text.
pub(super) fn encode(message: &Message) -> Vec<pb::MessagePart> {
    if message.parts.is_empty() {
        return parts::of_text(&message.text);
    }
    message.parts.iter().filter_map(wire).collect()
}

fn wire(part: &Part) -> Option<pb::MessagePart> {
    let (kind, truncated) = match part {
        Part::Text { text, truncated } => (Kind::Text(text.clone()), *truncated),
        Part::ToolCall(call) => (Kind::ToolCall(tool_call(call)), call.truncated),
        Part::File(ChangedFile { path, status, old_path, revision }) => {
            let status = match status {
                FileStatus::Added => pb::FileStatus::Added,
                FileStatus::Modified => pb::FileStatus::Modified,
                FileStatus::Deleted => pb::FileStatus::Deleted,
                FileStatus::Renamed => pb::FileStatus::Renamed,
                FileStatus::Unknown => pb::FileStatus::Unspecified,
            };
            let (path, old_path, revision) = (path.clone(), old_path.clone(), revision.clone());
            (Kind::File(pb::ChangedFile { path, status: status.into(), old_path, revision }), false)
        }
        Part::Usage(tokens) => (Kind::Usage(token_usage(*tokens)), false),
        Part::Omitted { count } => (Kind::Omitted(*count), false),
        Part::Unknown => return None,
    };
    Some(pb::MessagePart { kind: Some(kind), truncated })
}

fn tool_call(call: &ToolCall) -> pb::ToolCall {
    let state = match call.state {
        CallState::Succeeded => pb::ToolCallState::Succeeded,
        CallState::Failed => pb::ToolCallState::Failed,
        CallState::Unfinished => pb::ToolCallState::Unfinished,
        CallState::Unknown => pb::ToolCallState::Unspecified,
    };
    pb::ToolCall {
        id: call.id.clone(),
        tool: call.tool.clone(),
        arguments: call.arguments.clone(),
        state: state.into(),
        result: call.result.clone(),
        error_reason: call.error_reason.clone(),
    }
}

fn token_usage(tokens: Tokens) -> pb::TokenUsage {
    pb::TokenUsage {
        input_tokens: tokens.input,
        output_tokens: tokens.output,
        cached_input_tokens: tokens.cached_input,
        cache_write_input_tokens: tokens.cache_write_input,
        reasoning_tokens: tokens.reasoning,
    }
}
