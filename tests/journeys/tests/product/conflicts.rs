//! A user saves a file while a turn edits it. Changes of different lines are merged. Changes of the same line end the turn as conflicted, and
//! the user resolves the conflict.

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{
    Cluster, Person,
    model_server::{Answer, At, Gate, ModelServer, Script},
    sse::Frame,
};

const BASE: &str = "<h1>Shop</h1>\n<hr>\n<p>Welcome</p>\n<hr>\n<footer>2025</footer>\n";

struct Fixture {
    models: ModelServer,
    cluster: Cluster,
    person: Person,
    project: String,
}

impl Fixture {
    /// Starts a cluster and creates a project with one page.
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

    /// Runs a turn that replaces a text in the page while the user saves the page. Returns the events of the turn and the revision of the save.
    async fn turn_with_save(&self, edit: (&str, &str), save: (&str, &str)) -> Result<(Vec<Frame>, String)> {
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
async fn changes_of_different_lines_are_merged() -> Result<()> {
    let fixture = Fixture::start().await?;
    let base = fixture.newest().await?["id"].clone();
    let (frames, saved) = fixture.turn_with_save(("Shop", "Bicycles"), ("2025", "2026")).await?;
    assert_eq!(frames.last().map(Frame::kind).as_deref(), Some("turn.completed"), "{:?}", frames.last());
    assert_eq!(fixture.page().await?, "<h1>Bicycles</h1>\n<hr>\n<p>Welcome</p>\n<hr>\n<footer>2026</footer>\n");
    let newest = fixture.newest().await?;
    assert_eq!(newest["parentIds"], json!([saved]));
    assert_eq!(event(&frames, "files.committed")["data"]["revision"], newest["id"]);

    // A save based on the first revision is merged, too, if it requests that.
    let third = BASE.replace("Welcome", "Hello");
    let save = |on_conflict: &str| json!({ "projectId": fixture.project, "baseRevision": base, "onConflict": on_conflict, "changes": [write("index.html", &third)] });
    let (status, problem) = fixture.person.refused(Method::POST, "/api/projects/save", save("ON_CONFLICT_FAIL")).await?;
    assert_eq!((status, problem["reason"].as_str()), (StatusCode::CONFLICT, Some("STALE_REVISION")));
    fixture.person.post("/api/projects/save", save("ON_CONFLICT_MERGE")).await?;
    assert_eq!(fixture.page().await?, "<h1>Bicycles</h1>\n<hr>\n<p>Hello</p>\n<hr>\n<footer>2026</footer>\n");
    fixture.cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_the_same_line_are_a_conflict_that_the_user_resolves() -> Result<()> {
    let fixture = Fixture::start().await?;
    let person = &fixture.person;
    let base = fixture.newest().await?["id"].clone();
    let (frames, head) = fixture.turn_with_save(("Shop", "Bicycles"), ("Shop", "Boats")).await?;
    let end = frames.last().map(Frame::json).unwrap_or_default();
    assert_eq!(end["type"], "turn.conflicted", "{end}");
    assert_eq!(event(&frames, "files.conflict")["data"]["paths"], json!(["index.html"]));
    assert_eq!(fixture.page().await?, BASE.replace("Shop", "Boats"), "the save is kept");
    let turn = end["turnId"].as_str().unwrap_or_default();

    let path = format!("/api/projects/{}/conflicts/{turn}", fixture.project);
    let conflict = person.get(&path).await?;
    let revisions = ["baseRevision", "headRevision", "turnRevision"].map(|field| &conflict[field]);
    assert_eq!(revisions, [&base, &json!(head), &end["data"]["revision"]]);
    let side = |side: &str| conflict["files"][0][side]["content"]["text"].as_str().unwrap_or_default().to_owned();
    assert_eq!((side("base"), side("head")), (BASE.to_owned(), BASE.replace("Shop", "Boats")));
    assert_eq!(side("turn"), BASE.replace("Shop", "Bicycles"));
    assert_eq!(conflict["files"].as_array().map(Vec::len), Some(1));

    // Another turn completes meanwhile and moves the head.
    fixture.models.script(Script::queue([
        Answer::default().tool("write_file", json!({ "path": "about.html", "content": "<p>About</p>\n" })),
        Answer::default().text("Done."),
    ]));
    let other = person.turn(json!({ "projectId": fixture.project, "prompt": "an about page" })).await?;
    assert_eq!(other.outcome(), "turn.completed");

    let both = BASE.replace("Shop", "Boats and bicycles");
    let files = json!([{ "path": "index.html", "take": "TAKE_CONTENT", "content": { "text": both } }]);
    let resolve = format!("{path}/resolve");
    let (status, problem) = person.refused(Method::POST, &resolve, json!({ "baseRevision": head, "files": files })).await?;
    assert_eq!((status, problem["reason"].as_str()), (StatusCode::CONFLICT, Some("STALE_REVISION")), "the base revision is not the head");
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
    let other_user = fixture.cluster.person().await?;
    assert_eq!(other_user.refused(Method::GET, &path, json!({})).await?.0, StatusCode::NOT_FOUND);
    assert_eq!(other_user.refused(Method::POST, &resolve, good.clone()).await?.0, StatusCode::NOT_FOUND);

    let response = person.request(Method::POST, &resolve).header("idempotency-key", "r1").json(&good).send().await?;
    assert_eq!(response.status(), StatusCode::OK);
    let etag = response.headers().get("etag").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let resolved: Value = response.json().await?;
    assert_eq!(resolved["revision"]["parentIds"], json!([head, end["data"]["revision"]]));
    assert_eq!(json!(etag), resolved["project"]["etag"]);
    assert_eq!(fixture.page().await?, both);
    assert!(person.files(&fixture.project).await?.contains_key("about.html"));
    assert_eq!(fixture.newest().await?, resolved["revision"]);

    let again = person.request(Method::POST, &resolve).header("idempotency-key", "r1").json(&good).send().await?;
    assert_eq!(again.json::<Value>().await?, resolved, "a repeated request gets the same answer");
    for (method, path) in [(Method::GET, &path), (Method::POST, &resolve)] {
        let (status, problem) = person.refused(method, path, good.clone()).await?;
        assert_eq!((status, problem["reason"].as_str()), (StatusCode::CONFLICT, Some("CONFLICT_RESOLVED")));
        assert_eq!(problem["metadata"]["revision"], resolved["revision"]["id"]);
    }
    fixture.cluster.stop().await
}
