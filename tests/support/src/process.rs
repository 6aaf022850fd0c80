//! `backlot` in its own process: for kills, exit codes, logs and telemetry.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::canary::within;

/// At least five times what a start takes on a busy machine with two cores.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How a process is started. It can be started many times with the same data.
#[derive(Clone)]
pub struct Launch {
    executable: PathBuf,
    settings: Vec<(String, String)>,
    pub data: PathBuf,
}

/// A running `backlot up`.
pub struct Process {
    child: Child,
    pub url: String,
    /// Where its metrics are.
    pub metrics: String,
}

impl Launch {
    /// `executable` runs the commands of `backlot`: `env!("CARGO_BIN_EXE_backlot-under-test")` of a journey, or the harness itself.
    #[must_use]
    pub fn new(executable: &str, data: &Path) -> Self {
        chassis::install_crypto();
        let settings = [
            ("BACKLOT_LISTEN", "127.0.0.1:0"),
            ("BACKLOT_PREVIEW_LISTEN", "127.0.0.1:0"),
            ("BACKLOT_METRICS_LISTEN", "127.0.0.1:0"),
            ("BACKLOT_GRPC_LISTEN", "127.0.0.1:0"),
            ("BACKLOT_MODEL", "demo/demo"),
            ("BACKLOT_ARGON2_MEMORY_KIB", "64"),
            ("BACKLOT_ARGON2_ITERATIONS", "1"),
        ];
        let launch = Self { executable: executable.into(), settings: Vec::new(), data: data.to_owned() };
        settings.into_iter().fold(launch, |launch, (name, value)| launch.set(name, value)).set("BACKLOT_DATA_DIR", &data.to_string_lossy())
    }

    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Fixes the addresses before the first start and returns the address of the metrics. It is the gateway's, unless metrics have their
    /// own listener.
    ///
    /// # Errors
    /// No port is free.
    pub fn with_metrics(self) -> Result<(Self, SocketAddr)> {
        const LISTEN: &str = "BACKLOT_METRICS_LISTEN";
        let free = || std::net::TcpListener::bind("127.0.0.1:0")?.local_addr();
        let gateway = free()?;
        let launch = self.set("BACKLOT_LISTEN", &gateway.to_string());
        if !backlot::settings::of_all().iter().any(|doc| doc.name == LISTEN) {
            return Ok((launch, gateway));
        }
        let own = free()?;
        Ok((launch.set(LISTEN, &own.to_string()), own))
    }

    /// The command with only these settings in its environment.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.executable);
        command.args(arguments).env_clear().envs(self.settings.iter().cloned());
        for name in ["PATH", "HOME"] {
            #[allow(clippy::disallowed_methods, reason = "what a shell would pass on")]
            if let Ok(value) = std::env::var(name) {
                command.env(name, value);
            }
        }
        command.kill_on_drop(true).stdin(Stdio::null());
        command
    }

    /// Starts `backlot up` and waits for its ready line. Its log goes to `<data>.log`.
    ///
    /// # Errors
    /// If it ends or stays silent.
    pub async fn up(&self) -> Result<Process> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut child = self.command(&["up"]).stdout(Stdio::piped()).stderr(log).spawn().context("backlot does not start")?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let url = within(START_LIMIT, async {
            while let Some(line) = lines.next_line().await? {
                if let Some(url) = line.strip_prefix("backlot ready: ") {
                    return Ok(url.to_owned());
                }
            }
            bail!("backlot ended: {}", std::fs::read_to_string(self.log()).unwrap_or_default())
        })
        .await
        .with_context(|| format!("not ready within {START_LIMIT:?}"))??;
        let endpoints: serde_json::Value = serde_json::from_slice(&std::fs::read(self.data.join("endpoints.json"))?)?;
        let metrics = endpoints["metricsUrl"].as_str().unwrap_or_default().to_owned();
        Ok(Process { child, url, metrics })
    }

    /// Where standard error of every start goes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }
}

impl Process {
    /// Its process id.
    ///
    /// # Errors
    /// If it has ended.
    pub fn id(&self) -> Result<u32> {
        self.child.id().context("it has ended")
    }

    /// SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// If the process cannot be killed.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// SIGTERM, and waits for its exit code.
    ///
    /// # Errors
    /// If it does not end within thirty seconds.
    pub async fn terminate(mut self) -> Result<Option<i32>> {
        let id = self.child.id().context("it has ended already")?;
        Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        Ok(within(Duration::from_secs(30), self.child.wait()).await.context("no exit within 30 s")??.code())
    }
}
