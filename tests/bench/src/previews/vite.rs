//! The baselines: Vite's dev server and `vite build`, from npm packages, on the same files.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::project::Project;
use crate::proc;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vite/server.mjs");
/// For a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// The folder in which bench.sh installs Vite, its plugins, the packages of the projects, and Node.js.
#[derive(Debug, Clone)]
pub(crate) struct Modules(pub(crate) PathBuf);

impl Modules {
    pub(crate) fn find() -> Result<Self> {
        #[allow(clippy::disallowed_methods, reason = "a variable of the scripts, and no setting")]
        let folder = std::env::var_os("BACKLOT_VITE").context("BACKLOT_VITE is not set: deploy/scripts/bench.sh installs Vite")?;
        Ok(Self(folder.into()))
    }

    /// The Node.js of the npm package `node`.
    pub(crate) fn node(&self) -> Command {
        let mut command = Command::new(self.0.join("node_modules/node/bin/node"));
        command.kill_on_drop(true);
        command
    }

    /// How many packages a `package.json` asks for, with those that they depend on, and without those of development.
    pub(crate) fn packages_of(&self, manifest: &[u8]) -> Result<usize> {
        let mut open = dependencies(&serde_json::from_slice(manifest)?);
        let mut packages = BTreeSet::new();
        while let Some(name) = open.pop() {
            if packages.contains(&name) {
                continue;
            }
            let manifest = self.0.join("node_modules").join(&name).join("package.json");
            let manifest = fs::read(&manifest).with_context(|| format!("{} is missing", manifest.display()))?;
            open.extend(dependencies(&serde_json::from_slice(&manifest)?));
            packages.insert(name);
        }
        Ok(packages.len())
    }

    /// Writes a project into a new folder.
    pub(crate) fn project(&self, project: &Project) -> Result<Folder> {
        let whole = tempfile::tempdir()?;
        let folder = Folder { root: whole.path().join("project"), _whole: whole };
        project.write(&folder.root, &self.0)?;
        Ok(folder)
    }

    /// Runs `vite build`.
    pub(crate) async fn build(&self, root: &Path) -> Result<Build> {
        // Not in the project, where Tailwind would read it.
        let output = root.join("../dist");
        let (start, cpu) = (Instant::now(), proc::cpu_of_exited_children(std::process::id()).context("no /proc")?);
        let script = self.0.join("node_modules/vite/bin/vite.js");
        let ran = self
            .node()
            .arg(script)
            .args(["build", "--logLevel", "error", "--outDir", "../dist", "--emptyOutDir"])
            .current_dir(root)
            .stdin(Stdio::null())
            .output();
        let ran = timeout(LIMIT, ran).await.context("vite build")??;
        let time = start.elapsed();
        ensure!(ran.status.success(), "vite build: {}", String::from_utf8_lossy(&ran.stderr));
        let cpu = proc::cpu_of_exited_children(std::process::id()).context("no /proc")?.saturating_sub(cpu);
        Ok(Build { time, cpu: cpu.as_secs_f64(), bytes: bytes_below(&output)? })
    }
}

fn dependencies(manifest: &Value) -> Vec<String> {
    manifest["dependencies"].as_object().into_iter().flat_map(|names| names.keys().cloned()).collect()
}

/// A project on the disk. Dropping it deletes it.
pub(crate) struct Folder {
    root: PathBuf,
    _whole: tempfile::TempDir,
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.root
    }
}

/// A finished `vite build`.
pub(crate) struct Build {
    pub(crate) time: Duration,
    /// CPU seconds.
    pub(crate) cpu: f64,
    /// The bytes of all its files.
    pub(crate) bytes: u64,
}

fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { bytes_below(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

/// A dev server. It stops when it is dropped.
pub(crate) struct DevServer {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) url: String,
}

impl DevServer {
    /// Starts the server on the files of a folder.
    pub(crate) async fn start(modules: &Modules, root: &Path) -> Result<Self> {
        let mut command = modules.node();
        command.args([Path::new(SERVER), &modules.0, root]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("Node.js does not start")?;
        let input = child.stdin.take().context("no input")?;
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let mut server = Self { child, input, lines, url: String::new() };
        server.url = server.expect("ready: ").await?;
        Ok(server)
    }

    /// Answers all modules of the page. Returns their number.
    pub(crate) async fn load(&mut self) -> Result<usize> {
        self.input.write_all(b"load\n").await?;
        Ok(self.expect("loaded ").await?.parse()?)
    }

    /// Writes the edited file, and waits until the server has answered what an open page asks for then. Call [`Self::rest`] before it.
    pub(crate) async fn edit(&mut self, root: &Path, project: &Project) -> Result<()> {
        fs::write(root.join(project.edited), project.edited_text()?)?;
        self.expect("changed").await.map(drop)
    }

    /// Waits until the server watches the file again: it ignores changes within 50 ms of the last one.
    pub(crate) async fn rest(&self) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    /// Waits for a line with this beginning. Returns the rest.
    async fn expect(&mut self, beginning: &str) -> Result<String> {
        let line = async {
            while let Some(line) = self.lines.next_line().await? {
                if let Some(rest) = line.strip_prefix(beginning) {
                    return Ok(rest.to_owned());
                }
            }
            bail!("the dev server has exited")
        };
        timeout(LIMIT, line).await.with_context(|| format!("the dev server has not answered: {beginning}"))?
    }

    /// The CPU time so far, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let id = self.child.id().context("the dev server has exited")?;
        Ok(proc::cpu_with_exited_children(id).context("no /proc")?.as_secs_f64())
    }

    /// The largest resident memory so far, in bytes.
    pub(crate) fn peak(&self) -> Option<f64> {
        proc::peak_of(self.child.id()?)
    }
}
