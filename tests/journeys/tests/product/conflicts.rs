//! A person saves while an agent works on the same file. Changes of different lines are merged. Changes of the same line end the turn as
//! conflicted, and a person resolves the conflict.

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{
    Cluster, Person,
    model_server::{Answer, At, Gate, ModelServer, Script},
    sse::Frame,
};

const BASE: &str = "<h1>Shop</h1>\n<hr>\n<p>Welcome</p>\n<hr>\n<footer>2025</footer>\n";

struct Stage {
    models: ModelServer,
    cluster: Cluster,
    person: Person,
    project: String,
}

impl Stage {
    /// A project with one page.
    async fn start() -> Result<Self> {
        let models = ModelServer::start(Script::queue([])).await;
        let settings =
            [("ANTHROPIC_API_KEY", "sk-ant-x"), ("ANTHROPIC_BASE_URL", models.url()), ("BACKLOT_MODEL", "anthropic/claude-test")];
        let cluster = Cluster::with(&settings).await?;
        let person = cluster.person().await?;
        let saved = person.post("/api/projects/save", json!({ "draftId": "shop", "changes": [write("index.html", BASE)] })).await?;
        let project = saved["project"]["id"].as_str().unwrap_or_default().to_owned();
        Ok(Self { models, cluster, person, project })
    }

    /// Runs a turn that replaces one text by another in the page, while the person saves: the turn's events and the revision
    /// that the save made.
    async fn turn_beside_a_save(&self, edit: (&str, &str), save: (&str, &str)) -> Result<(Vec<Frame>, String)> {
        let gate = Gate::default();
        let input = json!({ "path": "index.html", "old_text": edit.0, "new_text": edit.1 });
        self.models.script(Script::queue([
            Answer::default().tool("edit_file", input).hold_at(At::Event(1), &gate),
            Answer::default().text("Changed."),
        ]));
        let mut viewer = self.person.stream(json!({ "projectId": self.project, "prompt": "change it" })).await?;
        let mut frames = viewer.until("turn.started").await?;
        let page = self.page().await?.replace(save.0, save.1);
        let body = json!({ "projectId": self.project, "changes": [write("index.html", &page)] });
        let saved = self.person.post("/api/projects/save", body).await?;
        gate.open();
        frames.extend(viewer.rest().await?);
        Ok((frames, saved["revision"]["id"].as_str().unwrap_or_default().to_owned()))
    }

    async fn page(&self) -> Result<String> {
        Ok(self.person.files(&self.project).await?["index.html"].clone())
    }

    async fn newest(&self) -> Result<Value> {
        Ok(self.person.get(&format!("/api/projects/{}/revisions", self.project)).await?["revisions"][0].clone())
    }
}

fn write(path: &str, text: &str) -> Value {
    json!({ "path": path, "write": { "text": text } })
}

fn event(frames: &[Frame], kind: &str) -> Value {
    frames.iter().find(|frame| frame.kind() == kind).map(Frame::json).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_elsewhere_in_the_file_and_the_turn_are_both_there() -> Result<()> {
    let stage = Stage::start().await?;
    let base = stage.newest().await?["id"].clone();
    let (frames, saved) = stage.turn_beside_a_save(("Shop", "Bicycles"), ("2025", "2026")).await?;
    assert_eq!(frames.last().map(Frame::kind).as_deref(), Some("turn.completed"), "{:?}", frames.last());
    assert_eq!(stage.page().await?, "<h1>Bicycles</h1>\n<hr>\n<p>Welcome</p>\n<hr>\n<footer>2026</footer>\n");
    let newest = stage.newest().await?;
    assert_eq!(newest["parentIds"], json!([saved]));
    assert_eq!(event(&frames, "files.committed")["data"]["revision"], newest["id"]);

    // A person who edited the first revision, too, if the save says so.
    let third = BASE.replace("Welcome", "Hello");
    let save = |on_conflict: &str| json!({ "projectId": stage.project, "baseRevision": base, "onConflict": on_conflict, "changes": [write("index.html", &third)] });
    let (status, problem) = stage.person.refused(Method::POST, "/api/projects/save", save("ON_CONFLICT_FAIL")).await?;
    assert_eq!((status, problem["reason"].as_str()), (StatusCode::CONFLICT, Some("STALE_REVISION")));
    stage.person.post("/api/projects/save", save("ON_CONFLICT_MERGE")).await?;
    assert_eq!(stage.page().await?, "<h1>Bicycles</h1>\n<hr>\n<p>Hello</p>\n<hr>\n<footer>2026</footer>\n");
    stage.cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_line_is_a_conflict_that_a_person_resolves() -> Result<()> {
    let stage = Stage::start().await?;
    let person = &stage.person;
    let base = stage.newest().await?["id"].clone();
    let (frames, head) = stage.turn_beside_a_save(("Shop", "Bicycles"), ("Shop", "Boats")).await?;
    let end = frames.last().map(Frame::json).unwrap_or_default();
    assert_eq!(end["type"], "turn.conflicted", "{end}");
    assert_eq!(event(&frames, "files.conflict")["data"]["paths"], json!(["index.html"]));
    assert_eq!(stage.page().await?, BASE.replace("Shop", "Boats"), "the save stands");
    let turn = end["turnId"].as_str().unwrap_or_default();

    let path = format!("/api/projects/{}/conflicts/{turn}", stage.project);
    let look = person.get(&path).await?;
    assert_eq!((&look["baseRevision"], &look["headRevision"], &look["turnRevision"]), (&base, &json!(head), &end["data"]["revision"]));
    let side = |side: &str| look["files"][0][side]["content"]["text"].as_str().unwrap_or_default().to_owned();
    assert_eq!((side("base"), side("head")), (BASE.to_owned(), BASE.replace("Shop", "Boats")));
    assert_eq!(side("turn"), BASE.replace("Shop", "Bicycles"));
    assert_eq!(look["files"].as_array().map(Vec::len), Some(1));

    // Other turns go on meanwhile, and move the head.
    stage.models.script(Script::queue([
        Answer::default().tool("write_file", json!({ "path": "about.html", "content": "<p>About</p>\n" })),
        Answer::default().text("Done."),
    ]));
    let other = person.turn(json!({ "projectId": stage.project, "prompt": "an about page" })).await?;
    assert_eq!(other.outcome(), "turn.completed");

    let both = BASE.replace("Shop", "Boats and bicycles");
    let files = json!([{ "path": "index.html", "take": "TAKE_CONTENT", "content": { "text": both } }]);
    let resolve = format!("{path}/resolve");
    let (status, problem) = person.refused(Method::POST, &resolve, json!({ "baseRevision": head, "files": files })).await?;
    assert_eq!((status, problem["reason"].as_str()), (StatusCode::CONFLICT, Some("STALE_REVISION")), "it was looked at too early");
    let head = person.get(&path).await?["headRevision"].clone();
    let good = json!({ "baseRevision": head, "files": files });
    for (body, field) in [
        (json!({ "baseRevision": head, "files": [] }), "files"),
        (json!({ "baseRevision": head, "files": files, "projectId": uuid::Uuid::now_v7() }), "projectId"),
        (json!({ "baseRevision": head, "files": files, "turnId": uuid::Uuid::now_v7() }), "turnId"),
        (json!({ "baseRevision": head, "files": [{ "path": "index.html", "take": "TAKE_CONTENT" }] }), "files[0].content"),
    ] {
        let (status, problem) = person.refused(Method::POST, &resolve, body).await?;
        assert_eq!((status, problem["errors"][0]["field"].as_str()), (StatusCode::BAD_REQUEST, Some(field)), "{problem}");
    }
    let stranger = stage.cluster.person().await?;
    assert_eq!(stranger.refused(Method::GET, &path, json!({})).await?.0, StatusCode::NOT_FOUND);
    assert_eq!(stranger.refused(Method::POST, &resolve, good.clone()).await?.0, StatusCode::NOT_FOUND);

    let response = person.request(Method::POST, &resolve).header("idempotency-key", "r1").json(&good).send().await?;
    assert_eq!(response.status(), StatusCode::OK);
    let etag = response.headers().get("etag").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let resolved: Value = response.json().await?;
    assert_eq!(resolved["revision"]["parentIds"], json!([head, end["data"]["revision"]]));
    assert_eq!(json!(etag), resolved["project"]["etag"]);
    assert_eq!(stage.page().await?, both);
    assert!(person.files(&stage.project).await?.contains_key("about.html"));
    assert_eq!(stage.newest().await?, resolved["revision"]);

    let again = person.request(Method::POST, &resolve).header("idempotency-key", "r1").json(&good).send().await?;
    assert_eq!(again.json::<Value>().await?, resolved, "a repeat is the same answer");
    for (method, path) in [(Method::GET, &path), (Method::POST, &resolve)] {
        let (status, problem) = person.refused(method, path, good.clone()).await?;
        assert_eq!((status, problem["reason"].as_str()), (StatusCode::CONFLICT, Some("CONFLICT_RESOLVED")));
        assert_eq!(problem["metadata"]["revision"], resolved["revision"]["id"]);
    }
    stage.cluster.stop().await
}
