//! The content and the faults of an answer, independent of the wire format.

use std::{future::pending, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::sync::watch;

/// The default number of characters in a fragment of a text or a tool input.
const FRAGMENT_CHARS: usize = 12;

/// An answer of the model: content, stop reason, usage, pace and faults. The methods add to it.
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
    before_headers: Option<HeaderFault>,
}

/// One block of content.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Text(String),
    Reasoning(String),
    /// The input as JSON text, which a truncation leaves incomplete.
    Tool {
        name: String,
        input: String,
    },
    /// An event that is sent unchanged.
    Raw(String),
}

/// A position in the body of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// After this many complete SSE events.
    Event(usize),
    /// After this many bytes.
    Byte(usize),
}

#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// The connection is closed.
    Cut,
    /// Nothing more is sent, and the connection stays open.
    Stall,
    /// Nothing is sent for this time.
    Pause(Duration),
    /// Nothing is sent until the gate opens.
    Hold(Gate),
}

#[derive(Debug, Clone)]
enum HeaderFault {
    Disconnect,
    Stall,
}

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    EndTurn,
    ToolUse,
    MaxTokens,
    Refusal,
    /// The stop reason of a provider.
    Other(&'static str),
}

/// The token counts of an answer. `input` includes the cached tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub input: u32,
    pub cache_read: u32,
    pub cache_write: u32,
    pub output: u32,
    /// A part of `output`.
    pub reasoning: u32,
}

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub message: String,
    /// Header `retry-after`, in seconds.
    pub retry_after: Option<u32>,
    /// Header `x-should-retry`.
    pub should_retry: Option<bool>,
}

/// Holds answers until the test opens it.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Gate {
    /// Lets all answers pass from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn passed(&self) {
        // `self` owns the sender, so this cannot fail.
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

    /// A call whose input is sent unchanged, whether it is valid JSON or not. An empty input means no arguments.
    #[must_use]
    pub fn tool_text(self, name: &str, input: impl Into<String>) -> Self {
        self.part(Part::Tool { name: name.to_owned(), input: input.into() })
    }

    /// An event that is sent unchanged, without the blank line at its end.
    #[must_use]
    pub fn raw(self, event: impl Into<String>) -> Self {
        self.part(Part::Raw(event.into()))
    }

    /// The stop reason. The default is [`Stop::ToolUse`] if a tool is called, or else [`Stop::EndTurn`].
    #[must_use]
    pub fn stop(self, stop: Stop) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// Truncates the last part after this many characters, with [`Stop::MaxTokens`].
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

    /// The time between two events.
    #[must_use]
    pub fn pace(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }

    /// The number of characters in a fragment of a text or a tool input.
    #[must_use]
    pub fn fragments(self, chars: usize) -> Self {
        Self { fragment_chars: chars.max(1), ..self }
    }

    fn part(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    pub(super) fn stop_reason(&self) -> Stop {
        let called = self.parts.iter().any(|p| matches!(p, Part::Tool { .. }));
        self.stop.unwrap_or(if called { Stop::ToolUse } else { Stop::EndTurn })
    }

    /// The fragments of a text, at least one.
    pub(super) fn fragments_of(&self, text: &str) -> Vec<String> {
        let chars: Vec<char> = text.chars().collect();
        if chars.is_empty() {
            return vec![String::new()];
        }
        chars.chunks(self.fragment_chars).map(|piece| piece.iter().collect()).collect()
    }
}

/// Faults.
impl Answer {
    /// Splits the body into chunks of at most this many bytes, which the client receives one by one.
    #[must_use]
    pub fn split(self, bytes: usize) -> Self {
        Self { split: Some(bytes.max(1)), ..self }
    }

    /// Closes the connection at this position.
    #[must_use]
    pub fn cut_at(self, at: At) -> Self {
        self.fault(at, Fault::Cut)
    }

    /// Sends nothing after this position and keeps the connection open.
    #[must_use]
    pub fn stall_at(self, at: At) -> Self {
        self.fault(at, Fault::Stall)
    }

    #[must_use]
    pub fn pause_at(self, at: At, pause: Duration) -> Self {
        self.fault(at, Fault::Pause(pause))
    }

    /// Waits at this position until the gate is open.
    #[must_use]
    pub fn hold_at(self, at: At, gate: &Gate) -> Self {
        self.fault(at, Fault::Hold(gate.clone()))
    }

    /// Sends an error event after this many events and ends the body. The status is 200.
    #[must_use]
    pub fn error_at(self, event: usize, error: Refusal) -> Self {
        Self { error_at: Some((event, error)), ..self }
    }

    /// Closes the connection without an answer.
    #[must_use]
    pub fn disconnect() -> Self {
        Self { before_headers: Some(HeaderFault::Disconnect), ..Self::default() }
    }

    /// Never sends an answer, not even headers.
    #[must_use]
    pub fn silence() -> Self {
        Self { before_headers: Some(HeaderFault::Stall), ..Self::default() }
    }

    /// An error answer.
    #[must_use]
    pub fn refuse(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..Self::default() }
    }

    fn fault(mut self, at: At, fault: Fault) -> Self {
        self.faults.push((at, fault));
        self
    }

    pub(super) async fn before_headers(&self) {
        if matches!(self.before_headers, Some(HeaderFault::Stall)) {
            pending::<()>().await;
        }
    }

    pub(super) fn disconnects(&self) -> bool {
        matches!(self.before_headers, Some(HeaderFault::Disconnect))
    }
}

impl Refusal {
    fn new(status: u16, message: &str) -> Self {
        Self { status, message: message.to_owned(), retry_after: None, should_retry: None }
    }

    /// Status 429 with `retry-after` in seconds.
    #[must_use]
    pub fn rate_limited(retry_after: u32) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(429, "this request would exceed your rate limit") }
    }

    /// Status 529 for Anthropic, 503 for OpenAI.
    #[must_use]
    pub fn overloaded() -> Self {
        Self::new(529, "Overloaded")
    }

    /// Status 500.
    #[must_use]
    pub fn server_error() -> Self {
        Self::new(500, "Internal server error")
    }

    /// Status 400.
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
