//! What a POST to `/api/chat` means. Of the messages only the person's last one is read: what was said before is in our own
//! store, and a client's copy of it is not to be trusted. Pure.

use std::fmt;

use proto::{
    agent_streaming::{IfActive, OnDisconnect, StartTurnRequest},
    error::ErrorCode,
    text::is_blank,
};
use serde::{
    Deserialize,
    de::{SeqAccess, Visitor},
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Chat, is_client_id};
use crate::error::{Failure, fault, invalid};

/// As agent-streaming has it; here the answer can name the field that the client sent.
pub(crate) const PROMPT_BYTES: usize = 32 * 1024;

/// The body. Fields that it does not name are the application's own, and are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChatRequest {
    id: String,
    /// In place of `messages`, for clients that send only the last one.
    message: Option<Value>,
    #[serde(default)]
    messages: Last,
    trigger: Option<Trigger>,
    message_id: Option<String>,
    agent: Option<String>,
    model: Option<String>,
    base_revision: Option<String>,
    if_active: Option<IfActive>,
    on_disconnect: Option<OnDisconnect>,
}

/// Read from a text, since a reader of names takes any other value for a fault of the JSON itself.
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

/// The last element of a list, and its place; the others are passed over one by one.
#[derive(Debug, Default)]
pub(crate) struct Last(pub(crate) Option<(usize, Value)>);

impl<'de> Deserialize<'de> for Last {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_seq(LastOf)
    }
}

struct LastOf;

impl<'de> Visitor<'de> for LastOf {
    type Value = Last;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Last, A::Error> {
        let (mut last, mut at) = (None, 0);
        while let Some(message) = list.next_element::<Value>()? {
            last = Some((at, message));
            at += 1;
        }
        Ok(Last(last))
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) chat: Chat,
    /// The person's message.
    pub(crate) text: String,
    /// The client's own id of it; empty if it gave none.
    pub(crate) message: String,
    pub(crate) intent: Intent,
    options: Options,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intent {
    /// A message, for the first time or sent again over a bad network.
    Say,
    /// The same unless the text is another one: then the person has edited it.
    SayOrEdit,
    /// Another answer to the message, in place of the one that is named, if one is.
    Regenerate { answer: String },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Options {
    agent: String,
    model: String,
    base_revision: String,
    if_active: IfActive,
    on_disconnect: OnDisconnect,
}

impl ChatRequest {
    /// # Errors
    /// INVALID_FIELD that names the field, or CONTINUATION_UNSUPPORTED.
    pub(crate) fn read(self) -> Result<Asked, Failure> {
        let chat = Chat::parse(&self.id, "id")?;
        let regenerates = self.trigger == Some(Trigger::RegenerateMessage);
        let (place, message) = match (self.message, self.messages.0) {
            (Some(message), _) => ("message".to_owned(), message),
            (None, Some((at, message))) => (format!("messages[{at}]"), message),
            (None, None) => return Err(invalid("messages", "must hold the person's message")),
        };
        let message = UserMessage::read(&place, &message, regenerates)?;
        let named = self.message_id.unwrap_or_default();
        let intent = if regenerates {
            Intent::Regenerate { answer: named }
        } else if !named.is_empty() && named == message.id {
            Intent::SayOrEdit
        } else {
            Intent::Say
        };
        let options = Options {
            agent: self.agent.unwrap_or_default(),
            model: self.model.unwrap_or_default(),
            base_revision: self.base_revision.unwrap_or_default(),
            // A chat shows one answer at a time.
            if_active: self.if_active.filter(|wish| *wish != IfActive::Unspecified).unwrap_or(IfActive::Reject),
            on_disconnect: self.on_disconnect.unwrap_or_default(),
        };
        Ok(Asked { chat, text: message.text, message: message.id, intent, options })
    }
}

/// The person's message as the AI SDK writes it.
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
                let text = "tools run on the server, so an answer cannot be continued by the client; end with the person's message";
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
        let mut texts = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            let part_field = || format!("{place}.parts[{at}]");
            match (part["type"].as_str(), part["text"].as_str()) {
                (Some("text"), Some(text)) => texts.push(text),
                (Some("text"), None) => return Err(invalid(&format!("{}.text", part_field()), "must be a string")),
                (Some(kind), _) => return Err(invalid(&part_field(), format!("a part of type `{kind:.40}` is not taken; only text is"))),
                (None, _) => return Err(invalid(&format!("{}.type", part_field()), "must be `text`")),
            }
        }
        let text = texts.join("\n");
        check_prompt(&field("parts"), &text)?;
        Ok(Self { id, text })
    }
}

/// # Errors
/// INVALID_FIELD that names the field and the limit.
pub(crate) fn check_prompt(field: &str, text: &str) -> Result<(), Failure> {
    if text.contains('\0') {
        return Err(invalid(field, "must not hold the character U+0000"));
    }
    if !text.is_empty() && is_blank(text) {
        return Err(invalid(field, "must hold more than white space"));
    }
    if (1..=PROMPT_BYTES).contains(&text.len()) {
        return Ok(());
    }
    Err(invalid(field, format!("must hold 1 to {PROMPT_BYTES} bytes of text")))
}

impl Asked {
    /// The request that starts the turn, in place of the turn `replaces` if that is not empty. A message with an id is the same
    /// one when it comes again; another answer is a new turn each time. `key` is the client's own idempotency key, if any.
    pub(crate) fn start(self, replaces: &str, key: String) -> StartTurnRequest {
        let derived = match self.intent {
            _ if !key.is_empty() => key,
            Intent::Say | Intent::SayOrEdit if !self.message.is_empty() => {
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
        }
    }
}

/// An idempotency key of its own for every list of texts.
pub(crate) fn key_of(protocol: &str, texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{protocol}:{hex}")
}

#[cfg(test)]
mod tests;
