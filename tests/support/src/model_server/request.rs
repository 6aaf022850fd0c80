//! The request of a client.

use std::time::Instant;

use http::{HeaderMap, Uri, request::Parts};
use serde_json::Value;

/// The wire format of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `POST /v1/messages`
    Anthropic,
    /// `POST /v1/chat/completions`
    OpenAi,
}

impl Protocol {
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        match uri.path() {
            "/v1/messages" => Some(Self::Anthropic),
            "/v1/chat/completions" => Some(Self::OpenAi),
            _ => None,
        }
    }
}

/// A received request.
#[derive(Debug, Clone)]
pub struct Request {
    pub protocol: Protocol,
    pub headers: HeaderMap,
    /// The body; `null` if it was not JSON.
    pub body: Value,
    pub at: Instant,
    /// The error, if the provider would refuse the request.
    pub complaint: Option<String>,
    pub(super) complaint_status: u16,
}

/// The status and the message of a refusal.
pub(super) struct Complaint(pub(super) u16, pub(super) String);

impl Request {
    pub(super) fn read(protocol: Protocol, head: Parts, body: &[u8]) -> Self {
        Self {
            protocol,
            headers: head.headers,
            body: serde_json::from_slice(body).unwrap_or_default(),
            at: Instant::now(),
            complaint: None,
            complaint_status: 400,
        }
    }

    pub(super) fn refuse(&mut self, Complaint(status, text): Complaint) {
        (self.complaint, self.complaint_status) = (Some(text), status);
    }

    /// The value of a header; empty if it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    #[must_use]
    pub fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or_default()
    }

    #[must_use]
    pub fn messages(&self) -> &[Value] {
        self.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// The text of the last user message with text.
    #[must_use]
    pub fn prompt(&self) -> String {
        let texts = self.messages().iter().rev().filter(|m| m["role"] == "user").map(|m| text_of(&m["content"]));
        texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
    }

    /// The number of the requested answer to this prompt, from 1.
    #[must_use]
    pub fn step(&self) -> usize {
        let asked = self.messages().iter().rposition(|m| m["role"] == "user" && !text_of(&m["content"]).is_empty());
        let after = self.messages().iter().skip(asked.unwrap_or_default());
        1 + after.filter(|m| m["role"] == "assistant").count()
    }

    /// The tool results after the last message of the model: the call ids and the texts.
    #[must_use]
    pub fn tool_results(&self) -> Vec<(String, String)> {
        let since = self.messages().iter().rposition(|m| m["role"] == "assistant").map_or(0, |i| i + 1);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut results = Vec::new();
        for message in &self.messages()[since..] {
            if message["role"] == "tool" {
                results.push((text(&message["tool_call_id"]), text_of(&message["content"])));
            }
            for block in message["content"].as_array().into_iter().flatten().filter(|b| b["type"] == "tool_result") {
                results.push((text(&block["tool_use_id"]), text_of(&block["content"])));
            }
        }
        results
    }

    /// The names of the offered tools.
    #[must_use]
    pub fn tools(&self) -> Vec<&str> {
        let tools = self.body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
        tools.iter().filter_map(|t| t["name"].as_str().or(t["function"]["name"].as_str())).collect()
    }
}

/// The text of a content, which is a string or a list of blocks.
pub(super) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks.iter().filter(|b| b["type"] == "text").filter_map(|b| b["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// Whether both providers accept the name of a tool.
pub(super) fn is_valid_tool_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

pub(super) fn require(holds: bool, text: impl FnOnce() -> String) -> Result<(), Complaint> {
    if holds { Ok(()) } else { Err(Complaint(400, text())) }
}
