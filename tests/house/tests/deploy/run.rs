//! `make run` with stubs of cargo and of the cluster: the cluster starts before the compiler of previews is built, and ends its build.

use std::{fs, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use house::root;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
};

use crate::scripts::programs;

/// Builds the cluster at once. The build of the compiler waits in a process of its own for the status that it ends with.
const CARGO: &str = r#"mkdir -p "$CARGO_TARGET_DIR/debug"
case "$*" in
*"--bin backlot") cp "$STUBS/cluster" "$CARGO_TARGET_DIR/debug/backlot" ;;
*) sh -c 'read -r status < "$STUBS/built"; exit "$status"' || { echo "error: a stub" >&2; exit 101; }
   cp "$STUBS/cluster" "$CARGO_TARGET_DIR/debug/backlot-compiler" ;;
esac"#;
/// Serves until it gets the status that it ends with.
const CLUSTER: &str = r#"echo "backlot ready: a stub"
read -r status < "$STUBS/stopped"
exit "$status""#;

/// A run of the script. It ends when this is dropped.
struct Run {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
    stubs: TempDir,
}

impl Run {
    /// Starts the script with an executable of the compiler, for which a new one is announced after so many seconds; `None`: without one.
    async fn start(announce_after: Option<u32>) -> Result<Self> {
        let stubs = programs(&[("cargo", CARGO), ("cc", "exit 0"), ("cluster", CLUSTER)])?;
        let folder = stubs.path();
        let made = Command::new("mkfifo").args(["built", "stopped"].map(|name| folder.join(name))).status().await?;
        ensure!(made.success(), "mkfifo: {made}");
        if announce_after.is_some() {
            fs::create_dir_all(folder.join("target/debug"))?;
            fs::copy(folder.join("cluster"), folder.join("target/debug/backlot-compiler"))?;
        }
        let mut command = Command::new("bash");
        command.args(["-c", r#"PATH="$1:$PATH" exec bash "$2""#, "bash"]).arg(folder).arg(root().join("deploy/scripts/run.sh"));
        command.env("STUBS", folder).env("HOME", folder).env("RUSTUP_TOOLCHAIN", "a stub").env("DATABASE_URL", "postgres://stub");
        command.env("CARGO_TARGET_DIR", folder.join("target")).env("BACKLOT_DATA_DIR", folder.join("data"));
        command.envs(announce_after.map(|seconds| ("ANNOUNCE_AFTER", seconds.to_string())));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("bash runs")?;
        let (stdout, stderr) = (child.stdout.take().context("an output")?, child.stderr.take().context("an error output")?);
        Ok(Self { child, stdout: BufReader::new(stdout).lines(), stderr: BufReader::new(stderr).lines(), stubs })
    }

    /// Reads messages up to the one with this text.
    async fn reports(&mut self, text: &str) -> Result<String> {
        let mut before = String::new();
        while let Some(line) = self.stderr.next_line().await? {
            before += &line;
            if line.contains(text) {
                return Ok(before);
            }
            before.push('\n');
        }
        anyhow::bail!("no {text:?} in {before}")
    }

    /// Gives a stub that waits its status.
    async fn end_stub(&self, name: &str, status: &str) -> Result<()> {
        Ok(tokio::fs::write(self.stubs.path().join(name), format!("{status}\n")).await?)
    }

    /// The status of the script, and its other messages. No process has its output any more.
    async fn ended(mut self) -> Result<(Option<i32>, String)> {
        let status = self.child.wait().await?;
        let mut rest = String::new();
        while let Some(line) = self.stderr.next_line().await? {
            rest += &line;
            rest.push('\n');
        }
        Ok((status.code(), rest))
    }
}

#[tokio::test]
async fn make_run_serves_before_the_compiler_is_built_and_also_without_it() -> Result<()> {
    for (status, expected) in [("0", "previews: ready"), ("1", "previews: the compiler could not be built")] {
        let mut run = Run::start(None).await?;
        assert_eq!(run.stdout.next_line().await?.as_deref(), Some("backlot ready: a stub"));
        run.reports("previews: the compiler is being built").await?;
        run.end_stub("built", status).await?;
        let said = run.reports(expected).await?;
        assert_eq!(said.contains("error: a stub"), status == "1", "{said}");
        run.end_stub("stopped", "7").await?;
        assert_eq!(run.ended().await?.0, Some(7), "the status of the cluster");
    }
    Ok(())
}

#[tokio::test]
async fn the_build_of_the_compiler_ends_with_the_cluster() -> Result<()> {
    let mut run = Run::start(None).await?;
    run.reports("previews: the compiler is being built").await?;
    run.end_stub("stopped", "0").await?;
    let (status, rest) = run.ended().await?;
    assert!(status == Some(0) && !rest.contains("previews"), "{status:?} {rest}");
    Ok(())
}

#[tokio::test]
async fn a_compiler_that_is_built_anew_is_announced() -> Result<()> {
    let mut run = Run::start(Some(0)).await?;
    run.reports("previews: the compiler is being built anew").await?;
    run.end_stub("built", "0").await?;
    run.reports("previews: ready").await?;
    run.end_stub("stopped", "0").await?;
    ensure!(run.ended().await?.0 == Some(0), "the status of the cluster");
    Ok(())
}

#[tokio::test]
async fn a_compiler_that_is_up_to_date_is_not_announced() -> Result<()> {
    let run = Run::start(Some(1_000_000)).await?;
    run.end_stub("built", "0").await?;
    run.end_stub("stopped", "0").await?;
    let (status, rest) = run.ended().await?;
    assert!(status == Some(0) && !rest.contains("previews"), "{status:?} {rest}");
    Ok(())
}
