//! The settings of this service; the comments are the reference.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use chassis::{config::Env, identity::Caller, postgres, redis, secret::ClusterSecret, server};

use crate::{error::SERVICE, model::agents::Agents, model::provider::ProviderConfig};

#[derive(Debug, Clone)]
pub struct Config {
    /// The database of turns and events.
    pub database: postgres::Config,
    /// The doorbell between replicas; without it each hears only itself.
    pub redis: redis::Config,
    /// The server, and with its drain time that of running turns.
    pub server: server::Config,
    /// What services know each other by.
    pub cluster_secret: ClusterSecret,
    /// `BACKLOT_AUTH_URL`.
    pub auth_url: http::Uri,
    /// `BACKLOT_PROJECT_STORAGE_URL`.
    pub project_storage_url: http::Uri,
    /// `BACKLOT_RATE_LIMIT_URL`.
    pub rate_limit_url: http::Uri,
    /// Which models can be reached, and how.
    pub providers: ProviderConfig,
    /// `BACKLOT_AGENTS_DIR`: a folder of agents beside those that ship.
    pub agents_dir: Option<PathBuf>,
    /// `BACKLOT_LEASE`: a turn whose owner has not been heard of for this long is taken over.
    pub lease: Duration,
    /// `BACKLOT_MAX_TURNS`: turns that one process drives at once.
    pub max_turns: usize,
    /// `BACKLOT_MAX_STEPS`: answers of the model within one turn.
    pub max_steps: u32,
    /// `BACKLOT_MAX_STEP_BYTES`: text, reasoning and arguments in one answer of the model.
    pub max_step_bytes: usize,
    /// `BACKLOT_MAX_STEP_CALLS`: tool calls in one answer of the model.
    pub max_step_calls: usize,
    /// `BACKLOT_STEP_TIMEOUT`: the longest that one answer of the model may take.
    pub step_timeout: Duration,
    /// `BACKLOT_MAX_OUTPUT_TOKENS`: of one answer of the model.
    pub max_output_tokens: u32,
    /// `BACKLOT_BEGIN_TIMEOUT`: a turn that project-storage has not begun by then fails.
    pub begin_timeout: Duration,
    /// `BACKLOT_DISCONNECT_GRACE`: a turn that is cancelled when nobody follows it waits this long for somebody.
    pub disconnect_grace: Duration,
    /// `BACKLOT_EVENT_RETENTION`: how long a turn's events are kept after its end.
    pub event_retention: Duration,
}

/// A response is longer than what it says: each piece of it comes in a frame of its own.
const FRAMED: usize = 8;
/// Enough for the frames of any short answer.
const SMALLEST_RESPONSE: usize = 1024 * 1024;

impl Config {
    pub fn read(env: &mut Env) -> Self {
        let lease: Duration = env.get("BACKLOT_LEASE", "15s", "a turn whose worker is silent for this long is taken over by another");
        if lease < Duration::from_millis(300) {
            env.out_of_bounds("BACKLOT_LEASE", "must be at least 300ms");
        }
        let mut database = postgres::Config::read(env, SERVICE);
        // A stuck transaction must not outlive the lease of the turn that it locks.
        database.idle_in_transaction = database.idle_in_transaction.min(lease / 3);
        let count = |env: &mut Env, name, default, help| env.get::<NonZeroUsize>(name, default, help).get();
        let mut config = Self {
            database,
            redis: redis::Config::read(env),
            server: server::Config::read(env),
            cluster_secret: ClusterSecret::read(env, Caller::AgentStreaming),
            auth_url: env.get("BACKLOT_AUTH_URL", "http://127.0.0.1:9090", "where auth listens"),
            project_storage_url: env.get("BACKLOT_PROJECT_STORAGE_URL", "http://127.0.0.1:9092", "where project-storage listens"),
            rate_limit_url: env.get("BACKLOT_RATE_LIMIT_URL", "http://127.0.0.1:9093", "where rate-limit listens"),
            providers: ProviderConfig::read(env),
            agents_dir: env.optional("BACKLOT_AGENTS_DIR", "folder of agents (Markdown with front matter) beside those that ship"),
            lease,
            max_turns: count(env, "BACKLOT_MAX_TURNS", "2048", "turns that one process drives at once"),
            max_steps: env.get::<NonZeroU32>("BACKLOT_MAX_STEPS", "30", "answers of the model within one turn").get(),
            max_step_bytes: count(
                env,
                "BACKLOT_MAX_STEP_BYTES",
                "8388608",
                "bytes of text, reasoning and arguments in one answer of the model",
            ),
            max_step_calls: count(env, "BACKLOT_MAX_STEP_CALLS", "200", "tool calls in one answer of the model"),
            step_timeout: env.get("BACKLOT_STEP_TIMEOUT", "15m", "the longest that one answer of the model may take"),
            max_output_tokens: env.get::<NonZeroU32>("BACKLOT_MAX_OUTPUT_TOKENS", "16384", "tokens of one answer of the model").get(),
            begin_timeout: env.get("BACKLOT_BEGIN_TIMEOUT", "60s", "a turn that project-storage has not begun by then fails"),
            disconnect_grace: env.get(
                "BACKLOT_DISCONNECT_GRACE",
                "10s",
                "a turn with onDisconnect CANCEL ends when nobody has followed it for this long",
            ),
            event_retention: env.get("BACKLOT_EVENT_RETENTION", "7d", "how long the events of a turn are kept after its end"),
        };
        config.providers.max_response_bytes = config.max_step_bytes.saturating_mul(FRAMED).max(SMALLEST_RESPONSE);
        env.longer_than_zero([
            ("BACKLOT_STEP_TIMEOUT", config.step_timeout),
            ("BACKLOT_BEGIN_TIMEOUT", config.begin_timeout),
            ("BACKLOT_DISCONNECT_GRACE", config.disconnect_grace),
            ("BACKLOT_EVENT_RETENTION", config.event_retention),
        ]);
        if let Err(faults) = Agents::load(config.agents_dir.as_deref()) {
            env.fault("BACKLOT_AGENTS_DIR", faults.to_string());
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named() {
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
    fn a_transaction_does_not_outlive_a_third_of_the_lease() {
        let mut env = Env::of([
            ("DATABASE_URL", "postgres://db/x"),
            ("BACKLOT_LEASE", "1500ms"),
            ("BACKLOT_CLUSTER_SECRET", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7"),
        ]);
        assert_eq!(Config::read(&mut env).database.idle_in_transaction, Duration::from_millis(500));
    }
}
