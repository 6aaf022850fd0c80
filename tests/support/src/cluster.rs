//! A whole cluster for a test: `backlot up` in this process, on free ports, with private engines.

use std::collections::BTreeMap;

use anyhow::Result;
use backlot::{
    role::Role,
    up::{self, RunningCluster},
};
use chassis::{config::Env, testing};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::person::Person;

/// Limits the concurrent clusters of a process. They share a private PostgreSQL with 500 connections, and each may use 48 of them. A test
/// program runs as many tests at a time as the machine has cores.
static PERMITS: Semaphore = Semaphore::const_new(8);

/// A running cluster: its public interfaces, and its databases for comparison.
pub struct Cluster {
    running: RunningCluster,
    _permit: SemaphorePermit<'static>,
    /// `http://127.0.0.1:port` of the gateway.
    pub url: String,
    /// The URL of the metrics of this process.
    pub metrics: String,
    /// gRPC base URLs by service name.
    pub grpc: BTreeMap<String, String>,
    /// The prefix of the four databases.
    pub database: String,
    data: tempfile::TempDir,
}

/// Policies whose limits are never reached.
pub const OPEN_POLICIES: &str = "policies:\n  \
    - { name: agent, limit: 100000, window: 60s, algorithm: gcra }\n  \
    - { name: auth, limit: 100000, window: 15m, algorithm: gcra }\n  \
    - { name: auth-account, limit: 100000, window: 15m, algorithm: gcra }\n  \
    - { name: auth-guess, limit: 100000, window: 15m, algorithm: gcra }\n  \
    - { name: auth-stuffing, limit: 100000, window: 24h, algorithm: gcra }\n  \
    - { name: service-accounts, limit: 100000, window: 24h, algorithm: gcra }\n  \
    - { name: save, limit: 100000, window: 1h, algorithm: gcra }\n  \
    - { name: general, limit: 100000, window: 10s, algorithm: gcra }\n";

impl Cluster {
    /// Starts a cluster with high limits, a fast demo model and cheap password hashes.
    ///
    /// # Errors
    /// If the cluster does not start.
    pub async fn start() -> Result<Self> {
        Self::with(&[]).await
    }

    /// Like [`Cluster::start`], with additional settings. An empty value removes a setting.
    ///
    /// # Errors
    /// If the cluster does not start.
    pub async fn with(settings: &[(&str, &str)]) -> Result<Self> {
        let permit = PERMITS.acquire().await?;
        chassis::install_crypto();
        let data = tempfile::tempdir()?;
        let policies = data.path().join("policies.yaml");
        std::fs::write(&policies, OPEN_POLICIES)?;
        let database = testing::database_url(&format!("c{}", uuid::Uuid::new_v4().simple())).await;
        let mut env: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in [
            ("BACKLOT_LISTEN", "127.0.0.1:0"),
            ("BACKLOT_PREVIEW_LISTEN", "127.0.0.1:0"),
            ("BACKLOT_METRICS_LISTEN", "127.0.0.1:0"),
            ("BACKLOT_GRPC_LISTEN", "127.0.0.1:0"),
            ("BACKLOT_DATA_DIR", &data.path().to_string_lossy()),
            ("BACKLOT_POLICIES", &policies.to_string_lossy()),
            ("BACKLOT_MODEL", "demo/demo"),
            ("BACKLOT_DEMO_PACE", "1ms"),
            ("BACKLOT_ARGON2_MEMORY_KIB", "64"),
            ("BACKLOT_ARGON2_ITERATIONS", "1"),
            ("BACKLOT_INSECURE_HASHES", "1"),
            ("BACKLOT_EDGE_PER_SECOND", "100000"),
            ("BACKLOT_EDGE_BURST", "100000"),
            ("BACKLOT_DRAIN_DELAY", "0s"),
            ("DATABASE_URL", &database),
        ] {
            env.insert(name.to_owned(), value.to_owned());
        }
        for (name, value) in settings {
            if value.is_empty() {
                env.remove(*name)
            } else {
                env.insert((*name).to_owned(), (*value).to_owned())
            };
        }
        let running = up::start(Env::of(env)).await?;
        let named = Role::ALL.into_iter().filter_map(|role| Some((role.name().to_owned(), running.grpc.of(role)?.to_owned())));
        let grpc = named.collect();
        let metrics = running.metrics_url.clone().unwrap_or_default();
        Ok(Self { url: running.url.clone(), metrics, grpc, running, _permit: permit, database, data })
    }

    /// Signs up a new user.
    ///
    /// # Errors
    /// If the sign-up is refused.
    pub async fn person(&self) -> Result<Person> {
        Person::sign_up(&self.url).await
    }

    /// Connects to the database of a service.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn pool(&self, service: &str) -> Result<sqlx::PgPool> {
        pool(&self.database, service).await
    }

    /// The data folder, which contains the cluster secret.
    #[must_use]
    pub fn data_dir(&self) -> &std::path::Path {
        self.data.path()
    }

    /// The mails of the outbox so far, the oldest first.
    #[must_use]
    pub fn mails(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.data_dir().join("outbox")).into_iter().flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "eml")).collect();
        paths.sort();
        paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
    }

    /// Drains and stops the cluster.
    ///
    /// # Errors
    /// Never. A test can end with this call.
    pub async fn stop(self) -> Result<()> {
        self.running.shutdown().await;
        Ok(())
    }
}

/// Connects to the database of a service. `database` is the `DATABASE_URL` of the cluster.
///
/// # Errors
/// If it cannot be reached.
pub async fn pool(database: &str, service: &str) -> Result<sqlx::PgPool> {
    let mut url = url::Url::parse(database)?;
    url.set_path(&format!("{}_{}", url.path(), service.replace('-', "_")));
    Ok(sqlx::PgPool::connect(url.as_str()).await?)
}

/// Renames a table that a sign-in needs, so that each one is an internal error.
///
/// # Errors
/// If the database of auth cannot be reached.
pub async fn break_sign_ins(database: &str) -> Result<()> {
    sqlx::query("ALTER TABLE users RENAME TO users_away").execute(&pool(database, "auth").await?).await?;
    Ok(())
}
