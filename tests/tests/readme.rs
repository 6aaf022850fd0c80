//! The README's quickstart, run as it is written.

use std::{path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};
use e2e::Cluster;
use tokio::process::Command;

/// The first shell block after a heading.
fn block(heading: &str) -> Result<String> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"))?;
    let after = readme.split_once(heading).with_context(|| format!("no heading {heading}"))?.1;
    let body = after.split_once("```sh\n").context("no shell block")?.1;
    Ok(body.split_once("```").context("an open block")?.0.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_works_as_written() -> Result<()> {
    let cluster = Cluster::start().await?;
    let script = block("## Quickstart with curl")?.replace("http://127.0.0.1:8080", &cluster.url);
    ensure!(script.contains(&cluster.url), "the quickstart names the gateway");
    let folder = tempfile::tempdir()?;
    let mut shell = Command::new("bash");
    shell.args(["-eu", "-c", &script]).current_dir(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    let output = shell.output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches(r#""type":"turn.completed""#).count(), 3, "two turns, and the first one followed again: {text}");
    assert!(text.to_lowercase().contains("<!doctype html>"), "the preview answers with the app: {text}");
    assert!(text.contains(r#""path":"index.html""#), "the files are there: {text}");
    cluster.stop().await
}
