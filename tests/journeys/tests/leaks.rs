//! Ten thousand viewers follow a running turn and disconnect before its end. They must leak no task, descriptor or memory, and the turn must
//! continue.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chassis::testing::eventually;
use futures::{StreamExt, stream};
use serde_json::json;
use test_support::{
    Person,
    model_server::{Answer, At, Gate, ModelServer, Script},
    process::Launch,
    sse::{Frame, Viewer},
};

/// The number of viewers before the measurement, which fill caches and the allocator.
const WARM_UP: usize = 2_000;
const VIEWERS: usize = 10_000;
/// The most attempts of a viewer to open its stream.
const ATTEMPTS: usize = 10;
/// The number of concurrent viewers.
const CONCURRENT: usize = 40;
/// The limit for connections to be released.
const RELEASED_WITHIN: Duration = Duration::from_secs(60);
/// The limit for the growth of memory per viewer. A leaked queue or connection would be tens of kilobytes.
const BYTES_PER_VIEWER: u64 = 2_048;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_viewers_leak_nothing() -> Result<()> {
    let gate = Gate::default();
    let models = ModelServer::start(Script::always(Answer::default().text("One moment. And on.").hold_at(At::Event(4), &gate))).await;
    let data = tempfile::tempdir()?;
    let policies = data.path().join("policies.yaml");
    std::fs::write(&policies, test_support::cluster::OPEN_POLICIES)?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), &data.path().join("backlot"))
        .set("BACKLOT_POLICIES", &policies.to_string_lossy())
        .set("BACKLOT_EDGE_PER_SECOND", "100000")
        .set("BACKLOT_EDGE_BURST", "100000")
        .set("BACKLOT_MAX_STREAMS_PER_USER", "1000")
        .set("BACKLOT_STREAM_OPENINGS", "1000000")
        // The model server is silent while the viewers connect.
        .set("BACKLOT_PROVIDER_IDLE_TIMEOUT", "1h")
        .set("OPENAI_BASE_URL", &models.openai_url())
        .set("OPENAI_API_KEY", "sk-canary")
        .set("BACKLOT_MODEL", "openai/gpt-test");
    let process = launch.up().await?;
    let person = Person::sign_up(&process.url).await?;
    let mut first = person.stream(json!({ "draftId": "d", "prompt": "a page" })).await?;
    let head = first.until("text.started").await?;
    let turn = head[0].json()["turnId"].as_str().context("turn id")?.to_owned();

    connect_viewers(&person, &turn, WARM_UP).await?;
    let before = settled(&process.metrics, process.id()?, None).await;
    connect_viewers(&person, &turn, VIEWERS).await?;
    let after = settled(&process.metrics, process.id()?, Some(&before)).await;
    let grown = after.memory.saturating_sub(before.memory);
    ensure!(grown < BYTES_PER_VIEWER * VIEWERS as u64, "memory has grown by {grown} bytes after {VIEWERS} viewers: {before:?} {after:?}");

    gate.open();
    let rest = first.rest().await?;
    ensure!(rest.last().map(Frame::kind).as_deref() == Some("turn.completed"));
    ensure!(process.terminate().await? == Some(0), "no clean exit");
    Ok(())
}

/// Each viewer reads an event and disconnects.
async fn connect_viewers(person: &Person, turn: &str, viewers: usize) -> Result<()> {
    let visits = (0..viewers).map(|n| async move {
        let mut viewer = open(person, turn, u32::try_from(n % 3)?).await?;
        viewer.next().await?.context("an event")?;
        anyhow::Ok(())
    });
    let outcomes: Vec<Result<()>> = stream::iter(visits).buffer_unordered(CONCURRENT).collect().await;
    outcomes.into_iter().collect()
}

/// Opens an event stream. Retries if the deadline of the call passes, which happens on a starved machine.
async fn open(person: &Person, turn: &str, after: u32) -> Result<Viewer> {
    for _ in 1..ATTEMPTS {
        match person.follow(turn, after).await {
            Err(error) if error.to_string().starts_with("504") => {}
            opened => return opened,
        }
    }
    person.follow(turn, after).await
}

/// The resources of a process.
#[derive(Debug)]
struct Resources {
    tasks: u64,
    files: usize,
    /// Bytes.
    memory: u64,
}

async fn resources(url: &str, id: u32) -> Option<Resources> {
    let metrics = reqwest::get(url).await.ok()?.text().await.ok()?;
    let tasks = metrics.lines().find(|line| line.starts_with("runtime_tasks"))?.rsplit(' ').next()?.parse::<f64>().ok()?;
    let files = std::fs::read_dir(format!("/proc/{id}/fd")).ok()?.count();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let kilobytes: u64 = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let tasks = tasks as u64;
    Some(Resources { tasks, files, memory: kilobytes * 1024 })
}

/// The resources after all viewers have disconnected: not more than `before`, or, without it, the same twice in a row.
async fn settled(url: &str, id: u32, before: Option<&Resources>) -> Resources {
    // The tolerance for pools and background work.
    const SLACK: usize = 8;
    let last = std::sync::Mutex::new(None::<(u64, usize)>);
    eventually(RELEASED_WITHIN, || async {
        let now = resources(url, id).await?;
        let (tasks, files) = match before {
            Some(before) => (before.tasks, before.files),
            None => last.lock().ok()?.replace((now.tasks, now.files))?,
        };
        let is_released = now.tasks <= tasks + SLACK as u64 && now.files <= files + SLACK;
        (is_released && (before.is_some() || now.tasks + SLACK as u64 >= tasks)).then_some(now)
    })
    .await
}
