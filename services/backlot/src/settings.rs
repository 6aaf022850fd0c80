//! The settings of the commands. The same functions read a configuration, collect its faults and list the settings for `--help`.

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

/// The settings that `DATABASE_URL` replaces.
const OWN_DATABASES: [&str; 4] = [
    "BACKLOT_AUTH_DATABASE_URL",
    "BACKLOT_AGENT_STREAMING_DATABASE_URL",
    "BACKLOT_PROJECT_STORAGE_DATABASE_URL",
    "BACKLOT_COMPILE_DATABASE_URL",
];

/// The settings of `backlot up` besides those of the roles.
#[derive(Debug)]
pub struct Cluster {
    pub main: SocketAddr,
    pub preview: SocketAddr,
    pub metrics: Option<SocketAddr>,
    pub browser_urls: BrowserUrls,
    /// The first of five ports; 0 picks five free ones.
    pub grpc: SocketAddr,
    pub data_dir: PathBuf,
    pub download: download::Config,
    pub telemetry: telemetry::Config,
}

/// The configured URLs that browsers use instead of the addresses of the listeners.
#[derive(Debug, Default)]
pub struct BrowserUrls {
    pub main: Option<String>,
    pub preview: Option<String>,
}

impl Cluster {
    /// Reads the settings of the launcher. It also reads those of all roles, for their faults.
    pub fn read(env: &mut Env) -> Self {
        let main = gateway_address(env);
        let grpc = env.get(
            GRPC_LISTEN,
            "127.0.0.1:9090",
            "where auth listens for gRPC; agent-streaming, project-storage, rate-limit and compile take the next four ports; port 0 picks five free ones",
        );
        let (data_dir, download, telemetry) = (secret::data_dir(env), read_download(env), telemetry::Config::read(env));
        let gateway = Roles::read(env).gateway;
        let (preview, metrics) = (gateway.preview_listen, gateway.metrics_listen.0);
        let browser_urls = BrowserUrls { main: gateway.public_url.map(String::from), preview: gateway.preview_url };
        let cluster = Self { main, preview, metrics, browser_urls, grpc, data_dir, download, telemetry };
        if cluster.grpc.port() > u16::MAX - 4 {
            env.fault(GRPC_LISTEN, "must leave room for five ports");
        }
        cluster
    }
}

/// Whether PostgreSQL may be downloaded if this machine has none, and from where.
pub(crate) fn read_download(env: &mut Env) -> download::Config {
    download::Config {
        registry: env.get::<compile::RegistryUrl>(
            "BACKLOT_NPM_REGISTRY",
            "https://registry.npmjs.org",
            "npm registry, without credentials: of the packages of previews, and of PostgreSQL if this machine has none; `none` for a machine without a network",
        ).0,
        refused: env.get("BACKLOT_NO_DOWNLOAD", "false", "never download PostgreSQL; the start fails if this machine has none"),
    }
}

/// The configurations of the roles.
pub struct Roles {
    pub auth: auth::Config,
    pub agent_streaming: agent_streaming::Config,
    pub project_storage: project_storage::Config,
    pub rate_limit: rate_limit::Config,
    pub compile: compile::Config,
    pub gateway: gateway::Config,
}

impl Roles {
    pub fn read(env: &mut Env) -> Self {
        Self {
            auth: auth::Config::read(env),
            agent_streaming: agent_streaming::Config::read(env),
            project_storage: project_storage::Config::read(env),
            rate_limit: rate_limit::Config::read(env),
            compile: compile::Config::read(env),
            gateway: gateway::Config::read(env),
        }
    }
}

/// Whether neither `DATABASE_URL` nor all settings that it replaces are set.
#[must_use]
pub fn lacks_database(env: &Env) -> bool {
    !env.is_set("DATABASE_URL") && OWN_DATABASES.iter().any(|name| !env.is_set(name))
}

/// All settings of one role.
#[must_use]
pub fn of_role(role: Role) -> Vec<SettingDoc> {
    let mut env = Env::describe();
    drop(Process::read(&mut env, role));
    telemetry::Config::read(&mut env);
    env.settings().to_vec()
}

/// All settings of `backlot up`: those of all roles, without the addresses of roles, which the launcher sets, and without BACKLOT_ROLE_KEYS.
#[must_use]
pub fn of_up() -> Vec<SettingDoc> {
    let mut env = Env::describe();
    Cluster::read(&mut env);
    let is_excluded = |name: &str| name == secret::ROLE_KEYS || Role::ALL.iter().any(|role| role.url_setting() == Some(name));
    env.settings().iter().filter(|doc| !is_excluded(&doc.name)).cloned().collect()
}

/// The settings of all commands, so that all of them can use the same environment file.
#[must_use]
pub fn of_all() -> Vec<SettingDoc> {
    Role::ALL.into_iter().flat_map(of_role).chain(of_up()).collect()
}

/// The lines below the help of a command.
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

    /// Settings for which 0 is valid.
    const ZERO: [&str; 13] = [
        "BACKLOT_DEMO_PACE",           // no pause
        "BACKLOT_DRAIN_DELAY",         // no delay
        "BACKLOT_DRAIN_TIMEOUT",       // calls end with the signal
        "BACKLOT_EDGE_PER_SECOND",     // no edge limit
        "BACKLOT_HASH_QUEUE",          // no password waits
        "BACKLOT_HSTS_SUBDOMAINS",     // off
        "BACKLOT_INSECURE_HASHES",     // off
        "BACKLOT_INSECURE_HTTP",       // off
        "BACKLOT_OBJECT_SWEEP",        // no sweeps
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
    fn with_unit() -> Vec<(String, String)> {
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
    fn an_invalid_number_or_time_is_refused_with_name_value_and_bounds() {
        let settings = with_unit();
        assert!(settings.len() > 40, "{settings:?}");
        let unused: Vec<_> = ZERO.iter().filter(|zero| !settings.iter().any(|(name, _)| name == *zero)).collect();
        assert!(unused.is_empty(), "{unused:?}");
        for (name, unit) in settings {
            let allowed = ZERO.contains(&name.as_str());
            for (value, is_fault) in [(format!("0{unit}"), !allowed), (format!("-1{unit}"), true)] {
                let reported = faults(&name, &value);
                assert_eq!(!reported.is_empty(), is_fault, "{name}={value}: {reported}");
                let names_all = reported
                    .lines()
                    .all(|line| line.starts_with(&format!("{name}: must be ")) && line.ends_with(&format!(", is {value:?}")));
                assert!(names_all, "{name}={value}: {reported}");
            }
        }
    }

    #[test]
    fn a_fault_names_the_range_of_a_number() {
        for (name, value, problem) in [
            ("BACKLOT_MAX_STEP_CALLS", "-1", "must be a whole number from 1"),
            ("BACKLOT_MAX_STEP_CALLS", "0", "must be a whole number from 1"),
            ("BACKLOT_MAX_STEPS", "0", "must be a whole number from 1 to 4294967295"),
            ("BACKLOT_HASH_THREADS", "-1", "must be a whole number from 1 to 256"),
            ("BACKLOT_SHARE_PERSON", "101", "must be a whole number from 1 to 100"),
            ("BACKLOT_EVENT_RETENTION", "0d", "must be longer than 0s"),
        ] {
            assert_eq!(faults(name, value), format!("{name}: {problem}, is {value:?}"));
        }
    }
}
