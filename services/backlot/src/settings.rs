//! What the commands read from the environment. Each read is the whole list: the same function makes a configuration, its
//! faults and the lines of `--help`.

pub mod listen;
#[cfg(test)]
mod page;

use std::{fmt::Write as _, net::SocketAddr, path::PathBuf};

use chassis::{
    config::{Env, SettingDoc},
    secret, telemetry,
};
use private_postgres::download;

use self::listen::{GRPC_LISTEN, gateway_address};
use crate::{process::Process, role::Role};

/// The databases that `DATABASE_URL` stands for.
const OWN_DATABASES: [&str; 3] =
    ["BACKLOT_AUTH_DATABASE_URL", "BACKLOT_AGENT_STREAMING_DATABASE_URL", "BACKLOT_PROJECT_STORAGE_DATABASE_URL"];

/// What `backlot up` reads besides the settings of the five roles.
#[derive(Debug)]
pub struct Cluster {
    pub main: SocketAddr,
    pub preview: SocketAddr,
    pub metrics: Option<SocketAddr>,
    pub seen: Seen,
    /// The first of four ports; 0 picks four free ones.
    pub grpc: SocketAddr,
    pub data_dir: PathBuf,
    pub download: download::Config,
    pub telemetry: telemetry::Config,
}

/// What browsers see instead of the listeners, where the operator wrote it down.
#[derive(Debug, Default)]
pub struct Seen {
    pub main: Option<String>,
    pub preview: Option<String>,
}

impl Cluster {
    /// Reads the launcher's own settings and, for their faults, those of all roles.
    pub fn read(env: &mut Env) -> Self {
        let main = gateway_address(env);
        let grpc = env.get(
            GRPC_LISTEN,
            "127.0.0.1:9090",
            "where auth listens for gRPC; agent-streaming, project-storage and rate-limit take the next three ports; port 0 picks four free ones",
        );
        let (data_dir, download, telemetry) = (secret::data_dir(env), read_download(env), telemetry::Config::read(env));
        let gateway = Roles::read(env).gateway;
        let (preview, metrics) = (gateway.preview_listen, gateway.metrics_listen.0);
        let seen = Seen { main: gateway.public_url.map(String::from), preview: gateway.preview_url };
        let cluster = Self { main, preview, metrics, seen, grpc, data_dir, download, telemetry };
        if cluster.grpc.port() > u16::MAX - 3 {
            env.fault(GRPC_LISTEN, "must leave room for four ports");
        }
        cluster
    }
}

/// Where the programs of a private PostgreSQL come from when this machine has none, and whether they may.
pub(crate) fn read_download(env: &mut Env) -> download::Config {
    download::Config {
        registry: env.get(
            "BACKLOT_NPM_REGISTRY",
            "https://registry.npmjs.org",
            "npm registry from which PostgreSQL is downloaded if this machine has none",
        ),
        refused: env.get("BACKLOT_NO_DOWNLOAD", "false", "never download PostgreSQL; the start fails if this machine has none"),
    }
}

/// The configurations of the five roles.
pub struct Roles {
    pub auth: auth::Config,
    pub agent_streaming: agent_streaming::Config,
    pub project_storage: project_storage::Config,
    pub rate_limit: rate_limit::Config,
    pub gateway: gateway::Config,
}

impl Roles {
    pub fn read(env: &mut Env) -> Self {
        Self {
            auth: auth::Config::read(env),
            agent_streaming: agent_streaming::Config::read(env),
            project_storage: project_storage::Config::read(env),
            rate_limit: rate_limit::Config::read(env),
            gateway: gateway::Config::read(env),
        }
    }
}

/// Whether `DATABASE_URL`, or all that it stands for, is missing.
#[must_use]
pub fn lacks_database(env: &Env) -> bool {
    !env.is_set("DATABASE_URL") && OWN_DATABASES.iter().any(|name| !env.is_set(name))
}

/// Everything that one role reads.
#[must_use]
pub fn of_role(role: Role) -> Vec<SettingDoc> {
    let mut env = Env::describe();
    drop(Process::read(&mut env, role));
    telemetry::Config::read(&mut env);
    env.settings().to_vec()
}

/// Everything that `backlot up` reads: all roles, less what the launcher finds out itself and what is for roles that run one by one.
#[must_use]
pub fn of_up() -> Vec<SettingDoc> {
    let mut env = Env::describe();
    Cluster::read(&mut env);
    let found = |name: &str| name == secret::ROLE_KEYS || Role::ALL.iter().any(|role| role.url_setting() == Some(name));
    env.settings().iter().filter(|doc| !found(&doc.name)).cloned().collect()
}

/// Everything that any command reads, so that one environment file can serve them all.
#[must_use]
pub fn of_all() -> Vec<SettingDoc> {
    Role::ALL.into_iter().flat_map(of_role).chain(of_up()).collect()
}

/// The lines under a command's `--help`.
#[must_use]
pub fn help(settings: &[SettingDoc]) -> String {
    let mut text = "Settings (environment variables):\n".to_owned();
    for doc in settings {
        let default = doc.default.as_deref().or(doc.derived).map(|value| format!(" [default: {value}]")).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}{default}\n          {}", doc.name, doc.help);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where 0 is a choice.
    const ZERO: [&str; 10] = [
        "BACKLOT_DEMO_PACE",           // no pause
        "BACKLOT_DRAIN_DELAY",         // no delay
        "BACKLOT_DRAIN_TIMEOUT",       // nothing goes on after the signal
        "BACKLOT_EDGE_PER_SECOND",     // no guard
        "BACKLOT_HASH_QUEUE",          // nobody waits
        "BACKLOT_INSECURE_HTTP",       // off
        "BACKLOT_READ_PACE",           // any pace
        "BACKLOT_STORAGE_CACHE_BYTES", // no cache
        "BACKLOT_TRACE_RATIO",         // no traces
        "BACKLOT_TRUSTED_HOPS",        // no proxy
    ];

    fn faults(name: &str, value: &str) -> String {
        let base = [("DATABASE_URL", "postgres://db/x"), ("BACKLOT_CLUSTER_SECRET", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7")];
        let mut env = Env::of(base.into_iter().chain([(name, value)]));
        Roles::read(&mut env);
        telemetry::Config::read(&mut env);
        env.check().err().map(|faults| faults.to_string()).unwrap_or_default()
    }

    /// Settings that are a number or a time, with the unit of their default.
    fn measured() -> Vec<(String, String)> {
        let unit = |default: &str| {
            let unit = default.trim_start_matches(|c: char| c.is_ascii_digit());
            (unit != default && matches!(unit, "" | "ms" | "s" | "m" | "h" | "d")).then(|| unit.to_owned())
        };
        let mut found: Vec<_> = of_all().into_iter().filter_map(|doc| Some((doc.name, unit(&doc.default?)?))).collect();
        found.push(("BACKLOT_HASH_THREADS".to_owned(), String::new()));
        found.sort();
        found.dedup();
        found
    }

    #[test]
    fn a_number_or_a_time_that_makes_no_sense_is_refused_with_name_value_and_bounds() {
        let measured = measured();
        assert!(measured.len() > 40, "{measured:?}");
        let unused: Vec<_> = ZERO.iter().filter(|zero| !measured.iter().any(|(name, _)| name == *zero)).collect();
        assert!(unused.is_empty(), "{unused:?}");
        for (name, unit) in measured {
            let allowed = ZERO.contains(&name.as_str());
            for (value, is_fault) in [(format!("0{unit}"), !allowed), (format!("-1{unit}"), true)] {
                let told = faults(&name, &value);
                assert_eq!(!told.is_empty(), is_fault, "{name}={value}: {told}");
                let names_all =
                    told.lines().all(|line| line.starts_with(&format!("{name}: must be ")) && line.ends_with(&format!(", is {value:?}")));
                assert!(names_all, "{name}={value}: {told}");
            }
        }
    }

    #[test]
    fn the_range_of_a_count_begins_where_it_makes_sense() {
        for (name, value, told) in [
            ("BACKLOT_MAX_STEP_CALLS", "-1", "must be a whole number from 1"),
            ("BACKLOT_MAX_STEP_CALLS", "0", "must be a whole number from 1"),
            ("BACKLOT_MAX_STEPS", "0", "must be a whole number from 1 to 4294967295"),
            ("BACKLOT_HASH_THREADS", "-1", "must be a whole number from 1 to 256"),
            ("BACKLOT_SHARE_PERSON", "101", "must be a whole number from 1 to 100"),
            ("BACKLOT_EVENT_RETENTION", "0d", "must be longer than 0s"),
        ] {
            assert_eq!(faults(name, value), format!("{name}: {told}, is {value:?}"));
        }
    }
}
