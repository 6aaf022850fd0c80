//! `kill -9` of the whole cluster at a hundred moments of a demo turn. After each restart the turn resumes by itself and completes: it has
//! one terminal event, its files follow from its log, and nothing that was acknowledged is lost.

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

/// One kill as soon as the event of each number is seen, on a turn that builds a project.
const KILLS_BY_EVENT: usize = 60;
/// Kills at swept offsets, on turns that change a project.
const KILLS_BY_TIME: usize = 40;
/// How far apart the swept offsets are; together they cover a turn of the paced demo.
const SWEEP: Duration = Duration::from_millis(12);
/// Clusters that are killed side by side: most of the time is spent waiting for leases.
const LANES: usize = 4;
/// The lease is 1.5 s; a restart, a claim and an end take a few more.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// The event that is waited for has come by then, however slow the machine.
const SEEN_WITHIN: Duration = Duration::from_secs(600);

type Tree = BTreeMap<String, String>;

/// When a turn is killed.
#[derive(Clone, Copy)]
enum Kill {
    AtEvent(usize),
    After(Duration),
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_kills_lose_nothing_and_mix_nothing() -> Result<()> {
    let by_event = (1..=KILLS_BY_EVENT).map(Kill::AtEvent);
    let by_time = (0..KILLS_BY_TIME).map(|n| Kill::After(SWEEP * u32::try_from(n).unwrap_or_default()));
    let kills: Vec<_> = by_event.chain(by_time).collect();
    let lanes = (0..LANES).map(|lane| run_lane(kills.iter().copied().skip(lane).step_by(LANES).collect()));
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for seen in try_join_all(lanes).await?.into_iter().flatten() {
        *states.entry(seen).or_default() += 1;
    }
    for (state, times) in &states {
        // Not by a macro: the states are to be seen also when the test passes.
        writeln!(std::io::stderr(), "{times:4} x {state}")?;
    }
    assert_eq!(states.values().sum::<usize>(), KILLS_BY_EVENT + KILLS_BY_TIME);
    Ok(())
}

/// One cluster, killed again and again on the same data.
async fn run_lane(kills: Vec<Kill>) -> Result<Vec<String>> {
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
        let seen = doomed_turn(&person, body, kill, process).await.with_context(|| format!("kill {n}"))?;
        process = launch.up().await.with_context(|| format!("restart after kill {n}"))?;
        person.url.clone_from(&process.url);
        let context = || format!("after kill {n}, {} events seen, log in {}", seen.len(), launch.log().display());
        let outcome = match kill {
            Kill::AtEvent(_) => check(&person, &mut Project::default(), &seen).await.with_context(context)?,
            Kill::After(_) => check(&person, &mut kept, &seen).await.with_context(context)?,
        };
        outcomes.push(format!("killed after {:<18} -> {outcome}", seen.last().map_or_else(|| "nothing".into(), Frame::kind)));
        ensure!(person.files(&kept.id).await? == kept.tree, "a project that nobody touched has changed");
    }
    let done = person.turn(json!({ "projectId": kept.id, "prompt": "make it dark" })).await?;
    ensure!(done.outcome() == "turn.completed", "the cluster does not work any more");
    ensure!(process.terminate().await? == Some(0), "no clean exit");
    Ok(outcomes)
}

/// Starts a turn and kills the cluster under it; answers what was seen before.
async fn doomed_turn(person: &Person, body: Value, kill: Kill, process: Process) -> Result<Vec<Frame>> {
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

/// What is known of a project from outside, and must still be so after a restart.
#[derive(Default)]
struct Project {
    id: String,
    tree: Tree,
    revisions: u64,
}

/// Follows the turn to its end after the restart and compares everything with what was seen before.
async fn check(person: &Person, project: &mut Project, seen: &[Frame]) -> Result<String> {
    let turn = match seen.first() {
        Some(first) => first.json()["turnId"].as_str().context("turn id")?.to_owned(),
        // Acknowledged by the answer's headers, but no event seen: the conversation knows it.
        None => newest_turn(person, &project.id).await?,
    };
    let whole = within(SETTLED_WITHIN, async { person.follow(&turn, 0).await?.rest().await }).await.context("no terminal event")??;
    ensure!(whole.starts_with(seen), "an event that was seen is lost or changed");
    let ids: Vec<_> = whole.iter().map(|f| f.id).collect();
    ensure!(ids == (1..=u32::try_from(ids.len())?).collect::<Vec<_>>(), "the log has a gap: {ids:?}");
    ensure!(whole.iter().filter(|f| f.is_terminal()).count() == 1, "more than one terminal event");

    whole[0].json()["data"]["projectId"].as_str().context("project id")?.clone_into(&mut project.id);
    let outcome = whole.last().context("empty log")?.kind();
    let (tree, revisions) = (person.files(&project.id).await?, head_number(person, &project.id).await?);
    ensure!(outcome == "turn.completed", "the turn did not go on: {:?}", whole.last());
    ensure!(revisions == project.revisions + 1, "one turn, one revision: {revisions} after {}", project.revisions);
    ensure!(tree != project.tree && tree == told(&project.tree, &whole), "the tree is not what the log tells");
    (project.tree, project.revisions) = (tree, revisions);
    let state = person.get(&format!("/api/turns/{turn}")).await?["state"].as_str().unwrap_or_default().to_owned();
    ensure!(state.ends_with(&outcome.trim_start_matches("turn.").to_uppercase()), "{state} after {outcome}");
    let again = whole.iter().filter(|f| f.kind() == "step.superseded").count();
    Ok(format!("{outcome}, {again} step asked for again"))
}

async fn newest_turn(person: &Person, project: &str) -> Result<String> {
    let page = person.get(&format!("/api/projects/{project}/messages?pageSize=1")).await?;
    Ok(page["messages"][0]["turnId"].as_str().context("no message of the turn")?.to_owned())
}

async fn head_number(person: &Person, project: &str) -> Result<u64> {
    Ok(person.get(&format!("/api/projects/{project}")).await?["headNumber"].as_u64().unwrap_or_default())
}

/// The tree after the operations of a log, those of superseded steps left out.
fn told(old: &Tree, log: &[Frame]) -> Tree {
    let superseded: Vec<_> = log.iter().filter(|f| f.kind() == "step.superseded").map(|f| f.json()["data"].clone()).collect();
    let counts = |frame: &&Frame| {
        let id = u64::from(frame.id);
        !superseded.iter().any(|range| range["from"].as_u64() <= Some(id) && Some(id) <= range["to"].as_u64())
    };
    let mut tree = old.clone();
    let mut inputs: BTreeMap<String, Value> = BTreeMap::new();
    let mut written: BTreeMap<String, String> = BTreeMap::new();
    for event in log.iter().filter(counts).map(Frame::json) {
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
