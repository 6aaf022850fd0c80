//! The request of `/api/agui`: `RunAgentInput` of AG-UI 1.0. As in `/api/chat`, only the last message is read. Pure.

use proto::{
    agent_streaming::{IfActive, OnDisconnect, StartTurnRequest, TurnMode},
    error::ErrorCode,
    metadata::Metadata,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    chat::{
        conversation::{ChatId, is_client_id},
        messages::{LastMessage, check_prompt, key_of, text_of_parts},
    },
    error::{Failure, fault, invalid},
};

const MAX_RUN_ID_BYTES: usize = 255;

/// The body. `state` and `context` belong to the front end and are not read, and neither are fields of later versions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunAgentInput {
    thread_id: String,
    run_id: String,
    protocol_version: Option<String>,
    messages: LastMessage,
    tools: Option<Vec<Value>>,
    resume: Option<Vec<Value>>,
    forwarded_props: Option<ForwardedProps>,
}

/// What a front end may ask for beyond the protocol, named as in StartTurnRequest.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ForwardedProps {
    agent: Option<String>,
    model: Option<String>,
    base_revision: Option<String>,
    if_active: Option<IfActive>,
    on_disconnect: Option<OnDisconnect>,
    require_clean_files: Option<bool>,
    mode: Option<TurnMode>,
    plan_turn_id: Option<String>,
    pinned_paths: Option<Vec<String>>,
    excluded_paths: Option<Vec<String>>,
    metadata: Option<Metadata>,
}

/// A run and the turn that it starts.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) thread: String,
    pub(crate) run: String,
    pub(crate) start: StartTurnRequest,
}

impl RunAgentInput {
    /// # Errors
    /// INVALID_FIELD that names the field, TOOLS_UNSUPPORTED or RESUME_UNSUPPORTED.
    pub(crate) fn read(self) -> Result<Run, Failure> {
        let chat = ChatId::parse(&self.thread_id, "threadId")?;
        if !(1..=MAX_RUN_ID_BYTES).contains(&self.run_id.len()) {
            return Err(invalid("runId", format!("must be 1 to {MAX_RUN_ID_BYTES} bytes")));
        }
        if self.protocol_version.as_ref().is_some_and(|version| version.split('.').next() != Some("1")) {
            return Err(invalid("protocolVersion", "must be 1.0"));
        }
        if self.tools.is_some_and(|tools| !tools.is_empty()) {
            let text = "the tools of the agent run on the server; `tools` must be empty";
            return Err(fault(ErrorCode::InvalidArgument, "TOOLS_UNSUPPORTED", text).with("field", "tools").into());
        }
        if self.resume.is_some_and(|resume| !resume.is_empty()) {
            let text = "a run is never interrupted, so there is nothing to resume; `resume` must be empty";
            return Err(fault(ErrorCode::InvalidArgument, "RESUME_UNSUPPORTED", text).with("field", "resume").into());
        }
        let (message, text) = last_message(self.messages)?;
        let (project_id, draft_id) = chat.fields();
        let props = self.forwarded_props.unwrap_or_default();
        let start = StartTurnRequest {
            project_id,
            draft_id,
            prompt: text,
            agent: props.agent.unwrap_or_default(),
            model: props.model.unwrap_or_default(),
            base_revision: props.base_revision.unwrap_or_default(),
            if_active: props.if_active.filter(|value| *value != IfActive::Unspecified).unwrap_or(IfActive::Reject).into(),
            idempotency_key: key_of("agui", &[&self.thread_id, &self.run_id]),
            on_disconnect: props.on_disconnect.unwrap_or_default().into(),
            client_message_id: message,
            replaces_turn_id: String::new(),
            metadata: props.metadata.unwrap_or_default(),
            require_clean_files: props.require_clean_files.unwrap_or_default(),
            mode: props.mode.unwrap_or_default().into(),
            plan_turn_id: props.plan_turn_id.unwrap_or_default(),
            pinned_paths: props.pinned_paths.unwrap_or_default(),
            excluded_paths: props.excluded_paths.unwrap_or_default(),
        };
        Ok(Run { thread: self.thread_id, run: self.run_id, start })
    }
}

/// The id and the text of the last message.
fn last_message(messages: LastMessage) -> Result<(String, String), Failure> {
    let Some((at, message)) = messages.0 else { return Err(invalid("messages", "must end with a message of the user")) };
    let field = |name: &str| format!("messages[{at}].{name}");
    if message["role"] != "user" {
        return Err(invalid(&field("role"), "must be `user`: a run answers a message of the user"));
    }
    let text = match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => text_of_parts(&field("content"), parts)?,
        _ => return Err(invalid(&field("content"), "must be a string or a list of parts")),
    };
    check_prompt(&field("content"), &text)?;
    // The protocol also allows other ids. They are ignored.
    let id = message["id"].as_str().filter(|id| is_client_id(id)).unwrap_or_default();
    Ok((id.to_owned(), text))
}

#[cfg(test)]
mod tests;
