//! The common parts of the requests of the chat protocols: the last message, its text, and idempotency keys.

use std::fmt;

use proto::text::is_blank;
use serde::{
    Deserialize,
    de::{SeqAccess, Visitor},
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::error::{Failure, invalid};

/// The limit of agent-streaming. It is also checked here, so that the error can name the field of the protocol.
pub(super) const PROMPT_BYTES: usize = 32 * 1024;

/// The last element of a list, with its index. The others are dropped as they are read.
#[derive(Debug, Default)]
pub(super) struct LastMessage(pub(super) Option<(usize, Value)>);

impl<'de> Deserialize<'de> for LastMessage {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_seq(LastMessageVisitor)
    }
}

struct LastMessageVisitor;

impl<'de> Visitor<'de> for LastMessageVisitor {
    type Value = LastMessage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<LastMessage, A::Error> {
        let (mut last, mut at) = (None, 0);
        while let Some(message) = list.next_element::<Value>()? {
            last = Some((at, message));
            at += 1;
        }
        Ok(LastMessage(last))
    }
}

/// The text of a message from its parts. `field` is the path of the list.
///
/// # Errors
/// INVALID_FIELD that names a part that is not text.
pub(super) fn text_of_parts(field: &str, parts: &[Value]) -> Result<String, Failure> {
    let mut texts = Vec::with_capacity(parts.len());
    for (at, part) in parts.iter().enumerate() {
        let part_field = format!("{field}[{at}]");
        match (part["type"].as_str(), part["text"].as_str()) {
            (Some("text"), Some(text)) => texts.push(text),
            (Some("text"), None) => return Err(invalid(&format!("{part_field}.text"), "must be a string")),
            (Some(kind), _) => return Err(invalid(&part_field, format!("a part of type `{kind:.40}` is not supported; only text is"))),
            (None, _) => return Err(invalid(&format!("{part_field}.type"), "must be `text`")),
        }
    }
    Ok(texts.join("\n"))
}

/// # Errors
/// INVALID_FIELD that names the field and the limit.
pub(super) fn check_prompt(field: &str, text: &str) -> Result<(), Failure> {
    if text.contains('\0') {
        return Err(invalid(field, "must not contain the character U+0000"));
    }
    if !text.is_empty() && is_blank(text) {
        return Err(invalid(field, "must contain more than white space"));
    }
    if (1..=PROMPT_BYTES).contains(&text.len()) {
        return Ok(());
    }
    Err(invalid(field, format!("must contain 1 to {PROMPT_BYTES} bytes of text")))
}

/// An idempotency key that is different for different texts.
pub(super) fn key_of(protocol: &str, texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{protocol}:{hex}")
}
