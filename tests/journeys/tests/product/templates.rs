//! A user publishes a project as a template; another one finds it, fills in its variables, rates it, and keeps what was made of it.

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_project_becomes_a_template_and_projects_again() -> Result<()> {
    let cluster = Cluster::start().await?;
    let (ann, bob) = (cluster.person().await?, cluster.person().await?);
    let turn = ann.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?;
    let page = json!({ "path": "about.html", "write": { "text": "<h1>About %%company%%</h1>" } });
    ann.post(&format!("/api/projects/{}/changes", turn.project), json!({ "changes": [page] })).await?;
    let files = ann.files(&turn.project).await?;

    let variable = json!({ "name": "company", "label": "Company", "pattern": "[A-Za-z ]{2,40}", "required": true });
    let body = json!({ "projectId": turn.project, "title": "Page with a counter", "tags": ["Counter"], "variables": [variable] });
    let published: Value = ann.request(Method::POST, "/api/templates").json(&body).send().await?.json().await?;
    let path = format!("/api/templates/{}", published["id"].as_str().unwrap_or_default());
    assert_eq!((&published["version"], &published["tags"]), (&json!(1), &json!(["counter"])), "{published}");

    let found = bob.get("/api/templates?query=counter&tag=counter&order=TEMPLATE_ORDER_NEWEST").await?;
    assert_eq!(found["templates"][0]["id"], published["id"], "{found}");
    let shown = bob.get(&path).await?;
    assert_eq!((shown["variables"][0]["name"].as_str(), shown["versions"][0]["version"].as_u64()), (Some("company"), Some(1)), "{shown}");
    let file = bob.get(&format!("{path}/files/about.html")).await?;
    assert_eq!(file["content"]["text"], "<h1>About %%company%%</h1>");

    let usage = |value: &str| json!({ "displayName": "Mine", "values": [{ "name": "company", "value": value }] });
    for (value, field) in [("", "values[0].value"), ("<b>", "values[0].value")] {
        let (status, problem) = bob.refused(Method::POST, &format!("{path}/use"), usage(value)).await?;
        assert_eq!((status, &problem["errors"][0]["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{problem}");
    }
    let used = bob.post(&format!("{path}/use"), usage("Bob and Sons")).await?;
    assert_eq!((&used["project"]["displayName"], &used["revision"]["actor"]), (&json!("Mine"), &json!("ACTOR_TEMPLATE")), "{used}");
    let project = used["project"]["id"].as_str().unwrap_or_default().to_owned();
    let mut expected = files;
    expected.insert("about.html".to_owned(), "<h1>About Bob and Sons</h1>".to_owned());
    assert_eq!(bob.files(&project).await?, expected);

    let review = bob.request(Method::PUT, &format!("{path}/review")).json(&json!({ "stars": 4, "text": "Counts." })).send().await?;
    assert_eq!(review.status(), StatusCode::OK);
    let rated = ann.get(&path).await?;
    assert_eq!((&rated["template"]["averageRatingHundredths"], &rated["template"]["useCount"]), (&json!(400), &json!(1)), "{rated}");
    assert_eq!(ann.get(&format!("{path}/reviews")).await?["reviews"][0]["text"], "Counts.");
    let (status, problem) = bob.refused(Method::DELETE, &path, json!({})).await?;
    assert_eq!((status, &problem["reason"]), (StatusCode::FORBIDDEN, &json!("PUBLISHER_REQUIRED")));

    assert_eq!(ann.request(Method::DELETE, &path).send().await?.status(), StatusCode::OK);
    let (status, problem) = bob.refused(Method::GET, &path, json!({})).await?;
    assert_eq!((status, &problem["reason"]), (StatusCode::NOT_FOUND, &json!("TEMPLATE_NOT_FOUND")));
    assert_eq!(bob.files(&project).await?, expected, "projects that were made of it stay");
    cluster.stop().await
}
