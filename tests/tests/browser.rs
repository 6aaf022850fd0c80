//! The first page in a real browser: sign up, prompt, watch, see the preview; reload and find it all again, also while the
//! server asks to wait. The policy `general` is the shipped one.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, canary::within};
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(900);
/// The story has three prompts; the fourth is refused at any speed.
const POLICIES: &str = "policies:\n  - { name: agent, limit: 3, window: 1h, algorithm: sliding_log }\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_first_page_does_the_main_job() -> Result<()> {
    let policies = tempfile::NamedTempFile::new()?;
    std::fs::write(policies.path(), POLICIES)?;
    let cluster = Cluster::with(&[("BACKLOT_DEMO_PACE", "4ms"), ("BACKLOT_POLICIES", &policies.path().to_string_lossy())]).await?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let mut command = Command::new("node");
    command.arg(folder.join("first-page.mjs")).env("BACKLOT_TEST_URL", &cluster.url).stdin(Stdio::null()).kill_on_drop(true);
    let output =
        within(LIMIT, command.output()).await.context("the browser did not finish")?.context("node is missing: `make test` installs it")?;
    ensure!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    cluster.stop().await
}
