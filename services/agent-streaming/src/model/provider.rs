//! A model behind one interface: a request becomes a stream of events, whoever answers. A provider never retries by itself
//! (a turn logs every attempt); it says whether a retry makes sense.
//!
//! Read [`Provider`] first, then [`http`], [`body`] and [`sse`] (bytes to events), [`said`] (words of errors to classes),
//! [`end`] (which end of an answer is clean), then one dialect each: [`anthropic`], [`openai`], [`demo`].

mod answer;
pub(crate) mod anthropic;
mod body;
mod calls;
mod config;
#[cfg(test)]
mod conformance;
pub(crate) mod demo;
mod end;
mod error_body;
#[cfg(test)]
mod fixture;
mod http;
pub(crate) mod model_name;
pub(crate) mod openai;
pub(crate) mod output_limit;
mod redaction;
pub(crate) mod sse;
#[cfg(test)]
mod wire_tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::stream::BoxStream;
use proto::agent_streaming::Usage;
use serde_json::Value;

pub(crate) use self::config::{BaseUrl, MaxTokensField, ProviderConfig};
use self::http::Http;

/// A model that answers.
pub(crate) trait Provider: Send + Sync + 'static {
    /// One answer. Nothing happens before the first poll; dropping the stream closes the connection to the provider.
    fn stream(&self, request: Arc<ModelRequest>) -> BoxStream<'static, Result<ModelEvent, ProviderError>>;
}

/// One call of a model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModelRequest {
    /// The provider's own name of the model.
    pub model: String,
    pub system: String,
    pub messages: Vec<ModelMessage>,
    /// In a stable order: a provider's prompt cache compares bytes.
    pub tools: Vec<&'static ToolSpec>,
    /// Of the answer, reasoning included.
    pub max_tokens: u32,
    /// What the calls of one turn have in common, as a hint to the provider's prompt cache: the turn's id.
    pub prompt_key: String,
}

impl ModelRequest {
    /// The calls of the turn so far: the id of each, and what its provider wants back with it.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (&str, &Value)> {
        let blocks = self.messages.iter().flat_map(|message| match message {
            ModelMessage::Assistant { blocks } => blocks.as_slice(),
            ModelMessage::User { .. } | ModelMessage::ToolResults(_) => &[],
        });
        blocks.filter_map(|block| match block {
            AssistantBlock::ToolCall { id, opaque, .. } => Some((id.as_str(), opaque)),
            AssistantBlock::Text(_) | AssistantBlock::Reasoning { .. } => None,
        })
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ModelMessage {
    User {
        text: String,
    },
    Assistant {
        blocks: Vec<AssistantBlock>,
    },
    /// The answers to the calls of the message before, all of them.
    ToolResults(Vec<ToolResult>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AssistantBlock {
    Text(String),
    /// `opaque` is what [`ModelEvent::ReasoningFinished`] carried; only the provider that made it reads it. Without it the
    /// block is not sent back.
    Reasoning {
        text: String,
        opaque: Value,
    },
    /// `opaque` is what [`ModelEvent::ToolReady`] carried.
    ToolCall {
        id: String,
        tool: String,
        input: Value,
        opaque: Value,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToolResult {
    pub call_id: String,
    pub content: String,
    pub is_error: bool,
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ToolSpec {
    pub name: &'static str,
    pub description: &'static str,
    pub input_schema: Value,
}

/// What a model says. Blocks and calls are named uniquely within the turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ModelEvent {
    TextStarted {
        block: String,
    },
    TextDelta {
        block: String,
        text: String,
    },
    TextFinished {
        block: String,
    },
    ReasoningStarted {
        block: String,
    },
    ReasoningDelta {
        block: String,
        text: String,
    },
    ReasoningFinished {
        block: String,
        opaque: Value,
    },
    ToolStarted {
        call_id: String,
        tool: String,
    },
    ToolInputDelta {
        call_id: String,
        json: String,
    },
    /// The call is whole. Input that is not a JSON object arrives as a string, for the tool to refuse. A call that the model
    /// did not finish never becomes ready. `opaque` is what only the provider can read and wants back with the call; null if
    /// there is nothing.
    ToolReady {
        call_id: String,
        input: Value,
        opaque: Value,
    },
    /// What this call has used so far; replaces the one before.
    Usage(Usage),
    /// The last event of an answer that is whole.
    Finished(FinishReason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FinishReason {
    Stop,
    /// The answer was cut at a limit.
    Length,
    ToolCalls,
    /// The model or its provider declined.
    ContentFilter,
}

impl FinishReason {
    /// The word of `step.finished`.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
        }
    }
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ErrorClass {
    Overloaded,
    RateLimited,
    /// No byte within the idle time, or the provider said so.
    Timeout,
    Connection,
    ServerError,
    InvalidRequest,
    /// The key, its rights or its account.
    Authentication,
    NotFound,
    /// The answer is not known to be whole: it ended with a word that nobody told us.
    Truncated,
    /// Neither text nor a tool call.
    EmptyAnswer,
    /// The response is larger than any answer within the limits.
    TooLong,
}

impl ErrorClass {
    /// The word of `attempt.failed`.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::ServerError => "server_error",
            Self::InvalidRequest => "invalid_request",
            Self::Authentication => "authentication",
            Self::NotFound => "not_found",
            Self::Truncated => "truncated",
            Self::EmptyAnswer => "empty_answer",
            Self::TooLong => "too_long",
        }
    }
}

/// Why there is no (whole) answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ProviderError {
    pub class: ErrorClass,
    /// One sentence for people; no secret, no more than 500 characters of what the provider wrote.
    pub message: String,
    /// Whether the same call may succeed a moment later.
    pub retryable: bool,
    /// How long the provider asked to wait.
    pub retry_after: Option<Duration>,
}

impl ProviderError {
    pub(crate) fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        let retryable = match class {
            ErrorClass::Overloaded
            | ErrorClass::RateLimited
            | ErrorClass::Timeout
            | ErrorClass::Connection
            | ErrorClass::ServerError
            | ErrorClass::EmptyAnswer => true,
            ErrorClass::InvalidRequest
            | ErrorClass::Authentication
            | ErrorClass::NotFound
            | ErrorClass::Truncated
            | ErrorClass::TooLong => false,
        };
        Self { class, message: message.into(), retryable, retry_after: None }
    }

    /// How long to wait before the next attempt: what the provider asked for, else half a second doubled per failure up to
    /// eight, less up to a quarter. `failures` counts from 1, `jitter` is 0 to 1.
    #[must_use]
    pub(crate) fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let base = Duration::from_millis(500 << failures.saturating_sub(1).min(4));
        self.retry_after.unwrap_or_else(|| base.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0)))
    }
}

/// The providers that this process can reach.
pub(crate) struct Providers {
    by_name: BTreeMap<&'static str, Arc<dyn Provider>>,
    default_model: String,
    /// The only ones that turns may use, if there is a list.
    allowed: Option<Vec<String>>,
}

impl Providers {
    #[must_use]
    pub(crate) fn new(config: &ProviderConfig) -> Self {
        let mut by_name: BTreeMap<&'static str, Arc<dyn Provider>> = BTreeMap::new();
        by_name.insert("demo", Arc::new(demo::Demo::new(config.demo_pace)));
        if config.anthropic_key.is_some() || config.openai_enabled {
            let http = Arc::new(Http::new(config));
            if let Some(key) = &config.anthropic_key {
                by_name.insert("anthropic", Arc::new(anthropic::Anthropic::new(&http, &config.anthropic_url, key)));
            }
            if config.openai_enabled {
                by_name.insert("openai", Arc::new(openai::OpenAi::new(&http, config)));
            }
        }
        Self { by_name, default_model: config.model.clone(), allowed: config.models.clone() }
    }

    /// The provider of `provider/model` and its own name of the model; `None` if this process cannot reach it or turns may not
    /// use it.
    #[must_use]
    pub(crate) fn get(&self, model: &str) -> Option<(Arc<dyn Provider>, String)> {
        if !model_name::is_valid(model) || self.allowed.as_ref().is_some_and(|allowed| !allowed.iter().any(|name| name == model)) {
            return None;
        }
        let (name, model) = model.split_once('/')?;
        if model.is_empty() || (name == "demo" && model != "demo") {
            return None;
        }
        Some((Arc::clone(self.by_name.get(name)?), model.to_owned()))
    }

    /// `provider/model` of a turn that does not ask for one.
    #[must_use]
    pub(crate) fn default_model(&self) -> &str {
        &self.default_model
    }
}

#[cfg(test)]
mod tests {
    use chassis::config::Env;

    use super::*;

    fn providers(pairs: &[(&str, &str)]) -> Providers {
        let mut env = Env::of(pairs.iter().copied());
        let config = ProviderConfig::read(&mut env);
        env.check().expect("a good configuration");
        Providers::new(&config)
    }

    #[test]
    fn only_what_is_configured_can_be_reached() {
        let bare = providers(&[]);
        assert_eq!(bare.default_model(), "demo/demo");
        assert!(bare.get("demo/demo").is_some());
        for model in ["demo/other", "demo/", "demo", "", "anthropic/claude", "openai/gpt", "gemini/x"] {
            assert!(bare.get(model).is_none(), "{model}");
        }
        let both = providers(&[("ANTHROPIC_API_KEY", "k"), ("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1")]);
        assert!(both.default_model().starts_with("anthropic/"));
        assert_eq!(both.get("openai/org/model:7b").map(|(_, model)| model), Some("org/model:7b".into()));
        assert!(both.get("anthropic/claude").is_some());
        assert!(both.get("openai/../../v1/files").is_none());
        let listed = providers(&[
            ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1"),
            ("BACKLOT_MODELS", "openai/a, demo/demo"),
            ("BACKLOT_MODEL", "openai/a"),
        ]);
        assert!(listed.get("openai/a").is_some() && listed.get("demo/demo").is_some() && listed.get("openai/b").is_none());
    }

    #[test]
    fn delays_double_to_eight_seconds_unless_the_provider_says_otherwise() {
        let error = ProviderError::new(ErrorClass::Overloaded, "x");
        let delays: Vec<_> = (1..=7).map(|n| error.delay(n, 0.0).as_millis()).collect();
        assert_eq!(delays, [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
        assert_eq!(error.delay(1, 1.0).as_millis(), 375);
        let told = ProviderError { retry_after: Some(Duration::from_millis(1_234)), ..error };
        assert_eq!(told.delay(6, 0.5).as_millis(), 1_234);
    }
}
