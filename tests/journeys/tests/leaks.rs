//! Ten thousand viewers open a running turn and leave before its end. They leave no task, file descriptor or memory behind, and the turn
//! continues.

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

/// After these the caches and the allocator have what they keep.
const WARM_UP: usize = 2_000;
const VIEWERS: usize = 10_000;
/// How often a viewer tries to open its stream.
const OPENINGS: usize = 10;
/// Open at the same moment.
const AT_ONCE: usize = 40;
/// Connections end by themselves a moment after their clients have left.
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// Memory that may stay per viewer. One that leaked its queue or its connection would keep tens of kilobytes.
const BYTES_PER_VIEWER: u64 = 2_048;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_of_ten_thousand_viewers() -> Result<()> {
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
        // The model is silent while they come.
        .set("BACKLOT_PROVIDER_IDLE_TIMEOUT", "1h")
        .set("OPENAI_BASE_URL", &models.openai_url())
        .set("OPENAI_API_KEY", "sk-canary")
        .set("BACKLOT_MODEL", "openai/gpt-test");
    let process = launch.up().await?;
    let person = Person::sign_up(&process.url).await?;
    let mut first = person.stream(json!({ "draftId": "d", "prompt": "a page" })).await?;
    let head = first.until("text.started").await?;
    let turn = head[0].json()["turnId"].as_str().context("turn id")?.to_owned();

    come_and_go(&person, &turn, WARM_UP).await?;
    let before = settled(&process.metrics, process.id()?, None).await;
    come_and_go(&person, &turn, VIEWERS).await?;
    let after = settled(&process.metrics, process.id()?, Some(&before)).await;
    let grown = after.memory.saturating_sub(before.memory);
    ensure!(grown < BYTES_PER_VIEWER * VIEWERS as u64, "{grown} bytes stay of {VIEWERS} viewers: {before:?} {after:?}");

    gate.open();
    let rest = first.rest().await?;
    ensure!(rest.last().map(Frame::kind).as_deref() == Some("turn.completed"));
    ensure!(process.terminate().await? == Some(0), "no clean exit");
    Ok(())
}

/// Each viewer reads an event and disconnects.
async fn come_and_go(person: &Person, turn: &str, viewers: usize) -> Result<()> {
    let visits = (0..viewers).map(|n| async move {
        let mut viewer = open(person, turn, u32::try_from(n % 3)?).await?;
        viewer.next().await?.context("an event")?;
        anyhow::Ok(())
    });
    let outcomes: Vec<Result<()>> = stream::iter(visits).buffer_unordered(AT_ONCE).collect().await;
    outcomes.into_iter().collect()
}

/// Opens an event stream. On a starved machine the deadline of the call can pass; then the viewer tries again, as clients do.
async fn open(person: &Person, turn: &str, after: u32) -> Result<Viewer> {
    for _ in 1..OPENINGS {
        match person.follow(turn, after).await {
            Err(error) if error.to_string().starts_with("504") => {}
            opened => return opened,
        }
    }
    person.follow(turn, after).await
}

/// What a process holds.
#[derive(Debug)]
struct Held {
    tasks: u64,
    files: usize,
    /// Bytes.
    memory: u64,
}

async fn held(url: &str, id: u32) -> Option<Held> {
    let metrics = reqwest::get(url).await.ok()?.text().await.ok()?;
    let tasks = metrics.lines().find(|line| line.starts_with("runtime_tasks"))?.rsplit(' ').next()?.parse::<f64>().ok()?;
    let files = std::fs::read_dir(format!("/proc/{id}/fd")).ok()?.count();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let kilobytes: u64 = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let tasks = tasks as u64;
    Some(Held { tasks, files, memory: kilobytes * 1024 })
}

/// What is held once no connection of a viewer is left: as much as before, or, at first, the same twice in a row.
async fn settled(url: &str, id: u32, before: Option<&Held>) -> Held {
    // Pools and background work breathe a little.
    const SLACK: usize = 8;
    let last = std::sync::Mutex::new(None::<(u64, usize)>);
    eventually(GONE_WITHIN, || async {
        let now = held(url, id).await?;
        let (tasks, files) = match before {
            Some(before) => (before.tasks, before.files),
            None => last.lock().ok()?.replace((now.tasks, now.files))?,
        };
        let back = now.tasks <= tasks + SLACK as u64 && now.files <= files + SLACK;
        (back && (before.is_some() || now.tasks + SLACK as u64 >= tasks)).then_some(now)
    })
    .await
}
