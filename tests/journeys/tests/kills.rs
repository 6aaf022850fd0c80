//! Kills the whole cluster at a hundred moments of a demo turn. After each restart the turn must resume and complete: it has one terminal
//! event, its files follow from its log, and nothing acknowledged is lost.

use std::{collections::BTreeMap, io::Write, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use test_support::{
    Person,
    canary::within,
    process::{Launch, Process},
    sse::Frame,
};
use tokio::time::{Instant, timeout_at};

/// The number of kills at an event, for turns that create a project. The n-th kill is at event n.
const KILLS_BY_EVENT: usize = 60;
/// The number of kills at a time offset, for turns that change a project.
const KILLS_BY_TIME: usize = 40;
/// The difference between two offsets. Together they cover a turn of the demo model.
const OFFSET_STEP: Duration = Duration::from_millis(12);
/// The number of concurrent clusters. Most of the time is spent waiting for leases.
const CLUSTERS: usize = 4;
/// The limit for the end of a turn after a restart. The lease is 1.5 s.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// The limit for an event, on any machine.
const SEEN_WITHIN: Duration = Duration::from_secs(600);

type Tree = BTreeMap<String, String>;

/// When a turn is killed.
#[derive(Clone, Copy)]
enum Kill {
    AtEvent(usize),
    After(Duration),
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_complete_after_a_hundred_kills() -> Result<()> {
    let by_event = (1..=KILLS_BY_EVENT).map(Kill::AtEvent);
    let by_time = (0..KILLS_BY_TIME).map(|n| Kill::After(OFFSET_STEP * u32::try_from(n).unwrap_or_default()));
    let kills: Vec<_> = by_event.chain(by_time).collect();
    let runs = (0..CLUSTERS).map(|first| run_cluster(kills.iter().copied().skip(first).step_by(CLUSTERS).collect()));
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for seen in try_join_all(runs).await?.into_iter().flatten() {
        *states.entry(seen).or_default() += 1;
    }
    for (state, times) in &states {
        // The test runner captures only the output of macros, and these lines must always be shown.
        writeln!(std::io::stderr(), "{times:4} x {state}")?;
    }
    assert_eq!(states.values().sum::<usize>(), KILLS_BY_EVENT + KILLS_BY_TIME);
    Ok(())
}

/// Kills one cluster repeatedly, with the same data.
async fn run_cluster(kills: Vec<Kill>) -> Result<Vec<String>> {
    let data = tempfile::tempdir()?;
    let policies = data.path().join("policies.yaml");
    std::fs::write(&policies, test_support::cluster::OPEN_POLICIES)?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), &data.path().join("backlot"))
        .set("BACKLOT_POLICIES", &policies.to_string_lossy())
        .set("BACKLOT_LEASE", "1500ms")
        .set("BACKLOT_EDGE_PER_SECOND", "100000")
        .set("BACKLOT_EDGE_BURST", "100000")
        .set("BACKLOT_DEMO_PACE", "4ms");
    let mut process = launch.up().await?;
    let mut person = Person::sign_up(&process.url).await?;
    let first = person.turn(json!({ "draftId": "kept", "prompt": "a to-do list" })).await?;
    let mut kept = Project { id: first.project.clone(), tree: person.files(&first.project).await?, revisions: 1 };

    let mut outcomes = Vec::new();
    for (n, kill) in kills.into_iter().enumerate() {
        let body = match kill {
            Kill::AtEvent(_) => json!({ "draftId": format!("draft-{n}"), "prompt": "a to-do list" }),
            Kill::After(_) => json!({ "projectId": kept.id, "prompt": format!("change the title to Version {n}") }),
        };
        let seen = killed_turn(&person, body, kill, process).await.with_context(|| format!("kill {n}"))?;
        process = launch.up().await.with_context(|| format!("restart after kill {n}"))?;
        person.url.clone_from(&process.url);
        let context = || format!("after kill {n}, {} events seen, log in {}", seen.len(), launch.log().display());
        let outcome = match kill {
            Kill::AtEvent(_) => check(&person, &mut Project::default(), &seen).await.with_context(context)?,
            Kill::After(_) => check(&person, &mut kept, &seen).await.with_context(context)?,
        };
        outcomes.push(format!("killed after {:<18} -> {outcome}", seen.last().map_or_else(|| "nothing".into(), Frame::kind)));
        ensure!(person.files(&kept.id).await? == kept.tree, "a project without a turn has changed");
    }
    let done = person.turn(json!({ "projectId": kept.id, "prompt": "make it dark" })).await?;
    ensure!(done.outcome() == "turn.completed", "the cluster does not work after the kills");
    ensure!(process.terminate().await? == Some(0), "no clean exit");
    Ok(outcomes)
}

/// Starts a turn and kills the cluster. Returns the events before the kill.
async fn killed_turn(person: &Person, body: Value, kill: Kill, process: Process) -> Result<Vec<Frame>> {
    let mut viewer = person.stream(body).await?;
    let mut seen = Vec::new();
    let (events, deadline) = match kill {
        Kill::AtEvent(n) => (n, Instant::now() + SEEN_WITHIN),
        Kill::After(offset) => (usize::MAX, Instant::now() + offset),
    };
    while seen.len() < events {
        match timeout_at(deadline, viewer.next()).await {
            Ok(frame) => match frame? {
                Some(frame) => seen.push(frame),
                None => break,
            },
            Err(_) => break,
        }
    }
    process.kill().await?;
    if let Kill::AtEvent(n) = kill {
        ensure!(seen.len() == n && !seen[n - 1].is_terminal(), "the turn ended before its event {n}");
    }
    Ok(seen)
}

/// The state of a project that must be the same after a restart.
#[derive(Default)]
struct Project {
    id: String,
    tree: Tree,
    revisions: u64,
}

/// Follows the turn to its end after the restart and compares it with the earlier events.
async fn check(person: &Person, project: &mut Project, seen: &[Frame]) -> Result<String> {
    let turn = match seen.first() {
        Some(first) => first.json()["turnId"].as_str().context("turn id")?.to_owned(),
        // The turn was acknowledged without an event, so its id is read from the conversation.
        None => newest_turn(person, &project.id).await?,
    };
    let whole = within(SETTLED_WITHIN, async { person.follow(&turn, 0).await?.rest().await }).await.context("no terminal event")??;
    ensure!(whole.starts_with(seen), "a received event is lost or changed");
    let ids: Vec<_> = whole.iter().map(|f| f.id).collect();
    ensure!(ids == (1..=u32::try_from(ids.len())?).collect::<Vec<_>>(), "the log has a gap: {ids:?}");
    ensure!(whole.iter().filter(|f| f.is_terminal()).count() == 1, "more than one terminal event");

    whole[0].json()["data"]["projectId"].as_str().context("project id")?.clone_into(&mut project.id);
    let outcome = whole.last().context("empty log")?.kind();
    let (tree, revisions) = (person.files(&project.id).await?, head_number(person, &project.id).await?);
    ensure!(outcome == "turn.completed", "the turn did not complete: {:?}", whole.last());
    ensure!(revisions == project.revisions + 1, "a turn has one revision: {revisions} after {}", project.revisions);
    ensure!(tree != project.tree && tree == applied(&project.tree, &whole), "the files differ from the log");
    (project.tree, project.revisions) = (tree, revisions);
    let state = person.get(&format!("/api/turns/{turn}")).await?["state"].as_str().unwrap_or_default().to_owned();
    ensure!(state.ends_with(&outcome.trim_start_matches("turn.").to_uppercase()), "{state} after {outcome}");
    let superseded = whole.iter().filter(|f| f.kind() == "step.superseded").count();
    Ok(format!("{outcome}, {superseded} superseded steps"))
}

async fn newest_turn(person: &Person, project: &str) -> Result<String> {
    let page = person.get(&format!("/api/projects/{project}/messages?pageSize=1")).await?;
    Ok(page["messages"][0]["turnId"].as_str().context("no message of the turn")?.to_owned())
}

async fn head_number(person: &Person, project: &str) -> Result<u64> {
    Ok(person.get(&format!("/api/projects/{project}")).await?["headNumber"].as_u64().unwrap_or_default())
}

/// The files after the operations of a log, without superseded steps.
fn applied(old: &Tree, log: &[Frame]) -> Tree {
    let superseded: Vec<_> = log.iter().filter(|f| f.kind() == "step.superseded").map(|f| f.json()["data"].clone()).collect();
    let is_effective = |frame: &&Frame| {
        let id = u64::from(frame.id);
        !superseded.iter().any(|range| range["from"].as_u64() <= Some(id) && Some(id) <= range["to"].as_u64())
    };
    let mut tree = old.clone();
    let mut inputs: BTreeMap<String, Value> = BTreeMap::new();
    let mut written: BTreeMap<String, String> = BTreeMap::new();
    for event in log.iter().filter(is_effective).map(Frame::json) {
        let text = |key: &str| event["data"][key].as_str().unwrap_or_default().to_owned();
        let call = text("callId");
        match event["type"].as_str().unwrap_or_default() {
            "tool.ready" => drop(inputs.insert(call, serde_json::from_str(&text("inputJson")).unwrap_or_default())),
            "file.delta" => written.entry(call).or_default().push_str(&text("text")),
            "file.closed" => {
                let edit = inputs.get(&call).filter(|input| input["old_text"].is_string()).cloned();
                let part = |input: &Value, key: &str| input[key].as_str().unwrap_or_default().to_owned();
                match (written.remove(&call), edit) {
                    (Some(content), _) => drop(tree.insert(text("path"), content)),
                    (None, Some(input)) => {
                        if let Some(file) = tree.get_mut(&text("path")) {
                            *file = file.replacen(&part(&input, "old_text"), &part(&input, "new_text"), 1);
                        }
                    }
                    (None, None) => {}
                }
            }
            _ => {}
        }
    }
    tree
}
