//! What to say and how to fail, independent of the wire format.

use std::{future::pending, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::sync::watch;

/// Texts and tool inputs are streamed in pieces of this many characters unless the answer says otherwise.
const FRAGMENT_CHARS: usize = 12;

/// One answer of the model: content, end, figures, pace and faults. Built by chaining.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(super) parts: Vec<Part>,
    pub(super) stop: Option<Stop>,
    pub(super) usage: Usage,
    pub(super) pace: Duration,
    pub(super) fragment_chars: usize,
    pub(super) split: Option<usize>,
    pub(super) faults: Vec<(At, Fault)>,
    pub(super) error_at: Option<(usize, Refusal)>,
    pub(super) refusal: Option<Refusal>,
    before_headers: Option<Before>,
}

/// One block of content.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Text(String),
    Reasoning(String),
    /// The input as the JSON text that goes out, which a truncation leaves incomplete.
    Tool {
        name: String,
        input: String,
    },
    /// Sent as it is, as one event.
    Raw(String),
}

/// Where in the answer's body something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// After so many events (SSE frames as the protocol has them) went out whole.
    Event(usize),
    /// After so many bytes.
    Byte(usize),
}

#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// The connection ends.
    Cut,
    /// Nothing more is sent; the connection stays.
    Stall,
    /// Nothing is sent for this long.
    Pause(Duration),
    /// Nothing is sent until the gate opens.
    Hold(Gate),
}

#[derive(Debug, Clone)]
enum Before {
    HangUp,
    Stall,
}

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    EndTurn,
    ToolUse,
    MaxTokens,
    Refusal,
    /// In a provider's own word.
    Word(&'static str),
}

/// The provider's own figures. `input` is everything that went in, cached parts included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub input: u32,
    pub cache_read: u32,
    pub cache_write: u32,
    pub output: u32,
    /// Part of `output`.
    pub reasoning: u32,
}

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub message: String,
    /// Header `retry-after`, in seconds.
    pub retry_after: Option<u32>,
    /// Header `x-should-retry`.
    pub should_retry: Option<bool>,
}

/// Holds an answer until a test lets it go on.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Gate {
    /// Lets every answer pass from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn passed(&self) {
        // The sender lives in `self`, so this ends only by the gate opening.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            stop: None,
            usage: Usage { input: 100, cache_read: 0, cache_write: 0, output: 20, reasoning: 0 },
            pace: Duration::ZERO,
            fragment_chars: FRAGMENT_CHARS,
            split: None,
            faults: Vec::new(),
            error_at: None,
            refusal: None,
            before_headers: None,
        }
    }
}

/// Content.
impl Answer {
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.part(Part::Text(text.into()))
    }

    #[must_use]
    pub fn reasoning(self, text: impl Into<String>) -> Self {
        self.part(Part::Reasoning(text.into()))
    }

    /// A call of a tool with this input.
    #[must_use]
    pub fn tool(self, name: &str, input: Value) -> Self {
        self.tool_text(name, input.to_string())
    }

    /// A call whose input is sent as written, well-formed or not. An empty input stands for a tool without arguments.
    #[must_use]
    pub fn tool_text(self, name: &str, input: impl Into<String>) -> Self {
        self.part(Part::Tool { name: name.to_owned(), input: input.into() })
    }

    /// One event exactly as given, without its closing blank line: a backend's quirk.
    #[must_use]
    pub fn raw(self, event: impl Into<String>) -> Self {
        self.part(Part::Raw(event.into()))
    }

    /// Why the model stopped; by default because of a tool if it called one.
    #[must_use]
    pub fn stop(self, stop: Stop) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// The model ran out of tokens: the last part ends after so many characters, a tool input in the middle of its JSON.
    #[must_use]
    pub fn truncated(mut self, chars: usize) -> Self {
        if let Some(Part::Text(text) | Part::Reasoning(text) | Part::Tool { input: text, .. }) = self.parts.last_mut() {
            *text = text.chars().take(chars).collect();
        }
        self.stop(Stop::MaxTokens)
    }

    #[must_use]
    pub fn usage(self, usage: Usage) -> Self {
        Self { usage, ..self }
    }

    /// Time between events.
    #[must_use]
    pub fn pace(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }

    /// Texts and tool inputs go out in pieces of so many characters.
    #[must_use]
    pub fn fragments(self, chars: usize) -> Self {
        Self { fragment_chars: chars.max(1), ..self }
    }

    fn part(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    pub(super) fn stopped(&self) -> Stop {
        let called = self.parts.iter().any(|p| matches!(p, Part::Tool { .. }));
        self.stop.unwrap_or(if called { Stop::ToolUse } else { Stop::EndTurn })
    }

    /// The pieces in which a text goes out; at least one.
    pub(super) fn pieces(&self, text: &str) -> Vec<String> {
        let chars: Vec<char> = text.chars().collect();
        if chars.is_empty() {
            return vec![String::new()];
        }
        chars.chunks(self.fragment_chars).map(|piece| piece.iter().collect()).collect()
    }
}

/// Faults.
impl Answer {
    /// The body's bytes go out in chunks of at most so many bytes, each of them seen by the client on its own.
    #[must_use]
    pub fn split(self, bytes: usize) -> Self {
        Self { split: Some(bytes.max(1)), ..self }
    }

    /// The connection ends there, without the end that the protocol demands.
    #[must_use]
    pub fn cut_at(self, at: At) -> Self {
        self.fault(at, Fault::Cut)
    }

    /// Nothing is sent from there on, not even a ping; the connection stays.
    #[must_use]
    pub fn stall_at(self, at: At) -> Self {
        self.fault(at, Fault::Stall)
    }

    #[must_use]
    pub fn pause_at(self, at: At, pause: Duration) -> Self {
        self.fault(at, Fault::Pause(pause))
    }

    /// Waits there until the gate opens.
    #[must_use]
    pub fn hold_at(self, at: At, gate: &Gate) -> Self {
        self.fault(at, Fault::Hold(gate.clone()))
    }

    /// An error event inside the 200 after so many events; nothing follows it.
    #[must_use]
    pub fn error_at(self, event: usize, error: Refusal) -> Self {
        Self { error_at: Some((event, error)), ..self }
    }

    /// The connection ends before any answer.
    #[must_use]
    pub fn hang_up() -> Self {
        Self { before_headers: Some(Before::HangUp), ..Self::default() }
    }

    /// No answer ever comes, not even headers.
    #[must_use]
    pub fn silence() -> Self {
        Self { before_headers: Some(Before::Stall), ..Self::default() }
    }

    /// An error instead of an answer.
    #[must_use]
    pub fn refuse(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..Self::default() }
    }

    fn fault(mut self, at: At, fault: Fault) -> Self {
        self.faults.push((at, fault));
        self
    }

    pub(super) async fn before_headers(&self) {
        if matches!(self.before_headers, Some(Before::Stall)) {
            pending::<()>().await;
        }
    }

    pub(super) fn hangs_up(&self) -> bool {
        matches!(self.before_headers, Some(Before::HangUp))
    }
}

impl Refusal {
    fn new(status: u16, message: &str) -> Self {
        Self { status, message: message.to_owned(), retry_after: None, should_retry: None }
    }

    /// 429 with `retry-after` in seconds.
    #[must_use]
    pub fn rate_limited(retry_after: u32) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(429, "this request would exceed your rate limit") }
    }

    /// 529 in Anthropic's protocol, 503 in OpenAI's.
    #[must_use]
    pub fn overloaded() -> Self {
        Self::new(529, "Overloaded")
    }

    /// 500.
    #[must_use]
    pub fn server_error() -> Self {
        Self::new(500, "Internal server error")
    }

    /// 400.
    #[must_use]
    pub fn bad_request(message: &str) -> Self {
        Self::new(400, message)
    }

    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        let after = self.retry_after.map(|seconds| ("retry-after", seconds.to_string()));
        let should = self.should_retry.map(|should| ("x-should-retry", should.to_string()));
        after.into_iter().chain(should).collect()
    }
}
