//! The settings of this service.

use std::{num::NonZero, thread::available_parallelism, time::Duration};

use chassis::{
    config::{Env, Setting, Within},
    identity::Caller,
    postgres,
    secret::ClusterSecret,
    server,
};

use crate::{password::Cost, rotation};

/// Who may open an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignUp {
    /// Whoever asks: a new address gets a session at once, a known one is told that it is taken.
    Open,
    /// Only an operator, who shows the cluster's secret.
    Closed,
}

impl Setting for SignUp {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "open" => Ok(Self::Open),
            "closed" => Ok(Self::Closed),
            _ => Err("must be `open` or `closed`".to_owned()),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Config {
    /// Of gRPC: concurrency, reflection, drain.
    pub server: server::Config,
    /// The service's own database.
    pub postgres: postgres::Config,
    /// Signs caller tokens and seals the signing keys at rest.
    pub cluster_secret: ClusterSecret,
    /// Where attempts are counted.
    pub rate_limit_url: http::Uri,
    /// `BACKLOT_SIGNUP`.
    pub sign_up: SignUp,
    /// How hard new password hashes are; weaker ones are replaced when their owner signs in.
    pub hash_cost: Cost,
    /// Passwords hashed at once, each in memory of its own.
    pub hash_threads: usize,
    /// Passwords that may wait for a thread; one more is refused with OVERLOADED.
    pub hash_queue: usize,
    /// How long a password may wait for a thread.
    pub hash_wait: Duration,
    /// How long a key signs before the next one takes over.
    pub key_rotation: Duration,
}

impl Config {
    /// Reads the environment; what is wrong with it is recorded there.
    pub fn read(env: &mut Env) -> Self {
        let cores = available_parallelism().map_or(2, NonZero::get);
        let hash_threads: Option<Within<usize, 1, 256>> =
            env.optional("BACKLOT_HASH_THREADS", "passwords hashed at once; default: one per core");
        let config = Self {
            server: server::Config::read(env),
            postgres: postgres::Config::read(env, "auth"),
            cluster_secret: ClusterSecret::read(env, Caller::Auth),
            rate_limit_url: env.get("BACKLOT_RATE_LIMIT_URL", "http://127.0.0.1:9093", "where rate-limit listens"),
            sign_up: env.get(
                "BACKLOT_SIGNUP",
                "open",
                "who may open an account: `open` is everybody, `closed` is operators (`backlot token --for auth`)",
            ),
            hash_cost: Cost {
                memory_kib: env
                    .get::<Within<u32, 8, 4_194_304>>(
                        "BACKLOT_ARGON2_MEMORY_KIB",
                        "19456",
                        "memory of one password hash (Argon2id), in KiB",
                    )
                    .0,
                iterations: env
                    .get::<Within<u32, 1, 100>>("BACKLOT_ARGON2_ITERATIONS", "2", "passes of one password hash over its memory")
                    .0,
            },
            hash_threads: hash_threads.map_or(cores.min(256), |threads| threads.0),
            hash_queue: env
                .get::<Within<usize, 0, 100_000>>(
                    "BACKLOT_HASH_QUEUE",
                    "512",
                    "passwords that may wait to be hashed; more are told to come back",
                )
                .0,
            hash_wait: env.get("BACKLOT_HASH_WAIT", "5s", "how long a password may wait to be hashed"),
            key_rotation: env.get("BACKLOT_KEY_ROTATION", "90d", "how long a key signs access tokens before the next one does"),
        };
        config.check(env);
        config
    }

    fn check(&self, env: &mut Env) {
        env.longer_than_zero([("BACKLOT_HASH_WAIT", self.hash_wait)]);
        let ten_years = 3_650 * rotation::SHORTEST * 24;
        if !(rotation::SHORTEST..=ten_years).contains(&self.rotation_interval()) {
            env.out_of_bounds("BACKLOT_KEY_ROTATION", "must be from 1h to 3650d");
        }
    }

    /// The values as the rules use them.
    #[must_use]
    pub fn rotation_interval(&self) -> time::Duration {
        time::Duration::try_from(self.key_rotation).unwrap_or(time::Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let base = [("BACKLOT_AUTH_DATABASE_URL", "postgres://db/auth"), ("BACKLOT_CLUSTER_SECRET", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7")];
        let mut env = Env::of(base.iter().chain(pairs).copied());
        let config = Config::read(&mut env);
        env.check().map(|()| config).map_err(|faults| faults.to_string())
    }

    #[test]
    fn the_defaults_are_owasps() {
        let config = read(&[]).expect("no faults");
        assert_eq!(config.hash_cost, Cost { memory_kib: 19_456, iterations: 2 });
        assert_eq!(config.sign_up, SignUp::Open);
        assert_eq!(config.rotation_interval(), time::Duration::days(90));
        assert!(config.hash_threads >= 1);
        assert_eq!(read(&[("BACKLOT_SIGNUP", "closed")]).expect("no faults").sign_up, SignUp::Closed);
    }

    #[test]
    fn every_bad_value_is_a_fault() {
        for (name, value) in [
            ("BACKLOT_SIGNUP", "invited"),
            ("BACKLOT_ARGON2_MEMORY_KIB", "7"),
            ("BACKLOT_ARGON2_ITERATIONS", "0"),
            ("BACKLOT_HASH_THREADS", "0"),
            ("BACKLOT_HASH_QUEUE", "100001"),
            ("BACKLOT_HASH_WAIT", "0s"),
            ("BACKLOT_KEY_ROTATION", "59m"),
            ("BACKLOT_KEY_ROTATION", "18446744073709551615s"),
            ("BACKLOT_RATE_LIMIT_URL", "nowhere"),
        ] {
            let faults = read(&[(name, value)]).map(drop).expect_err(name);
            assert!(faults.starts_with(name) && faults.lines().count() == 1, "{faults}");
            assert!(faults.ends_with(&format!(", is {value:?}")) || value == "nowhere", "{faults}");
        }
    }
}
