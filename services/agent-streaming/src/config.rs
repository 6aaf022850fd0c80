//! The settings of this service.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use chassis::{config::Env, identity::Caller, outbound::Guard, postgres, redis, secret::ClusterSecret, server};

use crate::{error::SERVICE, model::agents::Agents, model::provider::ProviderConfig, workspace::tools::policy};

#[derive(Debug, Clone)]
pub struct Config {
    /// The database of turns and events.
    pub postgres: postgres::Config,
    /// Carries the doorbell between replicas. Without it there can be only one replica.
    pub redis: redis::Config,
    /// The gRPC server.
    pub server: server::Config,
    /// Authenticates calls between services.
    pub cluster_secret: ClusterSecret,
    /// `BACKLOT_AUTH_URL`.
    pub auth_url: http::Uri,
    /// `BACKLOT_PROJECT_STORAGE_URL`.
    pub project_storage_url: http::Uri,
    /// `BACKLOT_RATE_LIMIT_URL`.
    pub rate_limit_url: http::Uri,
    /// `BACKLOT_COMPILE_URL`. Without the role, files are not checked.
    pub compile_url: http::Uri,
    /// `BACKLOT_COMPILE_BUILD_TIMEOUT`. How long a check takes at most.
    pub build_timeout: Duration,
    /// The providers of models.
    pub providers: ProviderConfig,
    /// The rules for addresses that persons set.
    pub outbound: Guard,
    /// `BACKLOT_AGENTS_DIR`: a folder of agents and skills in addition to the built-in ones.
    pub agents_dir: Option<PathBuf>,
    /// `BACKLOT_TOOLS_DENIED`: tools that no agent gets.
    pub tools_denied: Vec<String>,
    /// `BACKLOT_LEASE`: a turn whose worker is silent for this long is taken over by another worker.
    pub lease: Duration,
    /// `BACKLOT_MAX_TURNS`: the number of turns that one process drives at once.
    pub max_turns: usize,
    /// `BACKLOT_MAX_STEPS`: the number of steps of one turn.
    pub max_steps: u32,
    /// `BACKLOT_MAX_STEP_BYTES`: bytes of text, reasoning and arguments in one answer of the model.
    pub max_step_bytes: usize,
    /// `BACKLOT_MAX_STEP_CALLS`: tool calls in one answer of the model.
    pub max_step_calls: usize,
    /// `BACKLOT_STEP_TIMEOUT`: the longest time that one answer of the model may take.
    pub step_timeout: Duration,
    /// `BACKLOT_MAX_OUTPUT_TOKENS`: tokens of one answer of the model.
    pub max_output_tokens: u32,
    /// `BACKLOT_CONTEXT_TOKENS`: tokens of the files in a prompt: of the list of their paths and of their contents.
    pub context_tokens: u32,
    /// `BACKLOT_CONVERSATION_TOKENS`: tokens of the turns that a prompt has word for word.
    pub conversation_tokens: u32,
    /// `BACKLOT_MODEL_WINDOW_TOKENS`: tokens of a request with its answer.
    pub model_window_tokens: u32,
    /// `BACKLOT_BEGIN_TIMEOUT`: a turn that project-storage has not begun after this time fails.
    pub begin_timeout: Duration,
    /// `BACKLOT_DISCONNECT_GRACE`: a turn with `ON_DISCONNECT_CANCEL` is cancelled when it has had no follower for this long.
    pub disconnect_grace: Duration,
    /// `BACKLOT_EVENT_RETENTION`: how long the events of a turn are kept after its end.
    pub event_retention: Duration,
}

impl Config {
    pub fn read(env: &mut Env) -> Self {
        let lease: Duration =
            env.get("BACKLOT_LEASE", "15s", "a turn whose worker is silent for this long is taken over by another worker");
        if lease < Duration::from_millis(300) {
            env.out_of_bounds("BACKLOT_LEASE", "must be at least 300ms");
        }
        let mut postgres = postgres::Config::read(env, SERVICE);
        // A stuck transaction must not outlive the lease of the turn that it locks.
        postgres.idle_in_transaction = postgres.idle_in_transaction.min(lease / 3);
        let count = |env: &mut Env, name, default, help| env.get::<NonZeroUsize>(name, default, help).get();
        let tokens = |env: &mut Env, name, default, help| env.get::<NonZeroU32>(name, default, help).get();
        let max_step_bytes =
            count(env, "BACKLOT_MAX_STEP_BYTES", "8388608", "bytes of text, reasoning and arguments in one answer of the model");
        let config = Self {
            postgres,
            redis: redis::Config::read(env),
            server: server::Config::read(env),
            cluster_secret: ClusterSecret::read(env, Caller::AgentStreaming),
            auth_url: env.get("BACKLOT_AUTH_URL", "http://127.0.0.1:9090", "where auth listens"),
            project_storage_url: env.get("BACKLOT_PROJECT_STORAGE_URL", "http://127.0.0.1:9092", "where project-storage listens"),
            rate_limit_url: env.get("BACKLOT_RATE_LIMIT_URL", "http://127.0.0.1:9093", "where rate-limit listens"),
            compile_url: env.get("BACKLOT_COMPILE_URL", "http://127.0.0.1:9094", "where compile listens"),
            build_timeout: server::build_timeout(env),
            providers: ProviderConfig::read(env, max_step_bytes),
            outbound: outbound(env),
            agents_dir: env.optional(
                "BACKLOT_AGENTS_DIR",
                "folder of agents and skills (Markdown with front matter) in addition to the built-in ones",
            ),
            tools_denied: env.get("BACKLOT_TOOLS_DENIED", "", "names of tools that no agent gets, separated by commas"),
            lease,
            max_turns: count(env, "BACKLOT_MAX_TURNS", "2048", "turns that one process drives at once"),
            max_steps: env.get::<NonZeroU32>("BACKLOT_MAX_STEPS", "30", "steps (answers of the model) of one turn").get(),
            max_step_bytes,
            max_step_calls: count(env, "BACKLOT_MAX_STEP_CALLS", "200", "tool calls in one answer of the model"),
            step_timeout: env.get("BACKLOT_STEP_TIMEOUT", "15m", "longest time that one answer of the model may take"),
            max_output_tokens: tokens(env, "BACKLOT_MAX_OUTPUT_TOKENS", "16384", "tokens of one answer of the model"),
            context_tokens: tokens(
                env,
                "BACKLOT_CONTEXT_TOKENS",
                "12000",
                "tokens of the files in a prompt: of their paths and their contents",
            ),
            conversation_tokens: tokens(
                env,
                "BACKLOT_CONVERSATION_TOKENS",
                "16000",
                "tokens of the turns that a prompt has word for word; above it the oldest become one line each",
            ),
            model_window_tokens: tokens(env, "BACKLOT_MODEL_WINDOW_TOKENS", "200000", "tokens of a request to a model with its answer"),
            begin_timeout: env.get("BACKLOT_BEGIN_TIMEOUT", "60s", "a turn that project-storage has not begun after this time fails"),
            disconnect_grace: env.get(
                "BACKLOT_DISCONNECT_GRACE",
                "10s",
                "a turn with ON_DISCONNECT_CANCEL is cancelled when it has had no follower for this long",
            ),
            event_retention: env.get("BACKLOT_EVENT_RETENTION", "7d", "how long the events of a turn are kept after its end"),
        };
        config.check(env);
        config
    }

    /// Notes the settings that are invalid together with others, or with what they name.
    fn check(&self, env: &mut Env) {
        env.require_positive([
            ("BACKLOT_STEP_TIMEOUT", self.step_timeout),
            ("BACKLOT_BEGIN_TIMEOUT", self.begin_timeout),
            ("BACKLOT_DISCONNECT_GRACE", self.disconnect_grace),
            ("BACKLOT_EVENT_RETENTION", self.event_retention),
        ]);
        if let Err(problem) = policy::check_denied(&self.tools_denied) {
            env.fault("BACKLOT_TOOLS_DENIED", problem);
        }
        if let Some(dir) = &self.agents_dir
            && let Err(error) = Agents::check(dir)
        {
            env.fault("BACKLOT_AGENTS_DIR", format!("{} cannot be read: {error}", dir.display()));
        }
    }
}

/// The rules for addresses of keys of persons and projects.
fn outbound(env: &mut Env) -> Guard {
    Guard::read(env).restricted_to(env.optional(
        "BACKLOT_PROVIDER_KEY_HOSTS",
        "the only hosts and networks that addresses of keys of persons and projects may name, separated by commas, those of Anthropic and \
         OpenAI too; every public one without it",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_every_invalid_setting() {
        let mut env = Env::of([
            ("DATABASE_URL", "postgres://db/x"),
            ("BACKLOT_LEASE", "1ms"),
            ("BACKLOT_MAX_STEPS", "0"),
            ("BACKLOT_MAX_TURNS", "many"),
            ("BACKLOT_CLUSTER_SECRET", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7"),
        ]);
        Config::read(&mut env);
        let faults = env.check().expect_err("faults").to_string();
        for name in ["BACKLOT_LEASE", "BACKLOT_MAX_STEPS", "BACKLOT_MAX_TURNS"] {
            assert!(faults.contains(name), "{name} in {faults}");
        }
    }

    #[test]
    fn a_list_of_hosts_has_no_urls() {
        let mut env = Env::of([
            ("DATABASE_URL", "postgres://db/x"),
            ("BACKLOT_CLUSTER_SECRET", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7"),
            ("BACKLOT_PROVIDER_KEY_HOSTS", "https://api.openai.com"),
        ]);
        Config::read(&mut env);
        let faults = env.check().expect_err("faults").to_string();
        assert!(faults.starts_with("BACKLOT_PROVIDER_KEY_HOSTS: must be host names"), "{faults}");
    }

    #[test]
    fn a_transaction_does_not_outlive_a_third_of_the_lease() {
        let mut env = Env::of([
            ("DATABASE_URL", "postgres://db/x"),
            ("BACKLOT_LEASE", "1500ms"),
            ("BACKLOT_CLUSTER_SECRET", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7"),
        ]);
        assert_eq!(Config::read(&mut env).postgres.idle_in_transaction, Duration::from_millis(500));
    }
}
