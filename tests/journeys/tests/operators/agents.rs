//! The agents of a cluster: listed, searched, selected, explained and replayed over HTTP and on the command line, and one added to a folder.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chassis::testing::eventually;
use serde_json::{Value, json};
use test_support::{Cluster, Person};
use tokio::process::Command;

/// How long a new file may take until it is an agent.
const A_MINUTE: Duration = Duration::from_secs(60);
const KANBAN: &str = "a kanban board with swimlanes and draggable cards";
const UNICORN: &str = "paint a unicorn stampede";

/// Runs `backlot agents`. Returns what it prints; fails if the command fails.
async fn agents(folder: &Path, data: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backlot-under-test"));
    let output = command.arg("agents").args(arguments).env("BACKLOT_DATA_DIR", data).env("BACKLOT_AGENTS_DIR", folder).output().await?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{arguments:?}: {text}");
    Ok(text)
}

/// The names of all agents that a query finds, page by page.
async fn names(person: &Person, query: &str) -> Result<Vec<String>> {
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let page = person.get(&format!("/api/agents?pageSize=100&pageToken={token}{query}")).await?;
        let agents = page["agents"].as_array().map_or(&[][..], Vec::as_slice);
        names.extend(agents.iter().filter_map(|agent| agent["name"].as_str().map(str::to_owned)));
        token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            return Ok(names);
        }
    }
}

async fn select(person: &Person, prompt: &str) -> Result<Value> {
    person.post("/api/agents/select", json!({ "prompt": prompt })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_listed_searched_selected_explained_and_replayed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let directory = folder.path().to_string_lossy().into_owned();
    let cluster = Cluster::with(&[("BACKLOT_AGENTS_DIR", &directory)]).await?;
    let person = cluster.person().await?;
    let command = async |arguments: &[&str]| agents(folder.path(), cluster.data_dir(), arguments).await;

    let all = names(&person, "").await?;
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 154);
    let listed = command(&["list"]).await?;
    assert!(all.iter().all(|name| listed.contains(&format!("{name} ("))), "{listed}");
    let found = names(&person, "&query=kanban%20board").await?;
    assert!(found.contains(&"kanban-board".to_owned()) && found.len() < 10, "{found:?}");
    let games = names(&person, "&category=games").await?;
    assert!(games.contains(&"chess-game".to_owned()) && !games.contains(&"kanban-board".to_owned()), "{games:?}");
    assert_eq!(command(&["list", "--category", "games"]).await?.lines().count(), games.len());

    let selection = select(&person, KANBAN).await?;
    assert_eq!((&selection["agent"], &selection["rule"]), (&json!("kanban-board"), &json!("matched")), "{selection}");
    let explained = command(&["explain", KANBAN]).await?;
    assert!(
        explained.starts_with("kanban-board (") && explained.contains(selection["catalogue"].as_str().context("catalogue")?),
        "{explained}"
    );
    let turn = person.turn(json!({ "draftId": "board", "prompt": KANBAN })).await?;
    let replayed = command(&["replay", &turn.turn]).await?;
    assert!(replayed.starts_with("kanban-board (") && replayed.contains("comes out again"), "{replayed}");

    assert_ne!(select(&person, UNICORN).await?["agent"], "unicorn-painter");
    let text = "---\nname: unicorn-painter\ndescription: Paints unicorns.\ntags: [unicorn, stampede]\n---\nPaint.\n";
    fs::write(folder.path().join("unicorn-painter.md"), text)?;
    let is_selected = async || select(&person, UNICORN).await.ok().filter(|found| found["agent"] == "unicorn-painter");
    eventually(A_MINUTE, is_selected).await;
    let turn = person.turn(json!({ "draftId": "unicorn", "prompt": UNICORN })).await?;
    assert!(command(&["replay", &turn.turn]).await?.starts_with("unicorn-painter ("));
    assert!(command(&["list", "unicorn"]).await?.starts_with("unicorn-painter"));
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_beginning_of_a_prompt_does_not_depend_on_the_locale_the_clock_or_the_replica() -> Result<()> {
    let mut seen = Vec::new();
    for (zone, locale) in [("UTC", "C"), ("Asia/Kathmandu", "tr_TR.UTF-8")] {
        let cluster = Cluster::with(&[("TZ", zone), ("LC_ALL", locale), ("LANG", locale)]).await?;
        let person = cluster.person().await?;
        let mut hashes = Vec::new();
        for prompt in ["a kanban board with swimlanes", "make the title blue"] {
            let turn = person.turn(json!({ "draftId": "board", "prompt": prompt })).await?;
            let started = turn.frames.iter().find(|frame| frame.kind() == "attempt.started").context("attempt.started")?;
            hashes.push(started.json()["data"]["prefixHash"].as_str().context("prefixHash")?.to_owned());
        }
        ensure!(hashes[0] != hashes[1] && hashes[0].len() == 64, "{hashes:?}");
        seen.push(hashes);
        cluster.stop().await?;
    }
    assert_eq!(seen[0], seen[1]);
    Ok(())
}
