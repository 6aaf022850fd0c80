//! Waits until a round has settled, and collects its results from the databases, the gateways and the clients.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use sqlx::PgPool;
use test_support::{
    Person,
    canary::{Stopwatch, within},
    sse::Viewer,
};
use tokio::time::sleep;

use super::{
    check::{Event, Message, Project, Row, Turn, Violation},
    record::{Call, CompiledPage, ListHistory, Record, Records, SavedRevision, WatchedTurn},
};
use crate::deployment::Deployment;

const POLL: Duration = Duration::from_millis(100);
const READERS: usize = 8;
/// The limit for an answer of a healthy cluster on a starved machine.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// The limit for an event that is already in the log.
const NEXT_WITHIN: Duration = Duration::from_secs(5);

/// The results of a round.
pub struct Results {
    pub turns: Vec<Turn>,
    pub projects: Vec<Project>,
    pub lists: Vec<ListHistory>,
    /// The pages of compiled projects.
    pub compiled: Vec<CompiledPage>,
    /// Violations that clients or the collection found.
    pub violations: Vec<Violation>,
}

/// Waits until every turn has ended and its end was reported to project-storage. A turn that has not after `turn_limit` is a violation.
///
/// # Errors
/// The database does not answer.
pub async fn wait_until_settled(deployment: &Deployment, turn_limit: Duration) -> Result<Vec<Violation>> {
    let agents = deployment.pool("agent-streaming").await?;
    let clock = Stopwatch::start();
    loop {
        let open: Vec<(String, String)> =
            sqlx::query_as("SELECT id::text, state FROM turns WHERE ended_at IS NULL OR end_due IS NOT NULL").fetch_all(&agents).await?;
        if open.is_empty() {
            return Ok(Vec::new());
        }
        if clock.elapsed() > turn_limit {
            let open_turn = |(id, state)| Violation { rule: "every turn ends", turn: Some(id), text: format!("it is still {state}") };
            return Ok(open.into_iter().map(open_turn).collect());
        }
        sleep(POLL).await;
    }
}

/// Collects the results of a round.
///
/// # Errors
/// A part of the cluster does not answer.
pub async fn collect(deployment: &Deployment, people: &[Person], record: &Record) -> Result<Results> {
    let Records { calls, watched, saved, lists, compiled, violations } = record.take();
    let mut by_number: BTreeMap<u64, Vec<Call>> = BTreeMap::new();
    for call in calls {
        by_number.entry(call.number).or_default().push(call);
    }
    let (agents, storage) = (deployment.pool("agent-streaming").await?, deployment.pool("project-storage").await?);
    let ids: Vec<String> = watched.iter().map(|watched| watched.turn.clone()).collect();
    let mut rows = rows(&agents, &ids).await?;
    let states = states(&storage, &ids).await?;
    let urls = deployment.urls();
    let logs = stream::iter(watched.into_iter().enumerate().map(|(n, watched)| {
        let url = urls[n % urls.len()].clone();
        let person = Person { url, ..people[watched.person].clone() };
        async move { log_of(&person, watched).await }
    }));
    let logs: Vec<_> = logs.buffer_unordered(READERS).try_collect().await?;
    let mut found: Vec<_> = violations.into_iter().map(|text| Violation { rule: "client", turn: None, text }).collect();
    let (mut turns, mut owners) = (Vec::new(), BTreeMap::new());
    for (watched, frames) in logs {
        let Some((project, row)) = rows.remove(&watched.turn) else {
            found.push(Violation { rule: "turn row", turn: Some(watched.turn), text: "the turn has no row".to_owned() });
            continue;
        };
        let log = match frames.iter().map(Event::of).collect::<Result<Vec<_>>>() {
            Ok(log) => log,
            Err(error) => {
                found.push(Violation { rule: "events", turn: Some(watched.turn), text: format!("{error:#}") });
                continue;
            }
        };
        owners.insert(project.clone(), watched.person);
        let calls = by_number.remove(&watched.prompt.number).unwrap_or_default();
        turns.push(Turn { storage: states.get(&watched.turn).copied(), watched, project, frames, log, row, calls });
    }
    let mut projects = projects(&storage, people, owners, &urls[0]).await?;
    for project in &mut projects {
        project.saved = saved.iter().filter(|saved: &&SavedRevision| saved.project == project.id).cloned().collect();
    }
    Ok(Results { turns, projects, lists, compiled, violations: found })
}

async fn log_of(person: &Person, watched: WatchedTurn) -> Result<(WatchedTurn, Vec<test_support::sse::Frame>)> {
    let path = format!("/api/turns/{}/events", watched.turn);
    let viewer = retry_if_starved(async || Viewer::open(person.request(reqwest::Method::GET, &path).send().await?).await).await;
    let mut viewer = viewer.with_context(|| format!("the log of turn {}", watched.turn))?;
    let mut frames = Vec::new();
    // An error or a timeout ends the read. The rules then see the events so far.
    while let Ok(Ok(Some(frame))) = within(NEXT_WITHIN, viewer.next()).await {
        frames.push(frame);
    }
    Ok((watched, frames))
}

/// Repeats a request that got no answer because the machine was starved.
async fn retry_if_starved<T>(request: impl AsyncFn() -> Result<T>) -> Result<T> {
    let clock = Stopwatch::start();
    loop {
        match request().await {
            Err(_) if clock.is_starved() && clock.elapsed() < ANSWERED_WITHIN => sleep(POLL).await,
            answer => return answer,
        }
    }
}

type TurnRow = (String, String, String, String, i64, i32, bool, Vec<i32>);

async fn rows(agents: &PgPool, ids: &[String]) -> Result<BTreeMap<String, (String, Row)>> {
    let rows: Vec<TurnRow> = sqlx::query_as(
        "SELECT t.id::text, coalesce(t.project_id::text, ''), t.state, t.failure_reason, t.epoch, t.last_seq, t.end_due IS NOT NULL,
            ARRAY(SELECT e.seq FROM turn_events e WHERE e.turn_id = t.id ORDER BY e.seq)
        FROM turns t WHERE t.id = ANY($1::text[]::uuid[])",
    )
    .bind(ids)
    .fetch_all(agents)
    .await?;
    let unsigned = |n: i32| u32::try_from(n).unwrap_or_default();
    Ok(rows
        .into_iter()
        .map(|(id, project, state, reason, epoch, last_seq, end_due, seqs)| {
            let seqs = seqs.into_iter().map(unsigned).collect();
            (id, (project, Row { state, reason, epoch, last_seq: unsigned(last_seq), seqs, end_due }))
        })
        .collect())
}

async fn states(storage: &PgPool, ids: &[String]) -> Result<BTreeMap<String, i16>> {
    let rows: Vec<(String, i16)> =
        sqlx::query_as("SELECT id::text, state FROM turns WHERE id = ANY($1::text[]::uuid[])").bind(ids).fetch_all(storage).await?;
    Ok(rows.into_iter().collect())
}

async fn projects(storage: &PgPool, people: &[Person], owners: BTreeMap<String, usize>, url: &str) -> Result<Vec<Project>> {
    let ids: Vec<String> = owners.keys().filter(|id| !id.is_empty()).cloned().collect();
    let duplicates: Vec<(String, String)> = sqlx::query_as(
        "SELECT project_id::text, turn_id::text FROM ref_log
        WHERE project_id = ANY($1::text[]::uuid[]) AND turn_id IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1",
    )
    .bind(&ids)
    .fetch_all(storage)
    .await?;
    let duplicates: BTreeSet<(String, String)> = duplicates.into_iter().collect();
    let rows: Vec<(String, String, bool, String, bool)> = sqlx::query_as(
        "SELECT project_id::text, turn_id::text, role = 1, text, hidden_by IS NULL FROM messages
        WHERE project_id = ANY($1::text[]::uuid[]) ORDER BY id",
    )
    .bind(&ids)
    .fetch_all(storage)
    .await?;
    let mut messages: BTreeMap<String, Vec<Message>> = BTreeMap::new();
    for (project, turn, is_prompt, text, visible) in rows {
        messages.entry(project).or_default().push(Message { turn, is_prompt, text, visible });
    }
    let read = stream::iter(owners.into_iter().filter(|(id, _)| !id.is_empty()).map(|(id, owner)| {
        let person = Person { url: url.to_owned(), ..people[owner].clone() };
        let duplicates = duplicates.iter().filter(|(project, _)| *project == id).map(|(_, turn)| turn.clone()).collect();
        let messages = messages.remove(&id).unwrap_or_default();
        async move {
            let project = retry_if_starved(async || person.get(&format!("/api/projects/{id}")).await).await?;
            let head = project["headNumber"].as_u64().unwrap_or_default();
            let tree = retry_if_starved(async || person.files(&id).await).await?;
            ensure!(head <= u64::from(u32::MAX), "the head of {id} is {head}");
            Ok(Project { id, tree, saved: Vec::new(), messages, head: u32::try_from(head)?, duplicates })
        }
    }));
    read.buffer_unordered(READERS).try_collect().await
}
