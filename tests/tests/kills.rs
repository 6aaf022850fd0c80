//! `kill -9` of the whole cluster at a hundred moments of a demo turn. Each time, after a restart: the old tree or the new one and
//! never a mix, a terminal state by itself, one terminal event, and nothing lost that was acknowledged.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{
    Person,
    process::{Launch, Process},
    sse::Frame,
};
use serde_json::json;
use tokio::time::{Instant, timeout};

const KILLS: usize = 100;
/// The first kills come as soon as the event of this number is seen.
const KILLS_BY_EVENT: usize = 60;
/// The lease is 1.5 s; a restart, a claim and an end take a few more.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// What is known from outside, and must still be so after each restart.
struct Witness {
    person: Person,
    project: String,
    tree: BTreeMap<String, String>,
    revisions: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_kills_lose_nothing_and_mix_nothing() -> Result<()> {
    let data = tempfile::tempdir()?;
    let policies = data.path().join("policies.yaml");
    std::fs::write(&policies, e2e::cluster::OPEN_POLICIES)?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), &data.path().join("backlot"))
        .set("BACKLOT_POLICIES", &policies.to_string_lossy())
        .set("BACKLOT_LEASE", "1500ms")
        .set("BACKLOT_EDGE_PER_SECOND", "100000")
        .set("BACKLOT_EDGE_BURST", "100000")
        .set("BACKLOT_DEMO_PACE", "4ms");
    let mut process = launch.up().await?;
    let person = Person::sign_up(&process.url).await?;
    let first = person.turn(json!({ "draftId": "d", "prompt": "a to-do list" })).await?;
    let mut witness = Witness { tree: person.files(&first.project).await?, person, project: first.project, revisions: 1 };
    let length = first.frames.len();

    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for n in 0..KILLS {
        let seen = doomed_turn(&mut witness, n, length, process).await.with_context(|| format!("kill {n}"))?;
        process = launch.up().await.with_context(|| format!("restart after kill {n}"))?;
        witness.person.url.clone_from(&process.url);
        let outcome = check(&mut witness, &seen).await.with_context(|| format!("after kill {n} at event {}", seen.len()))?;
        *outcomes.entry(format!("{} -> {outcome}", seen.last().map_or_else(|| "nothing".into(), Frame::kind))).or_default() += 1;
    }
    for (what, times) in &outcomes {
        eprintln!("{times:4} x killed after {what}");
    }
    let done = witness.person.turn(json!({ "projectId": witness.project, "prompt": "make it dark" })).await?;
    assert_eq!(done.outcome(), "turn.completed", "the cluster still works");
    assert_eq!(process.terminate().await?, Some(0));
    Ok(())
}

/// Starts a turn and kills the cluster under it; answers what was seen before.
async fn doomed_turn(witness: &mut Witness, n: usize, length: usize, process: Process) -> Result<Vec<Frame>> {
    // A title of its own, so that every turn has something to commit.
    let body = json!({ "projectId": witness.project, "prompt": format!("change the title to Version {n}"), "idempotencyKey": format!("kill-{n}") });
    let mut viewer = witness.person.stream(body).await?;
    let mut seen = Vec::new();
    let stop_at = if n < KILLS_BY_EVENT { n + 1 } else { usize::MAX };
    let sweep = Duration::from_millis((n.saturating_sub(KILLS_BY_EVENT) * length * 6 / (KILLS - KILLS_BY_EVENT)) as u64);
    let deadline = if n < KILLS_BY_EVENT { Instant::now() + SETTLED_WITHIN } else { Instant::now() + sweep };
    while seen.len() < stop_at {
        match tokio::time::timeout_at(deadline, viewer.next()).await {
            Ok(Ok(Some(frame))) => seen.push(frame),
            Ok(Ok(None)) | Err(_) => break,
            Ok(Err(error)) => return Err(error),
        }
    }
    process.kill().await?;
    Ok(seen)
}

/// Follows the turn to its end after the restart and compares everything with what was seen before.
async fn check(witness: &mut Witness, seen: &[Frame]) -> Result<String> {
    let person = &witness.person;
    let Some(first) = seen.first() else {
        return Ok("not acknowledged".into());
    };
    let turn = first.json()["turnId"].as_str().context("turn id")?.to_owned();
    let whole = timeout(SETTLED_WITHIN, async { anyhow::Ok(person.follow(&turn, 0).await?.rest().await?) }).await.context("no terminal event")??;
    ensure!(whole.starts_with(seen), "an event that was seen is lost or changed");
    let ids: Vec<_> = whole.iter().map(|f| f.id).collect();
    ensure!(ids == (1..=u32::try_from(ids.len())?).collect::<Vec<_>>(), "the log has a gap: {ids:?}");
    ensure!(whole.iter().filter(|f| f.is_terminal()).count() == 1, "more than one terminal event");

    let outcome = whole.last().context("empty log")?.kind();
    let (tree, revisions) = (person.files(&witness.project).await?, revisions(witness).await?);
    if outcome == "turn.completed" {
        ensure!(revisions == witness.revisions + 1, "one turn, one revision: {revisions} after {}", witness.revisions);
        ensure!(tree != witness.tree, "a completed turn changed nothing");
        ensure!(tree == expected(&witness.tree, &whole), "the tree is not what the log tells");
    } else {
        ensure!(revisions == witness.revisions && tree == witness.tree, "{outcome} left a change behind");
    }
    witness.tree = tree;
    witness.revisions = revisions;
    let state = person.get(&format!("/api/turns/{turn}")).await?["state"].as_str().unwrap_or_default().to_owned();
    ensure!(state.ends_with(&outcome.trim_start_matches("turn.").to_uppercase()), "{state} after {outcome}");
    Ok(outcome)
}

async fn revisions(witness: &Witness) -> Result<usize> {
    let head = witness.person.get(&format!("/api/projects/{}", witness.project)).await?;
    Ok(usize::try_from(head["headNumber"].as_u64().context("headNumber")?)?)
}

/// Which files may differ: those that the log closed.
fn expected(old: &BTreeMap<String, String>, log: &[Frame]) -> BTreeMap<String, String> {
    let mut tree = old.clone();
    let mut written: BTreeMap<String, (String, String)> = BTreeMap::new();
    for event in log.iter().map(Frame::json) {
        let data = &event["data"];
        let call = data["callId"].as_str().unwrap_or_default().to_owned();
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().unwrap_or_default() {
            "file.opened" => drop(written.insert(call, (text("path"), String::new()))),
            "file.delta" => written.entry(call).or_default().1.push_str(&text("text")),
            "tool.ready" if text("inputJson").contains("oldText") || text("inputJson").contains("old_text") => {
                let input: serde_json::Value = serde_json::from_str(&text("inputJson")).unwrap_or_default();
                let part = |key: &str| input[key].as_str().unwrap_or_default().to_owned();
                if let Some(file) = tree.get_mut(&part("path")) {
                    *file = file.replacen(&part("old_text"), &part("new_text"), 1);
                }
            }
            "file.closed" => {
                if let Some((path, content)) = written.remove(&call).filter(|(_, content)| !content.is_empty()) {
                    tree.insert(path, content);
                }
            }
            _ => {}
        }
    }
    tree
}
