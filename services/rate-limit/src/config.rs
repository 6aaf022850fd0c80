//! The settings of this service.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use chassis::{config::Env, identity::Caller, redis, secret::ClusterSecret, server};

use crate::policy::Policies;

const POLICIES: &str = "BACKLOT_POLICIES";

/// What `serve` needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) server: server::Config,
    /// The shared counters. Without a URL each process counts by itself.
    pub(crate) redis: redis::Config,
    /// How long a check waits for Redis before this process counts by itself. It must be well below the deadlines of the callers.
    pub(crate) redis_timeout: Duration,
    pub(crate) cluster_secret: ClusterSecret,
    /// The service whose keys verify access tokens.
    pub(crate) auth_url: http::Uri,
    /// The shipped policies, with those that the file of `BACKLOT_POLICIES` replaces or adds.
    pub policies: Policies,
    /// How many pairs of policy and subject this process counts. Beyond that it forgets those that would be free soonest.
    pub(crate) max_subjects: usize,
}

impl Config {
    pub fn read(env: &mut Env) -> Self {
        let max_subjects: NonZeroUsize =
            env.get("BACKLOT_RATE_LIMIT_MAX_SUBJECTS", "1000000", "counters that the process keeps, each of about 200 bytes");
        let config = Self {
            server: server::Config::read(env),
            redis: redis::Config::read(env),
            redis_timeout: env.get(
                "BACKLOT_RATE_LIMIT_REDIS_TIMEOUT",
                "100ms",
                "how long a check waits for Redis before the process counts by itself",
            ),
            cluster_secret: ClusterSecret::read(env, Caller::RateLimit),
            auth_url: env.get("BACKLOT_AUTH_URL", "http://127.0.0.1:9090", "where auth listens"),
            policies: policies(env),
            max_subjects: max_subjects.get(),
        };
        env.require_positive([("BACKLOT_RATE_LIMIT_REDIS_TIMEOUT", config.redis_timeout)]);
        config
    }
}

fn policies(env: &mut Env) -> Policies {
    let path: Option<PathBuf> =
        env.optional(POLICIES, "YAML file of rate limits; its policies replace the built-in policies of the same name and add others");
    let Some(path) = path else { return Policies::shipped() };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            env.fault(POLICIES, format!("{} cannot be read: {error}", path.display()));
            return Policies::shipped();
        }
    };
    Policies::shipped().with(&text).unwrap_or_else(|faults| {
        for fault in faults {
            env.fault(POLICIES, format!("{}: {fault}", path.display()));
        }
        Policies::shipped()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_the_file_is_a_fault_of_the_setting() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("limits.yaml");
        std::fs::write(&path, "policies:\n  - {name: a, limit: 0, window: 1s}\n  - {name: b, limit: 1}\n").expect("written");
        let mut env = Env::of([(POLICIES, path.to_str().expect("text"))]);
        assert_eq!(policies(&mut env), Policies::shipped());
        let faults = env.check().expect_err("two").to_string();
        assert_eq!(faults.lines().count(), 2, "{faults}");
        assert!(faults.lines().all(|l| l.starts_with("BACKLOT_POLICIES: ") && l.contains("limits.yaml: policy ")), "{faults}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let mut env = Env::of([(POLICIES, "/nowhere/limits.yaml")]);
        policies(&mut env);
        assert!(env.check().expect_err("missing").to_string().contains("/nowhere/limits.yaml cannot be read"));
    }
}
