//! The request of `/api/chat`. Only the last message is read. Earlier messages are stored in the project, and the client's copy of them
//! cannot be trusted. Pure.

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

/// The body. Other fields belong to the application and are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChatRequest {
    id: String,
    /// Replaces `messages` for clients that send only the last message.
    message: Option<Value>,
    #[serde(default)]
    messages: LastMessage,
    trigger: Option<Trigger>,
    message_id: Option<String>,
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

/// Read through a string, since serde reports an unknown variant of another type as a syntax error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum Trigger {
    SubmitMessage,
    RegenerateMessage,
}

impl TryFrom<String> for Trigger {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "submit-message" => Ok(Self::SubmitMessage),
            "regenerate-message" => Ok(Self::RegenerateMessage),
            _ => Err(format!("must be submit-message or regenerate-message; got {text:?}")),
        }
    }
}

/// A message of a person, and what to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prompt {
    pub(crate) chat: ChatId,
    pub(crate) text: String,
    /// The client's id of the message, or empty.
    pub(crate) message: String,
    pub(crate) intent: Intent,
    options: Options,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intent {
    /// A new message, or a repetition of the request.
    Send,
    /// The same, or an edited message if the text differs.
    SendOrEdit,
    /// Another answer to the message. It replaces `answer`, unless that is empty.
    Regenerate { answer: String },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Options {
    agent: String,
    model: String,
    base_revision: String,
    if_active: IfActive,
    on_disconnect: OnDisconnect,
    require_clean_files: bool,
    mode: TurnMode,
    plan_turn: String,
    pinned: Vec<String>,
    excluded: Vec<String>,
    metadata: Metadata,
}

impl ChatRequest {
    /// # Errors
    /// INVALID_FIELD that names the field, or CONTINUATION_UNSUPPORTED.
    pub(crate) fn read(self) -> Result<Prompt, Failure> {
        let chat = ChatId::parse(&self.id, "id")?;
        let regenerates = self.trigger == Some(Trigger::RegenerateMessage);
        let (place, message) = match (self.message, self.messages.0) {
            (Some(message), _) => ("message".to_owned(), message),
            (None, Some((at, message))) => (format!("messages[{at}]"), message),
            (None, None) => return Err(invalid("messages", "must contain a message of the user")),
        };
        let message = UserMessage::read(&place, &message, regenerates)?;
        let message_id = self.message_id.unwrap_or_default();
        let intent = if regenerates {
            Intent::Regenerate { answer: message_id }
        } else if !message_id.is_empty() && message_id == message.id {
            Intent::SendOrEdit
        } else {
            Intent::Send
        };
        let options = Options {
            agent: self.agent.unwrap_or_default(),
            model: self.model.unwrap_or_default(),
            base_revision: self.base_revision.unwrap_or_default(),
            // A chat shows one answer at a time, so another running turn is an error by default.
            if_active: self.if_active.filter(|value| *value != IfActive::Unspecified).unwrap_or(IfActive::Reject),
            on_disconnect: self.on_disconnect.unwrap_or_default(),
            require_clean_files: self.require_clean_files.unwrap_or_default(),
            mode: self.mode.unwrap_or_default(),
            plan_turn: self.plan_turn_id.unwrap_or_default(),
            pinned: self.pinned_paths.unwrap_or_default(),
            excluded: self.excluded_paths.unwrap_or_default(),
            metadata: self.metadata.unwrap_or_default(),
        };
        Ok(Prompt { chat, text: message.text, message: message.id, intent, options })
    }
}

/// The message of a person as the AI SDK writes it.
struct UserMessage {
    id: String,
    text: String,
}

impl UserMessage {
    fn read(place: &str, message: &Value, regenerates: bool) -> Result<Self, Failure> {
        let field = |name: &str| format!("{place}.{name}");
        match message["role"].as_str() {
            Some("user") => {}
            Some("assistant") if !regenerates => {
                let text = "tools run on the server, so a client cannot continue an answer; the last message must be of the user";
                return Err(fault(ErrorCode::InvalidArgument, "CONTINUATION_UNSUPPORTED", text).with("field", field("role")).into());
            }
            _ => return Err(invalid(&field("role"), "must be `user`")),
        }
        let id = match &message["id"] {
            Value::Null => String::new(),
            Value::String(id) if id.is_empty() || is_client_id(id) => id.clone(),
            _ => return Err(invalid(&field("id"), "must be 1 to 128 of A-Za-z0-9_-")),
        };
        let Some(parts) = message["parts"].as_array() else { return Err(invalid(&field("parts"), "must be a list of parts")) };
        let text = text_of_parts(&field("parts"), parts)?;
        check_prompt(&field("parts"), &text)?;
        Ok(Self { id, text })
    }
}

impl Prompt {
    /// The request that starts the turn. It replaces the turn `replaces`, if that is not empty. A message with an id starts one turn,
    /// even if it is sent repeatedly. Each other answer to it is a new turn. `key` is the idempotency key of the client, or empty.
    pub(crate) fn into_request(self, replaces: &str, key: String) -> StartTurnRequest {
        let derived = match self.intent {
            _ if !key.is_empty() => key,
            Intent::Send | Intent::SendOrEdit if !self.message.is_empty() => {
                key_of("chat", &[self.chat.id(), &self.message, replaces, &self.text])
            }
            _ => String::new(),
        };
        let (project_id, draft_id) = self.chat.fields();
        StartTurnRequest {
            project_id,
            draft_id,
            prompt: self.text,
            agent: self.options.agent,
            model: self.options.model,
            base_revision: self.options.base_revision,
            if_active: self.options.if_active.into(),
            idempotency_key: derived,
            on_disconnect: self.options.on_disconnect.into(),
            client_message_id: self.message,
            replaces_turn_id: replaces.to_owned(),
            metadata: self.options.metadata,
            require_clean_files: self.options.require_clean_files,
            mode: self.options.mode.into(),
            plan_turn_id: self.options.plan_turn,
            pinned_paths: self.options.pinned,
            excluded_paths: self.options.excluded,
        }
    }
}

#[cfg(test)]
mod tests;
