//! `backlot up`: the roles in one process. They call each other with gRPC on loopback ports, as they do in a cluster of many
//! machines.
//!
//! The start checks the data folder ([`folder`]), reads and checks the configuration, locks the folder ([`lock`]), binds all ports
//! ([`listeners`]), starts the private PostgreSQL ([`database`]), starts the roles with each other's addresses ([`parts`]), and writes the
//! list of endpoints ([`endpoints`]).

mod database;
mod endpoints;
mod folder;
mod listeners;
mod lock;
mod parts;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use chassis::{
    config::{Env, Faults, Secret},
    lifecycle, postgres,
    secret::{self, ClusterSecret, ROLE_KEYS},
    telemetry::LogFormat,
};
use tokio::time::{Instant, sleep};

use self::{database::Database, listeners::Listeners, lock::Lock, parts::Parts};
pub use self::{
    endpoints::{Endpoints, Grpc},
    parts::StoppedRole,
};
use crate::{
    health, process,
    role::Role,
    settings::{self, Cluster, Roles},
};

/// How long the start may take until the first request can be served.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The first and the longest pause between two probes of the readiness.
const PROBE_PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// A cluster that can serve requests.
#[derive(Debug)]
pub struct RunningCluster {
    /// Base URL of the gateway: `http://127.0.0.1:8080`.
    pub url: String,
    /// Base URL of its listener for previews.
    pub preview_url: String,
    /// The URL of the metrics, if they are served.
    pub metrics_url: Option<String>,
    /// Base URLs of the services.
    pub grpc: Grpc,
    /// The PostgreSQL server and the prefix of the databases, if one server has all of them.
    pub database_url: Option<Secret>,
    table: String,
    // Fields are dropped in this order.
    parts: Parts,
    database: Option<Database>,
    data_dir: PathBuf,
    _lock: Lock,
}

impl RunningCluster {
    /// Waits until a role ends that was not stopped.
    pub async fn stopped(&mut self) -> StoppedRole {
        self.parts.stopped().await
    }

    /// Stops the cluster in order, within thirty seconds. Acknowledged changes are kept, and running turns are handed over.
    pub async fn shutdown(self) {
        self.parts.drain().await;
        if let Some(database) = self.database {
            database.stop().await;
        }
        Endpoints::remove(&self.data_dir);
    }
}

/// Starts a cluster with these settings. The caller is responsible for telemetry and signals.
///
/// # Errors
/// The environment is invalid ([`Faults`]), the data folder or an address is in use, or a part failed to start.
pub async fn start(env: Env) -> anyhow::Result<RunningCluster> {
    chassis::install_crypto();
    let cluster = checked(&env)?;
    launch(env, cluster).await
}

/// Runs a cluster until a signal stops it.
///
/// # Errors
/// Those of [`start`], or a role failed.
pub fn command(env: Env) -> anyhow::Result<()> {
    let cluster = checked(&env)?;
    let telemetry = cluster.telemetry.clone();
    process::in_runtime(&telemetry, "backlot", run(env, cluster))
}

async fn run(env: Env, cluster: Cluster) -> anyhow::Result<()> {
    let format = cluster.telemetry.log_format;
    let signal = lifecycle::shutdown_on_signal().context("cannot wait for signals")?;
    let Some(launched) = lifecycle::unless_stopped(&signal, launch(env, cluster)).await else { return Ok(()) };
    let mut running = launched?;
    match format {
        // The cluster also serves if the output is closed.
        LogFormat::Pretty => drop(write!(io::stderr(), "\n{}\n", running.table)),
        // A JSON log contains only JSON lines.
        LogFormat::Json => running.table.lines().for_each(|line| tracing::info!("{}", line.trim())),
    }
    let _ = writeln!(io::stdout(), "backlot ready: {}", running.url);
    let failure = tokio::select! {
        () = signal.cancelled() => None,
        stopped = running.stopped() => Some(stopped),
    };
    running.shutdown().await;
    failure.map_or(Ok(()), |stopped| Err(stopped.into()))
}

/// Reads the configuration and reports all faults of all roles at once, before anything is started.
fn checked(env: &Env) -> Result<Cluster, Faults> {
    let mut env = env.clone();
    if let Err(problem) = folder::check(&secret::data_dir(&mut env)) {
        env.fault("BACKLOT_DATA_DIR", problem);
        // Without the folder the secret would be reported as missing, too, which would be misleading.
        env.check()?;
    }
    if settings::lacks_database(&env) {
        env.set_default("DATABASE_URL", database::PLACEHOLDER);
    }
    ClusterSecret::make(&mut env);
    let cluster = Cluster::read(&mut env);
    if env.is_set(ROLE_KEYS) {
        env.fault(ROLE_KEYS, "is for roles that run in separate processes; `backlot up` has the keys of all roles");
    }
    for name in Role::ALL.into_iter().filter_map(Role::url_setting) {
        if env.is_set(name) {
            env.fault(name, "is for roles that run in separate processes; `backlot up` sets the address itself");
        }
    }
    env.known_elsewhere(&settings::of_all());
    env.reject_unknown();
    env.check().map(|()| cluster)
}

async fn launch(env: Env, cluster: Cluster) -> anyhow::Result<RunningCluster> {
    let (data, private) = (cluster.data_dir.clone(), settings::lacks_database(&env));
    let launched = assemble(env, cluster).await;
    launched.map_err(|error| if private { folder::explain(error, &data) } else { error })
}

async fn assemble(mut env: Env, cluster: Cluster) -> anyhow::Result<RunningCluster> {
    let lock = lock::acquire(&cluster.data_dir).await?;
    let listeners = Listeners::bind(&cluster, &listeners::ConfiguredListens::of(&env)).await?;
    let database = if settings::lacks_database(&env) { Some(Database::start(&cluster).await?) } else { None };
    if let Some(database) = &database {
        env.set_default("DATABASE_URL", database.url());
    }
    for (role, address) in listeners.services() {
        if let Some(name) = role.url_setting() {
            env.set_default(name, format!("http://{}", health::reachable(address)));
        }
    }
    let mut roles = Roles::read(&mut env);
    roles.auth.set_default_site(&format!("http://{}", health::reachable(listeners.main.address)));
    let database_url = env.optional("DATABASE_URL", "");
    env.check()?;
    if database.is_none() {
        prepare(&roles).await?;
    }

    let endpoints = Endpoints::of(&listeners);
    let table = endpoints::table(&listeners, &cluster.browser_urls, &rows(&env, &cluster, database.as_ref()));
    let probe = health::reachable(listeners.main.address);
    let mut parts = serve(roles, listeners);
    ready(&mut parts, probe).await?;
    endpoints.write(&cluster.data_dir).with_context(|| format!("cannot write to {}", cluster.data_dir.display()))?;
    let Endpoints { url, preview_url, metrics_url, grpc, .. } = endpoints;
    Ok(RunningCluster {
        url,
        preview_url,
        metrics_url,
        grpc,
        database_url,
        table,
        parts,
        database,
        data_dir: cluster.data_dir,
        _lock: lock,
    })
}

/// Connects to the databases first, so that a database that cannot be used is reported once and not by every role.
async fn prepare(roles: &Roles) -> anyhow::Result<()> {
    let databases = [&roles.auth.postgres, &roles.project_storage.postgres, &roles.agent_streaming.postgres, &roles.compile.postgres];
    for database in databases {
        postgres::prepare(database).await.context("the cluster cannot start")?;
    }
    Ok(())
}

/// Starts all roles at the same time. Each role waits for the roles that it needs.
fn serve(roles: Roles, listeners: Listeners) -> Parts {
    let mut parts = Parts::new();
    let [auth, agent_streaming, project_storage, rate_limit, compile] = listeners.grpc.map(|bound| bound.listener);
    let gateway = gateway::Listeners {
        main: listeners.main.listener,
        preview: listeners.preview.listener,
        metrics: listeners.metrics.map(|bound| bound.listener),
    };
    parts.start(Role::RateLimit, |stop| rate_limit::serve(roles.rate_limit, rate_limit, stop));
    parts.start(Role::Compile, |stop| compile::serve(roles.compile, compile, stop));
    parts.start(Role::Auth, |stop| auth::serve(roles.auth, auth, stop));
    parts.start(Role::ProjectStorage, |stop| project_storage::serve(roles.project_storage, project_storage, stop));
    parts.start(Role::AgentStreaming, |stop| agent_streaming::serve(roles.agent_streaming, agent_streaming, stop));
    parts.start(Role::Gateway, |stop| gateway::serve(roles.gateway, gateway, stop));
    parts
}

/// Waits until the gateway reports that it can serve requests.
async fn ready(parts: &mut Parts, gateway: std::net::SocketAddr) -> anyhow::Result<()> {
    let until = Instant::now() + START_LIMIT;
    let (mut pause, longest) = PROBE_PAUSES;
    let probing = async {
        loop {
            match health::ready(gateway).await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= until => return Err(error.context("the cluster did not become ready")),
                Err(_) => sleep(pause).await,
            }
            pause = longest.min(pause * 3 / 2);
        }
    };
    tokio::select! {
        ready = probing => ready,
        stopped = parts.stopped() => bail!(stopped),
    }
}

/// The lines of the start table without a port.
fn rows(env: &Env, cluster: &Cluster, database: Option<&Database>) -> [(&'static str, String); 3] {
    let database = database.map_or("the server of DATABASE_URL".to_owned(), Database::describe);
    let counters = if env.is_set("REDIS_URL") { "Redis, at REDIS_URL" } else { "in this process (REDIS_URL is not set)" };
    [("database", database), ("counters", counters.to_owned()), ("data folder", cluster.data_dir.display().to_string())]
}
