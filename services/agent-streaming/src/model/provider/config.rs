//! The settings of the providers.

use std::{fmt, time::Duration};

use chassis::config::{Env, Secret};
use reqwest::Url;

use super::model_name;

const ANTHROPIC_MODEL: &str = "anthropic/claude-sonnet-5";
/// The newest model that accepts tools over chat completions by default. Newer models accept them only without reasoning;
/// [`super::openai`] turns reasoning off when a model asks for that.
const OPENAI_MODEL: &str = "openai/gpt-5.4";
const DEMO_MODEL: &str = "demo/demo";
/// How `BACKLOT_MODEL` is derived, for the list of settings.
const DEFAULT_MODEL: &str =
    "anthropic/claude-sonnet-5 with ANTHROPIC_API_KEY, else openai/gpt-5.4 with OPENAI_API_KEY or OPENAI_BASE_URL, else demo/demo";
/// The largest ratio of a streamed response to its content: each piece of an answer comes in an event of its own.
const STREAM_OVERHEAD: usize = 8;
/// The smallest limit of a response.
const MIN_RESPONSE_BYTES: usize = 1024 * 1024;

/// The settings of the providers.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// `BACKLOT_MODEL`: the default model, `provider/model`.
    pub model: String,
    /// `BACKLOT_MODEL_SMALL`: the model of agents for simple work. `None` selects the default model.
    pub small_model: Option<String>,
    /// `BACKLOT_MODEL_LARGE`: the model of agents for hard work. `None` selects the default model.
    pub large_model: Option<String>,
    /// `BACKLOT_SELECTION_MODEL`: the model that chooses among agents on a close call. `None` asks no model.
    pub selection_model: Option<String>,
    /// `BACKLOT_MODELS`: the models that turns may use. `None` allows all models of the configured providers.
    pub models: Option<Vec<String>>,
    /// `ANTHROPIC_API_KEY`.
    pub anthropic_key: Option<Secret>,
    /// `ANTHROPIC_BASE_URL`, without `/v1`.
    pub anthropic_url: BaseUrl,
    /// `OPENAI_API_KEY`. Local servers need none.
    pub openai_key: Option<Secret>,
    /// `OPENAI_BASE_URL`, with `/v1`.
    pub openai_url: BaseUrl,
    /// `OPENAI_API_KEY` or `OPENAI_BASE_URL` is set.
    pub openai_enabled: bool,
    /// `BACKLOT_OPENAI_MAX_TOKENS_FIELD`.
    pub openai_max_tokens_field: MaxTokensField,
    /// `BACKLOT_PROVIDER_CONNECT_TIMEOUT`.
    pub connect_timeout: Duration,
    /// `BACKLOT_PROVIDER_IDLE_TIMEOUT`: an answer is stalled if no byte arrives for this long.
    pub idle_timeout: Duration,
    /// The largest response in bytes. Larger than any response whose answer is within `BACKLOT_MAX_STEP_BYTES`.
    pub max_response_bytes: usize,
    /// `BACKLOT_DEMO_PACE`: the time between two events of the demo.
    pub demo_pace: Duration,
}

impl ProviderConfig {
    pub(crate) fn read(env: &mut Env, max_step_bytes: usize) -> Self {
        let model: Option<String> = env.derived(
            "BACKLOT_MODEL",
            DEFAULT_MODEL,
            "the model of turns that do not ask for one: provider/model with provider anthropic, openai or demo",
        );
        let models: Option<Vec<String>> = env.derived(
            "BACKLOT_MODELS",
            "every model of a configured provider",
            "the only models that turns may use: provider/model, separated by commas",
        );
        let anthropic_key: Option<Secret> = env.optional("ANTHROPIC_API_KEY", "key of the Anthropic API");
        let anthropic_url =
            base_url(env, "ANTHROPIC_BASE_URL", "https://api.anthropic.com", "base URL of the Anthropic Messages API, without /v1");
        let openai_key: Option<Secret> = env.optional("OPENAI_API_KEY", "key of the OpenAI API or of a compatible server");
        let openai_enabled = openai_key.is_some() || env.is_set("OPENAI_BASE_URL");
        let openai_url = base_url(
            env,
            "OPENAI_BASE_URL",
            "https://api.openai.com/v1",
            "base URL of the chat completions API, with /v1: OpenAI, Ollama (http://127.0.0.1:11434/v1), vLLM (http://127.0.0.1:8000/v1)",
        );
        let openai_max_tokens_field = max_tokens_field(env, &openai_url);
        let config = Self {
            model: String::new(),
            small_model: env.optional("BACKLOT_MODEL_SMALL", "the model of agents for simple work, such as texts: provider/model"),
            large_model: env.optional("BACKLOT_MODEL_LARGE", "the model of agents for hard work, such as security: provider/model"),
            selection_model: env.optional(
                "BACKLOT_SELECTION_MODEL",
                "the model that chooses the agent of a turn among those that match equally well: provider/model; none takes the default agent",
            ),
            models,
            anthropic_key,
            anthropic_url,
            openai_key,
            openai_url,
            openai_enabled,
            openai_max_tokens_field,
            connect_timeout: env.get("BACKLOT_PROVIDER_CONNECT_TIMEOUT", "10s", "longest wait for a connection to a model provider"),
            idle_timeout: env.get("BACKLOT_PROVIDER_IDLE_TIMEOUT", "90s", "longest wait for the next byte of an answer"),
            max_response_bytes: max_step_bytes.saturating_mul(STREAM_OVERHEAD).max(MIN_RESPONSE_BYTES),
            demo_pace: env.get("BACKLOT_DEMO_PACE", "15ms", "time between two events of the demo model"),
        };
        env.require_positive([
            ("BACKLOT_PROVIDER_IDLE_TIMEOUT", config.idle_timeout),
            ("BACKLOT_PROVIDER_CONNECT_TIMEOUT", config.connect_timeout),
        ]);
        for (name, key) in [("ANTHROPIC_API_KEY", &config.anthropic_key), ("OPENAI_API_KEY", &config.openai_key)] {
            if key.as_ref().is_some_and(|key| !key.expose().bytes().all(|byte| byte.is_ascii_graphic())) {
                env.fault(name, "must be visible ASCII characters without spaces");
            }
        }
        let is_set = model.is_some();
        let model = model.unwrap_or_else(|| config.default_model().to_owned());
        if let Err(problem) = config.check_allowed(&model) {
            let problem = if is_set { problem } else { format!("is not set, and the default {problem}") };
            env.fault("BACKLOT_MODEL", problem);
        }
        config.check_models(env);
        Self { model, ..config }
    }

    /// Records a fault for each model of a setting that turns could not use.
    fn check_models(&self, env: &mut Env) {
        for (name, model) in [
            ("BACKLOT_MODEL_SMALL", &self.small_model),
            ("BACKLOT_MODEL_LARGE", &self.large_model),
            ("BACKLOT_SELECTION_MODEL", &self.selection_model),
        ] {
            if let Some(Err(problem)) = model.as_ref().map(|model| self.check_allowed(model)) {
                env.fault(name, problem);
            }
        }
        for model in self.models.iter().flatten() {
            if let Err(problem) = self.check_reachable(model) {
                env.fault("BACKLOT_MODELS", format!("{model}: {problem}"));
            }
        }
    }

    fn default_model(&self) -> &'static str {
        if self.anthropic_key.is_some() {
            ANTHROPIC_MODEL
        } else if self.openai_enabled {
            OPENAI_MODEL
        } else {
            DEMO_MODEL
        }
    }

    fn check_allowed(&self, model: &str) -> Result<(), String> {
        self.check_reachable(model)?;
        match &self.models {
            Some(models) if !models.iter().any(|listed| listed == model) => {
                Err(format!("{model} is a model that BACKLOT_MODELS does not list"))
            }
            _ => Ok(()),
        }
    }

    fn check_reachable(&self, model: &str) -> Result<(), String> {
        if !model_name::is_valid(model) {
            return Err(model_name::GRAMMAR.to_owned());
        }
        match model.split_once('/') {
            None | Some((_, "")) => Err("must be provider/model".to_owned()),
            Some(("anthropic", _)) if self.anthropic_key.is_none() => Err(format!("names {model}, but ANTHROPIC_API_KEY is not set")),
            Some(("openai", _)) if !self.openai_enabled => {
                Err(format!("names {model}, but neither OPENAI_API_KEY nor OPENAI_BASE_URL is set"))
            }
            Some(("anthropic" | "openai", _) | ("demo", "demo")) => Ok(()),
            Some(("demo", _)) => Err("the only model of provider demo is demo/demo".to_owned()),
            Some((other, _)) => Err(format!("names provider {other:?}; there are anthropic, openai and demo")),
        }
    }
}

fn base_url(env: &mut Env, name: &'static str, default: &str, help: &'static str) -> BaseUrl {
    let url: Url = env.get(name, default, help);
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        env.fault(name, "must begin with http:// or https://");
    }
    BaseUrl(url)
}

fn max_tokens_field(env: &mut Env, url: &BaseUrl) -> MaxTokensField {
    let name = "BACKLOT_OPENAI_MAX_TOKENS_FIELD";
    let help =
        "field of chat completions that limits an answer: max_tokens, max_completion_tokens, or auto (the second for api.openai.com)";
    let word: String = env.get(name, "auto", help);
    match word.as_str() {
        "max_tokens" => MaxTokensField::MaxTokens,
        "max_completion_tokens" => MaxTokensField::MaxCompletionTokens,
        "auto" => url.max_tokens_field(),
        _ => {
            env.fault(name, "must be auto, max_tokens or max_completion_tokens");
            MaxTokensField::MaxTokens
        }
    }
}

/// The field of a chat completions request that limits the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxTokensField {
    MaxTokens,
    MaxCompletionTokens,
}

/// The base URL of a provider. `Debug` omits credentials in it.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// Appends a path, with exactly one slash in between.
    pub(super) fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}/{}", self.0.path().trim_end_matches('/'), path.trim_start_matches('/')));
        url
    }

    pub(crate) fn new(url: Url) -> Self {
        Self(url)
    }

    /// The field of the server that limits an answer.
    pub(super) fn max_tokens_field(&self) -> MaxTokensField {
        if self.is_openai() { MaxTokensField::MaxCompletionTokens } else { MaxTokensField::MaxTokens }
    }

    pub(super) fn is_openai(&self) -> bool {
        self.0.host_str() == Some("api.openai.com")
    }

    /// The password in the URL.
    pub(super) fn password(&self) -> Option<&str> {
        self.0.password()
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.0.scheme(), self.0.host_str().unwrap_or_default(), self.0.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (ProviderConfig, Result<(), String>) {
        let mut env = Env::of(pairs.iter().copied());
        let config = ProviderConfig::read(&mut env, 1);
        (config, env.check().map_err(|faults| faults.to_string()))
    }

    #[test]
    fn the_default_model_follows_the_keys() {
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[], DEMO_MODEL),
            (&[("OPENAI_API_KEY", "k")], OPENAI_MODEL),
            (&[("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")], OPENAI_MODEL),
            (&[("OPENAI_API_KEY", "k"), ("ANTHROPIC_API_KEY", "k")], ANTHROPIC_MODEL),
            (&[("ANTHROPIC_API_KEY", "k"), ("BACKLOT_MODEL", "demo/demo")], DEMO_MODEL),
        ];
        for (pairs, model) in cases {
            let (config, check) = read(pairs);
            assert_eq!((config.model.as_str(), check), (model, Ok(())), "{pairs:?}");
        }
        assert!([ANTHROPIC_MODEL, OPENAI_MODEL, DEMO_MODEL].iter().all(|model| DEFAULT_MODEL.contains(model)), "{DEFAULT_MODEL}");
    }

    #[test]
    fn a_model_that_cannot_be_reached_stops_the_start() {
        for (model, word) in [
            ("anthropic/claude-sonnet-5", "ANTHROPIC_API_KEY"),
            ("openai/gpt", "OPENAI_API_KEY"),
            ("gemini/x", "gemini"),
            ("demo/other", "demo/demo"),
            ("claude", "provider/model"),
            ("openai/", "provider/model"),
            ("openai/../x", "provider/model"),
        ] {
            let problem = read(&[("BACKLOT_MODEL", model)]).1.expect_err(model);
            assert!(problem.starts_with("BACKLOT_MODEL: ") && problem.contains(word), "{problem}");
        }
    }

    #[test]
    fn a_list_of_models_is_checked_at_the_start() {
        let check =
            |list: &str| read(&[("OPENAI_BASE_URL", "http://127.0.0.1:1/v1"), ("BACKLOT_MODELS", list), ("BACKLOT_MODEL", "openai/a")]).1;
        assert_eq!(check("openai/a,demo/demo"), Ok(()));
        for (list, word) in [
            ("openai/b", "BACKLOT_MODELS does not list"),
            ("openai/a,anthropic/x", "ANTHROPIC_API_KEY"),
            ("openai/a,x y", "provider/model"),
        ] {
            assert!(check(list).expect_err(list).contains(word), "{list}");
        }
    }

    #[test]
    fn the_max_tokens_field_follows_the_host_unless_it_is_set() {
        use MaxTokensField::{MaxCompletionTokens, MaxTokens};
        let cases: [(&[(&str, &str)], MaxTokensField); 4] = [
            (&[], MaxCompletionTokens),
            (&[("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1")], MaxTokens),
            (
                &[("OPENAI_BASE_URL", "http://127.0.0.1:1/v1"), ("BACKLOT_OPENAI_MAX_TOKENS_FIELD", "max_completion_tokens")],
                MaxCompletionTokens,
            ),
            (&[("BACKLOT_OPENAI_MAX_TOKENS_FIELD", "max_tokens")], MaxTokens),
        ];
        for (pairs, field) in cases {
            assert_eq!(read(pairs).0.openai_max_tokens_field, field, "{pairs:?}");
        }
        assert!(read(&[("BACKLOT_OPENAI_MAX_TOKENS_FIELD", "x")]).1.is_err());
        assert!(read(&[("OPENAI_BASE_URL", "ftp://x/v1")]).1.is_err());
        assert!(read(&[("BACKLOT_PROVIDER_IDLE_TIMEOUT", "0s")]).1.is_err());
        assert!(read(&[("OPENAI_API_KEY", "a b")]).1.is_err_and(|problem| !problem.contains("a b")));
    }

    #[test]
    fn debug_shows_no_secret() {
        let (config, _) = read(&[
            ("OPENAI_API_KEY", "hunter2"),
            ("ANTHROPIC_API_KEY", "hunter2"),
            ("OPENAI_BASE_URL", "http://me:hunter2@host/v1?key=hunter2"),
        ]);
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && shown.contains("http://host/v1"), "{shown}");
    }

    #[test]
    fn paths_join_with_one_slash() {
        for base in ["http://h/v1", "http://h/v1/"] {
            assert_eq!(BaseUrl(base.parse().unwrap()).join("/chat/completions").as_str(), "http://h/v1/chat/completions");
        }
        assert_eq!(BaseUrl("http://h".parse().unwrap()).join("v1/messages").as_str(), "http://h/v1/messages");
    }
}
