//! `backlot` in its own process, for tests of kills, exit codes, logs and telemetry.

use std::{
    collections::BTreeMap,
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

/// At least five times the duration of a start on a busy machine with two cores.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The executable, settings and data folder of a process, which can be started repeatedly.
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
    /// The URL of its metrics.
    pub metrics: String,
    /// The gRPC URLs of its services, by their names in camelCase.
    pub grpc: BTreeMap<String, String>,
}

impl Launch {
    /// `executable` must run the commands of `backlot`: `env!("CARGO_BIN_EXE_backlot-under-test")` of a journey, or a harness itself.
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
            ("BACKLOT_INSECURE_HASHES", "1"),
        ];
        let launch = Self { executable: executable.into(), settings: Vec::new(), data: data.to_owned() };
        settings.into_iter().fold(launch, |launch, (name, value)| launch.set(name, value)).set("BACKLOT_DATA_DIR", &data.to_string_lossy())
    }

    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets fixed addresses and returns the address of the metrics, which is that of the gateway if metrics have no listener of their own.
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
            #[allow(clippy::disallowed_methods, reason = "the environment of a shell")]
            if let Ok(value) = std::env::var(name) {
                command.env(name, value);
            }
        }
        command.kill_on_drop(true).stdin(Stdio::null());
        command
    }

    /// Starts `backlot up` and waits until it is ready. The log is `<data>.log`.
    ///
    /// # Errors
    /// If it exits or is not ready in time.
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
            bail!("backlot exited: {}", std::fs::read_to_string(self.log()).unwrap_or_default())
        })
        .await
        .with_context(|| format!("not ready within {START_LIMIT:?}"))??;
        let endpoints: serde_json::Value = serde_json::from_slice(&std::fs::read(self.data.join("endpoints.json"))?)?;
        let metrics = endpoints["metricsUrl"].as_str().unwrap_or_default().to_owned();
        let grpc = serde_json::from_value(endpoints["grpc"].clone()).context("no gRPC addresses")?;
        Ok(Process { child, url, metrics, grpc })
    }

    /// The file with the standard error of all starts.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }
}

impl Process {
    /// The process id.
    ///
    /// # Errors
    /// If the process has exited.
    pub fn id(&self) -> Result<u32> {
        self.child.id().context("the process has exited")
    }

    /// Sends SIGKILL and waits for the exit.
    ///
    /// # Errors
    /// If the process cannot be killed.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Sends SIGTERM and returns the exit code.
    ///
    /// # Errors
    /// If the process does not exit within thirty seconds.
    pub async fn terminate(mut self) -> Result<Option<i32>> {
        let id = self.child.id().context("the process has exited")?;
        Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        Ok(within(Duration::from_secs(30), self.child.wait()).await.context("no exit within 30 s")??.code())
    }
}
