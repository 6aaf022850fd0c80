//! The environment of the measurements: PostgreSQL with fsync, Redis, and the measured processes.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use backlot::up::{Endpoints, Grpc};
use chassis::{
    secret::ClusterSecret,
    task,
    testing::{self, TestRedis},
};
use private_postgres::{Options, PrivatePostgres};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool};
use test_support::{Person, process::Launch};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::timeout,
};

const START_LIMIT: Duration = Duration::from_secs(60);
/// The name of the database of the baselines.
const BASELINE: &str = "bench_baseline";

/// Limits that are never reached, with the shipped algorithms.
pub(crate) const POLICIES: &str = "policies:\n  \
    - { name: agent, limit: 10000, window: 60s }\n  \
    - { name: auth, limit: 10000, window: 15m }\n  \
    - { name: auth-account, limit: 10000, window: 15m }\n  \
    - { name: auth-guess, limit: 10000, window: 15m }\n  \
    - { name: auth-stuffing, limit: 10000, window: 24h }\n  \
    - { name: save, limit: 10000, window: 1h }\n  \
    - { name: general, limit: 10000, window: 1s }\n";

/// The engines and the settings of a run.
pub(crate) struct Environment {
    postgres: PrivatePostgres,
    postmaster: u32,
    pub(crate) redis: TestRedis,
    secret: String,
    folder: tempfile::TempDir,
}

impl Environment {
    pub(crate) async fn prepare() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let postgres_folder = folder.path().join("postgres");
        make_accessible(folder.path())?;
        std::fs::write(folder.path().join("policies.yaml"), POLICIES)?;
        let start = move || {
            let postgres = PrivatePostgres::start(&postgres_folder, Options::default())?;
            let pid = std::fs::read_to_string(postgres_folder.join("data/postmaster.pid"))?;
            anyhow::Ok((postgres, pid.lines().next().unwrap_or_default().trim().parse()?))
        };
        let (postgres, postmaster) = task::blocking(start).await?.context("a private PostgreSQL")?;
        let mut admin = PgConnection::connect(&postgres.url("postgres")).await?;
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {BASELINE}"))).await?;
        admin.close().await?;
        let secret = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        Ok(Self { postgres, postmaster, redis: testing::redis().await, secret, folder })
    }

    /// The cluster secret.
    pub(crate) fn secret(&self) -> ClusterSecret {
        ClusterSecret::of_bytes(self.secret.as_bytes())
    }

    /// The URL of the database of the baselines.
    pub(crate) fn baseline_url(&self) -> String {
        self.postgres.url(BASELINE)
    }

    /// The URL of a database, which the cluster or role with this name creates.
    pub(crate) fn url(&self, name: &str) -> String {
        self.postgres.url(name)
    }

    /// The data folder of the cluster with this name.
    pub(crate) fn data(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// The CPU time of PostgreSQL so far.
    pub(crate) fn postgres_cpu(&self) -> Option<Duration> {
        crate::proc::cpu_of_postgres(self.postmaster)
    }

    /// A launch of this executable with these settings and the common ones.
    fn launch<V: AsRef<str>>(&self, name: &str, settings: &[(&str, V)]) -> Result<Launch> {
        let executable = std::env::current_exe()?;
        let launch = Launch::new(&executable.to_string_lossy(), &self.folder.path().join(name))
            .set("BACKLOT_CLUSTER_SECRET", &self.secret)
            .set("BACKLOT_POLICIES", &self.folder.path().join("policies.yaml").to_string_lossy())
            .set("BACKLOT_ACCOUNT_PROJECTS", "1000000")
            .set("BACKLOT_ACCOUNT_BYTES", "1000000000000")
            .set("BACKLOT_EDGE_PER_SECOND", "100000")
            .set("BACKLOT_EDGE_BURST", "100000")
            .set("BACKLOT_MAX_STREAMS_PER_USER", "1000")
            .set("BACKLOT_STREAM_OPENINGS", "1000000");
        Ok(settings.iter().fold(launch, |launch, (name, value)| launch.set(name, value.as_ref())))
    }

    /// Starts a cluster in one process. It uses the model server of the bench, and `name` is the prefix of its databases.
    pub(crate) async fn cluster(&self, name: &str, upstream: &str, more: &[(&str, &str)]) -> Result<Cluster> {
        let launch = self.launch(name, &self.model(name, upstream))?;
        let launch = more.iter().fold(launch, |launch, (name, value)| launch.set(name, value));
        let process = Process::start(launch.command(&["up"]), &launch, "backlot ready: ").await?;
        let endpoints = std::fs::read_to_string(launch.data.join("endpoints.json")).context("endpoints.json")?;
        let endpoints: Endpoints = serde_json::from_str(&endpoints)?;
        let person = Person::sign_up(&process.url).await?;
        let database = PgPool::connect(&self.postgres.url(&format!("{name}_project_storage"))).await?;
        let metrics = endpoints.metrics_url.context("no metrics")?;
        Ok(Cluster { process, person, metrics, grpc: endpoints.grpc, secret: self.secret(), database })
    }

    /// Starts another replica of agent-streaming for a cluster.
    pub(crate) async fn replica(&self, name: &str, of: (&str, &Grpc), upstream: &str, more: &[(&str, &str)]) -> Result<Process> {
        let (cluster, grpc) = of;
        let addresses = [
            ("BACKLOT_AUTH_URL", grpc.auth.clone()),
            ("BACKLOT_PROJECT_STORAGE_URL", grpc.project_storage.clone()),
            ("BACKLOT_RATE_LIMIT_URL", grpc.rate_limit.clone()),
        ];
        let settings: Vec<_> = self.model(cluster, upstream).into_iter().chain(addresses).collect();
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).chain(more.iter().copied()).collect();
        self.role(name, "agent-streaming", &settings).await
    }

    fn model(&self, cluster: &str, upstream: &str) -> Vec<(&'static str, String)> {
        vec![
            ("DATABASE_URL", self.postgres.url(cluster)),
            ("BACKLOT_MODEL", "anthropic/bench".to_owned()),
            ("ANTHROPIC_API_KEY", "bench".to_owned()),
            ("ANTHROPIC_BASE_URL", upstream.to_owned()),
        ]
    }

    /// Starts one role on a free port and waits until it accepts connections.
    pub(crate) async fn role(&self, name: &str, role: &str, settings: &[(&str, &str)]) -> Result<Process> {
        // Another process could take the port meanwhile. Then the role exits with an error.
        let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let launch = self.launch(name, settings)?.set("BACKLOT_GRPC_LISTEN", &address.to_string());
        let mut child = spawn(launch.command(&[role]), &launch)?;
        let connected = async {
            while TcpStream::connect(address).await.is_err() {
                if child.try_wait()?.is_some() {
                    bail!("{name} exited: {}", log(&launch));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        timeout(START_LIMIT, connected).await.with_context(|| format!("{name} does not listen"))??;
        Process::of(child, format!("http://{address}"))
    }

    /// Starts a baseline in its own process.
    pub(crate) async fn helper(&self, arguments: &[&str]) -> Result<Process> {
        let launch = self.launch::<&str>(arguments[0], &[])?;
        Process::start(launch.command(arguments), &launch, "ready: ").await
    }
}

/// A running cluster and a user.
pub(crate) struct Cluster {
    pub(crate) process: Process,
    pub(crate) person: Person,
    /// The URL of its metrics.
    pub(crate) metrics: String,
    pub(crate) grpc: Grpc,
    /// The cluster secret.
    pub(crate) secret: ClusterSecret,
    /// The database of project-storage.
    pub(crate) database: PgPool,
}

/// A measured process. Dropping it kills the process.
pub(crate) struct Process {
    child: Child,
    pid: u32,
    pub(crate) url: String,
}

impl Process {
    /// Starts the process and waits for a line of `ready` followed by the URL.
    async fn start(command: Command, launch: &Launch, ready: &str) -> Result<Self> {
        let mut child = spawn(command, launch)?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let url = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(url) = line.strip_prefix(ready) {
                    return Ok(url.to_owned());
                }
            }
            bail!("the process exited: {}", log(launch))
        };
        let url = timeout(START_LIMIT, url).await.context("not ready in time")??;
        Self::of(child, url)
    }

    fn of(child: Child, url: String) -> Result<Self> {
        let pid = child.id().context("the process has exited")?;
        Ok(Self { child, pid, url })
    }

    pub(crate) fn id(&self) -> u32 {
        self.pid
    }

    /// The CPU time of the process so far.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        crate::proc::cpu_of(self.pid)
    }

    /// The resident memory in bytes.
    pub(crate) fn memory(&self) -> Option<f64> {
        crate::proc::memory_of(self.pid)
    }

    /// Sends SIGKILL and waits for the exit.
    pub(crate) async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

fn spawn(mut command: Command, launch: &Launch) -> Result<Child> {
    let log = std::fs::File::create(launch.log())?;
    Ok(command.stdout(Stdio::piped()).stderr(log).spawn()?)
}

fn log(launch: &Launch) -> String {
    std::fs::read_to_string(launch.log()).unwrap_or_default()
}

/// Lets the user of PostgreSQL enter the folder if this process is root.
fn make_accessible(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711))?)
}

/// Prints progress to standard error.
pub(crate) fn progress(text: &str) {
    eprintln!("bench: {text}");
}
