//! Providers of models behind one interface: a request becomes a stream of events. A provider does not retry a failed request, because
//! a turn logs every attempt; its error says whether a retry may help.
//!
//! Read [`Provider`] first, then [`http`], [`body`] and [`sse`] (bytes to events), [`error_body`] (errors to classes), [`finish`] (the
//! finish reasons), then the providers: [`anthropic`], [`openai`], [`demo`].

mod answer;
pub(crate) mod anthropic;
mod body;
mod calls;
mod config;
#[cfg(test)]
mod conformance;
pub(crate) mod demo;
mod error_body;
mod finish;
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

use chassis::{config::Secret, outbound::Guard};
use futures::stream::BoxStream;
use proto::agent_streaming::Usage;
use serde_json::Value;

pub(crate) use self::config::{BaseUrl, MaxTokensField, ProviderConfig};
use self::http::Http;
use crate::digest::sha256;
pub(crate) use crate::model::message::{AssistantBlock, ModelMessage, ToolResult, ToolSpec};

pub(crate) trait Provider: Send + Sync + 'static {
    /// Requests one answer. The request is sent at the first poll. Dropping the stream closes the connection to the provider.
    fn stream(&self, request: Arc<ModelRequest>) -> BoxStream<'static, Result<ModelEvent, ProviderError>>;
}

/// A request for one answer of a model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModelRequest {
    /// The provider's own name of the model.
    pub model: String,
    pub system: String,
    /// The files of the project, which come before the first message. May be empty.
    pub tree: String,
    pub messages: Vec<ModelMessage>,
    /// How many of the messages come before the request of the turn. They are the same in every step of it.
    pub history: usize,
    /// Always in the same order, because a provider's prompt cache compares bytes.
    pub tools: Vec<&'static ToolSpec>,
    /// The limit of the answer, including reasoning.
    pub max_tokens: u32,
    /// A hint for the provider's prompt cache: requests with the same key are likely to have the same beginning. At most 64 characters.
    pub prompt_key: String,
}

impl ModelRequest {
    /// SHA-256, in hexadecimal, of all that comes before the request of the turn. Requests with the same value have the same bytes there,
    /// because each provider encodes them in the same way.
    pub(crate) fn prefix_hash(&self) -> String {
        let tools: Vec<_> = self.tools.iter().map(|tool| (tool.name, tool.description, &tool.input_schema)).collect();
        let history = self.messages.get(..self.history).unwrap_or(&self.messages);
        let prefix = serde_json::json!([self.model, tools, self.system, self.tree, history]).to_string();
        sha256(prefix)
    }

    /// The ids of all tool calls in the messages, with their opaque values.
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

/// An event of an answer. The ids of blocks and calls are unique within the turn.
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
    /// The call is complete. Input that is not a JSON object is a string, which the tool refuses. A call that the model did not finish
    /// has no such event. `opaque` is a value that only the provider can read and needs back with the call, or null.
    ToolReady {
        call_id: String,
        input: Value,
        opaque: Value,
    },
    /// The usage of this request so far. Replaces the previous value.
    Usage(Usage),
    /// The last event of a complete answer.
    Finished(FinishReason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FinishReason {
    Stop,
    /// The answer was cut at a limit.
    Length,
    ToolCalls,
    /// The model or its provider declined to answer.
    ContentFilter,
}

impl FinishReason {
    /// The `finish_reason` of `step.finished`.
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

/// The class of a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ErrorClass {
    Overloaded,
    RateLimited,
    /// No byte arrived within the idle timeout, or the provider reported a timeout.
    Timeout,
    Connection,
    ServerError,
    InvalidRequest,
    /// The key, its permissions or its account.
    Authentication,
    NotFound,
    /// The answer may be incomplete: its finish reason is unknown.
    Truncated,
    /// The answer has neither text nor a tool call.
    EmptyAnswer,
    /// The response is larger than `max_response_bytes`.
    TooLong,
    /// The stored key that the turn uses was deleted.
    KeyMissing,
}

impl ErrorClass {
    /// The `error_class` of `attempt.failed`.
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
            Self::KeyMissing => "key_missing",
        }
    }
}

/// Why a request has no complete answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ProviderError {
    pub class: ErrorClass,
    /// One sentence for users. Contains no secret, and at most 500 characters of the provider's text.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// The pause that the provider asked for.
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
            | ErrorClass::TooLong
            | ErrorClass::KeyMissing => false,
        };
        Self { class, message: message.into(), retryable, retry_after: None }
    }

    /// The pause before the next attempt: the one that the provider asked for, or 0.5 s doubled per failure up to 8 s, minus up to a
    /// quarter. `failures` counts from 1, `jitter` is 0 to 1.
    #[must_use]
    pub(crate) fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let base = Duration::from_millis(500 << failures.saturating_sub(1).min(4));
        self.retry_after.unwrap_or_else(|| base.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0)))
    }
}

/// A provider for which persons and projects can bring a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Anthropic,
    OpenAi,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Anthropic, Self::OpenAi];

    /// The name before the slash of a model.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The provider's own address.
    pub(crate) fn default_url(self) -> &'static str {
        match self {
            Self::Anthropic => "https://api.anthropic.com/",
            Self::OpenAi => "https://api.openai.com/v1",
        }
    }
}

/// Makes providers for keys that persons have stored. Their addresses are guarded. Cheap to clone.
#[derive(Clone)]
pub(crate) struct GuardedProviders(Arc<Http>);

impl GuardedProviders {
    pub(crate) fn new(config: &ProviderConfig, guard: &Guard) -> Self {
        Self(Arc::new(Http::guarded(config, guard)))
    }

    pub(crate) fn make(&self, kind: Kind, url: BaseUrl, key: &Secret) -> Arc<dyn Provider> {
        match kind {
            Kind::Anthropic => Arc::new(anthropic::Anthropic::new(&self.0, &url, key)),
            Kind::OpenAi => Arc::new(openai::OpenAi::new(&self.0, &url, Some(key), url.max_tokens_field())),
        }
    }
}

/// The providers that this process can reach.
pub(crate) struct Providers {
    by_name: BTreeMap<&'static str, Arc<dyn Provider>>,
    default_model: String,
    small_model: Option<String>,
    large_model: Option<String>,
    selection_model: Option<String>,
    /// The models that turns may use. `None` allows all.
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
                let (url, key) = (&config.openai_url, config.openai_key.as_ref());
                by_name.insert("openai", Arc::new(openai::OpenAi::new(&http, url, key, config.openai_max_tokens_field)));
            }
        }
        Self {
            by_name,
            default_model: config.model.clone(),
            small_model: config.small_model.clone(),
            large_model: config.large_model.clone(),
            selection_model: config.selection_model.clone(),
            allowed: config.models.clone(),
        }
    }

    /// The provider of `provider/model`, and its own name of the model. `None` if the provider is not configured or the model is not
    /// allowed.
    #[must_use]
    pub(crate) fn get(&self, model: &str) -> Option<(Arc<dyn Provider>, String)> {
        let (name, model) = self.parts(model)?;
        Some((Arc::clone(self.by_name.get(name)?), model.to_owned()))
    }

    /// The name of the provider and its own name of the model, if the model is allowed. The provider may not be configured.
    pub(crate) fn parts<'a>(&self, model: &'a str) -> Option<(&'a str, &'a str)> {
        if !model_name::is_valid(model) || self.allowed.as_ref().is_some_and(|allowed| !allowed.iter().any(|name| name == model)) {
            return None;
        }
        model.split_once('/').filter(|(name, model)| !model.is_empty() && (*name != "demo" || *model == "demo"))
    }

    /// The model of agents for simple work. `None` if there is none of its own.
    pub(crate) fn small_model(&self) -> Option<&str> {
        self.small_model.as_deref()
    }

    /// The model of agents for hard work. `None` if there is none of its own.
    pub(crate) fn large_model(&self) -> Option<&str> {
        self.large_model.as_deref()
    }

    /// The model that chooses among agents on a close call.
    pub(crate) fn selection_model(&self) -> Option<&str> {
        self.selection_model.as_deref()
    }

    /// The model of a turn that names none, `provider/model`.
    #[must_use]
    pub(crate) fn default_model(&self) -> &str {
        &self.default_model
    }
}

#[cfg(test)]
mod tests {
    use chassis::config::Env;

    use super::*;
    use crate::workspace::tools;

    fn providers(pairs: &[(&str, &str)]) -> Providers {
        let mut env = Env::of(pairs.iter().copied());
        let config = ProviderConfig::read(&mut env, 1);
        env.check().expect("a valid configuration");
        Providers::new(&config)
    }

    #[test]
    fn only_configured_models_can_be_used() {
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
    fn the_hash_covers_what_comes_before_the_request() {
        let user = |text: &str| ModelMessage::User { text: text.into() };
        let answer = ModelMessage::Assistant { blocks: vec![AssistantBlock::Text("a".into())] };
        let request = ModelRequest {
            model: "m".into(),
            system: "s".into(),
            tree: "t".into(),
            messages: vec![user("1"), answer, user("2")],
            history: 2,
            tools: tools::specs(&["read_file", "list_files"]),
            max_tokens: 9,
            prompt_key: "k".into(),
        };
        let hash = request.prefix_hash();
        let registered = ModelRequest { tools: tools::specs(&["list_files", "read_file"]), ..request.clone() };
        assert_eq!(registered.prefix_hash(), hash, "the order in which an agent names its tools");
        let mut later = ModelRequest { max_tokens: 1, prompt_key: "other".into(), ..request.clone() };
        later.messages.extend([ModelMessage::ToolResults(Vec::new()), user("3")]);
        assert_eq!(later.prefix_hash(), hash, "a later step");
        let other = |change: fn(&mut ModelRequest)| {
            let mut other = request.clone();
            change(&mut other);
            other.prefix_hash()
        };
        for changed in [
            other(|r| r.model.push('x')),
            other(|r| r.system.push('x')),
            other(|r| r.tree.push('x')),
            other(|r| r.history = 3),
            other(|r| r.tools.truncate(1)),
            other(|r| r.messages[0] = ModelMessage::User { text: "x".into() }),
        ] {
            assert_ne!(changed, hash);
        }
        let bare = ModelRequest { tools: Vec::new(), ..request };
        // The same on every machine, at every time and in every locale.
        assert_eq!(bare.prefix_hash(), sha256(r#"["m",[],"s","t",[{"user":{"text":"1"}},{"assistant":{"blocks":[{"text":"a"}]}}]]"#));
    }

    #[test]
    fn delays_double_to_eight_seconds_unless_the_provider_asks_for_another() {
        let error = ProviderError::new(ErrorClass::Overloaded, "x");
        let delays: Vec<_> = (1..=7).map(|n| error.delay(n, 0.0).as_millis()).collect();
        assert_eq!(delays, [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
        assert_eq!(error.delay(1, 1.0).as_millis(), 375);
        let error = ProviderError { retry_after: Some(Duration::from_millis(1_234)), ..error };
        assert_eq!(error.delay(6, 0.5).as_millis(), 1_234);
    }
}
