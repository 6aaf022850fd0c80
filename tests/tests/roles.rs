//! The five roles as processes of their own, as containers run them: one PostgreSQL, one Redis, one secret.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use chassis::testing;
use e2e::{Person, canary::within, process::Launch};
use serde_json::json;
use tokio::process::{Child, Command};

const ROLES: [&str; 4] = ["auth", "agent-streaming", "project-storage", "rate-limit"];
const STARTED_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

async fn free_address() -> Result<SocketAddr> {
    Ok(testing::listener().await.local_addr()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn five_processes_do_the_main_job_and_end_cleanly() -> Result<()> {
    let data = tempfile::tempdir()?;
    let redis = testing::redis().await;
    let base = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), &data.path().join("data"))
        .set("DATABASE_URL", &testing::database_url("roles").await)
        .set("REDIS_URL", &redis.url)
        .set("BACKLOT_CLUSTER_SECRET", "a secret of at least thirty-two letters")
        .set("BACKLOT_DEMO_PACE", "1ms");
    let mut addresses = Vec::new();
    for _ in ROLES {
        addresses.push(free_address().await?);
    }
    let wired = ROLES.iter().zip(&addresses).fold(base, |launch, (role, address)| {
        launch.set(&format!("BACKLOT_{}_URL", role.to_uppercase().replace('-', "_")), &format!("http://{address}"))
    });
    let (listen, preview) = (free_address().await?, free_address().await?);
    let mut children = Vec::new();
    for (role, address) in ROLES.iter().zip(&addresses) {
        children.push(start(&wired, role, &[("BACKLOT_GRPC_LISTEN", address.to_string())])?);
    }
    children.push(start(&wired, "gateway", &[("BACKLOT_LISTEN", listen.to_string()), ("BACKLOT_PREVIEW_LISTEN", preview.to_string())])?);

    let url = format!("http://{listen}");
    ready(&url).await?;
    let person = Person::sign_up(&url).await?;
    let done = person.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?;
    ensure!(done.outcome() == "turn.completed", "{:?}", done.frames.last());
    ensure!(person.files(&done.project).await?.contains_key("index.html"));
    for child in children.into_iter().rev() {
        terminate(child).await?;
    }
    Ok(())
}

fn start(launch: &Launch, role: &str, settings: &[(&str, String)]) -> Result<(String, Child)> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(launch.log())?;
    let launch = settings.iter().fold(launch.clone(), |launch, (name, value)| launch.set(name, value));
    Ok((role.to_owned(), launch.command(&[role]).stderr(log).spawn().with_context(|| format!("{role} does not start"))?))
}

/// Not ready until every service answers.
async fn ready(url: &str) -> Result<()> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    testing::eventually(STARTED_WITHIN, || async {
        let answer = http.get(format!("{url}/readyz")).send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
    Ok(())
}

async fn terminate((role, mut child): (String, Child)) -> Result<()> {
    let id = child.id().with_context(|| format!("{role} has ended by itself"))?;
    Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
    let status = within(STOPPED_WITHIN, child.wait()).await.with_context(|| format!("{role} does not end"))??;
    ensure!(status.success(), "{role} ended with {status}");
    Ok(())
}
