//! The events of a project: what one client saves reaches the others, at every cursor, until they may no longer read the project.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{
    Cluster, Person,
    canary::within,
    sse::{Frame, Viewer},
};

/// How long an event, or the end of a stream, may take.
const LIMIT: Duration = Duration::from_secs(60);

struct Watched {
    person: Person,
    project: String,
    path: String,
}

impl Watched {
    /// A project with one revision.
    async fn new(cluster: &Cluster) -> Result<Self> {
        let person = cluster.person().await?;
        let saved = save(&person, json!({ "draftId": "d" }), "1").await?;
        let project = saved["project"]["id"].as_str().context("a project")?.to_owned();
        Ok(Self { person, path: format!("/api/projects/{project}/events"), project })
    }

    async fn save(&self, text: &str) -> Result<Value> {
        save(&self.person, json!({ "projectId": self.project }), text).await
    }

    async fn open(&self, query: &str) -> Result<Viewer> {
        Viewer::open(self.person.request(Method::GET, &format!("{}{query}", self.path)).send().await?).await
    }
}

async fn save(person: &Person, target: Value, text: &str) -> Result<Value> {
    let mut body = target;
    body["changes"] = json!([{ "path": "a.txt", "write": { "text": text } }]);
    person.post("/api/projects/save", body).await
}

async fn next(viewer: &mut Viewer) -> Result<Frame> {
    within(LIMIT, viewer.next()).await.ok().context("no event in time")??.context("the stream has no end")
}

/// Waits until the stream breaks, without an event before it.
async fn broken(viewer: &mut Viewer) -> Result<()> {
    let ended = within(LIMIT, viewer.next()).await.ok().context("no end in time")?;
    assert!(ended.is_err(), "{ended:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_see_what_either_saves() -> Result<()> {
    let cluster = Cluster::with(&[("BACKLOT_HEARTBEAT", "100ms")]).await?;
    let watched = Watched::new(&cluster).await?;
    let (mut one, mut other) = (watched.open("").await?, watched.open("?after=1").await?);
    let reset = next(&mut one).await?;
    assert_eq!((reset.id, reset.kind().as_str(), &reset.json()["data"]["revision"]["number"]), (1, "head.reset", &json!(1)));
    let saved = watched.save("2").await?;
    let listed = watched.person.get(&format!("/api/projects/{}/revisions", watched.project)).await?["revisions"][0].take();
    for viewer in [&mut one, &mut other] {
        let frame = next(viewer).await?;
        let event = frame.json();
        assert_eq!((frame.id, frame.kind().as_str(), &event["seq"]), (2, "revision.committed", &json!(2)));
        assert_eq!((&event["projectId"], &event["data"]["revision"]), (&json!(watched.project), &listed), "as the list has it");
        assert_eq!(event["data"]["revision"]["id"], saved["revision"]["id"]);
        assert!(viewer.retry_ms.is_some_and(|ms| ms >= 1000));
    }
    let done = watched.person.turn(json!({ "projectId": watched.project, "prompt": "a counter" })).await?;
    for viewer in [&mut one, &mut other] {
        let event = next(viewer).await?.json();
        assert_eq!((&event["data"]["revision"]["turnId"], &event["data"]["revision"]["actor"]), (&json!(done.turn), &json!("ACTOR_AGENT")));
        assert!(viewer.comments.iter().any(|comment| comment == "ping"), "{:?}", viewer.comments);
    }
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cursor_gives_exactly_the_revisions_after_it() -> Result<()> {
    let cluster = Cluster::start().await?;
    let watched = Watched::new(&cluster).await?;
    for n in 2..=4 {
        watched.save(&n.to_string()).await?;
    }
    for after in 0..=4_u32 {
        let mut by_query = watched.open(&format!("?after={after}")).await?;
        let header = watched.person.request(Method::GET, &format!("{}?after=3", watched.path)).header("last-event-id", after.to_string());
        let mut by_header = Viewer::open(header.send().await?).await?;
        for viewer in [&mut by_query, &mut by_header] {
            for expected in after + 1..=4 {
                assert_eq!(next(viewer).await?.id, expected, "after {after}");
            }
        }
    }
    for (path, reason) in [("?after=5", "CURSOR_AHEAD"), ("?after=x", "INVALID_FIELD"), ("?after=-1", "INVALID_FIELD")] {
        let (status, problem) = watched.person.refused(Method::GET, &format!("{}{path}", watched.path), json!({})).await?;
        assert_eq!((status.as_u16(), problem["reason"].as_str()), (400, Some(reason)), "{path}: {problem}");
    }
    let garbage = watched.person.request(Method::GET, &watched.path).header("last-event-id", "x").send().await?;
    assert_eq!(garbage.status(), 400);
    let mut lines =
        watched.person.request(Method::GET, &format!("{}?after=3", watched.path)).header("accept", "application/x-ndjson").send().await?;
    assert_eq!(lines.headers()["content-type"], "application/x-ndjson");
    let line = within(LIMIT, lines.chunk()).await.ok().context("no line in time")??.context("a line")?;
    assert_eq!(serde_json::from_slice::<Value>(&line)?["seq"], 4);
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_project_and_with_the_session() -> Result<()> {
    let cluster = Cluster::with(&[("BACKLOT_MAX_STREAMS_PER_USER", "3")]).await?;
    let (watched, stranger) = (Watched::new(&cluster).await?, cluster.person().await?);
    for path in [watched.path.as_str(), "/api/projects/01890000-0000-7000-8000-000000000000/events"] {
        let (status, problem) = stranger.refused(Method::GET, path, json!({})).await?;
        assert_eq!((status.as_u16(), problem["reason"].as_str()), (404, Some("PROJECT_NOT_FOUND")));
    }
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(watched.open("?after=1").await?);
    }
    let (status, problem) = watched.person.refused(Method::GET, &watched.path, json!({})).await?;
    assert_eq!((status.as_u16(), &problem["metadata"]["policy"]), (429, &json!("streams")), "{problem}");
    watched.person.request(Method::DELETE, &format!("/api/projects/{}", watched.project)).send().await?.error_for_status()?;
    for viewer in &mut open {
        broken(viewer).await?;
    }
    drop(open);

    let watched = Watched::new(&cluster).await?;
    let mut viewer = watched.open("?after=1").await?;
    watched.person.post("/api/auth/signout", json!({})).await?;
    broken(&mut viewer).await?;
    assert_eq!(watched.person.request(Method::GET, &watched.path).send().await?.status(), 401);
    cluster.stop().await
}
