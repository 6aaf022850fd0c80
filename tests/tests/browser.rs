//! The first page in a real browser: sign up, prompt, watch, see the preview; reload and find it all again.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::Cluster;
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn the_first_page_does_the_main_job() -> Result<()> {
    let cluster = Cluster::with(&[("BACKLOT_DEMO_PACE", "4ms")]).await?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let mut command = Command::new("node");
    command.arg(folder.join("first-page.mjs")).env("BACKLOT_TEST_URL", &cluster.url).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output())
        .await
        .context("the browser did not finish")?
        .context("node is missing: `make test` installs it")?;
    ensure!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    cluster.stop().await
}
