//! A user forks a project, and both go on by themselves.

use anyhow::{Context, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{Cluster, Person};

async fn post(person: &Person, path: &str, body: Value) -> Result<(StatusCode, Value)> {
    let response = person.request(Method::POST, path).json(&body).send().await?;
    Ok((response.status(), response.json().await?))
}

async fn save(person: &Person, project: &str, text: &str) -> Result<Value> {
    let changes = json!([{ "path": "notes.txt", "write": { "text": text } }]);
    person.post(&format!("/api/projects/{project}/changes"), json!({ "changes": changes })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_forked() -> Result<()> {
    let cluster = Cluster::start().await?;
    let (ann, stranger) = (cluster.person().await?, cluster.person().await?);
    let project = ann.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?.project;
    save(&ann, &project, "one\ntwo\nthree\n").await?;
    let fork = format!("/api/projects/{project}/fork");
    let (status, problem) = post(&stranger, &fork, json!({})).await?;
    assert_eq!((status, &problem["reason"]), (StatusCode::NOT_FOUND, &json!("PROJECT_NOT_FOUND")));

    let keyed = || ann.request(Method::POST, &fork).header("idempotency-key", "k").json(&json!({ "displayName": "Mine" })).send();
    let (first, again) = (keyed().await?, keyed().await?);
    assert_eq!((first.status(), again.headers().contains_key("idempotency-replayed")), (StatusCode::CREATED, true));
    let forked: Value = first.json().await?;
    assert_eq!(forked, again.json::<Value>().await?);
    assert_eq!((&forked["forkedFrom"]["projectId"], &forked["forkedFrom"]["number"]), (&json!(project), &json!(2)));
    let id = forked["id"].as_str().context("an id")?;
    assert_eq!(ann.files(id).await?, ann.files(&project).await?);

    let theirs = save(&ann, &project, "ONE\ntwo\nthree\n").await?["revision"]["id"].clone();
    save(&ann, id, "one\ntwo\nTHREE\n").await?;
    let log = ann.get(&format!("/api/projects/{id}/revisions")).await?;
    assert_eq!(log["revisions"].as_array().map(Vec::len), Some(3));
    let foreign = format!("/api/projects/{id}/revisions/{}", theirs.as_str().context("an id")?);
    assert_eq!(ann.request(Method::GET, &foreign).send().await?.status(), StatusCode::NOT_FOUND);
    let forks = ann.get(&format!("/api/projects/{project}/forks")).await?;
    assert_eq!(forks["forks"][0]["id"], json!(id));

    let merge = format!("/api/projects/{project}/merge");
    let (status, problem) = post(&stranger, &merge, json!({ "sourceProjectId": id })).await?;
    assert_eq!((status, &problem["reason"]), (StatusCode::NOT_FOUND, &json!("PROJECT_NOT_FOUND")));
    let merged = ann.post(&merge, json!({ "sourceProjectId": id })).await?;
    assert_eq!(merged["outcome"], "COMMIT_OUTCOME_COMMITTED");
    assert_eq!(ann.files(&project).await?.get("notes.txt").map(String::as_str), Some("ONE\ntwo\nTHREE\n"));
    save(&ann, &project, "ONE\nours\nTHREE\n").await?;
    save(&ann, id, "one\ntheirs\nTHREE\n").await?;
    let conflicted = ann.post(&merge, json!({ "sourceProjectId": id })).await?;
    assert_eq!((&conflicted["outcome"], &conflicted["conflictPaths"]), (&json!("COMMIT_OUTCOME_CONFLICTED"), &json!(["notes.txt"])));
    let conflict = format!("/api/projects/{project}/conflicts/{}", conflicted["conflictId"].as_str().context("an id")?);
    let found = ann.get(&conflict).await?;
    let files = json!([{ "path": "notes.txt", "take": "TAKE_TURN" }]);
    ann.post(&format!("{conflict}/resolve"), json!({ "baseRevision": found["headRevision"], "files": files })).await?;
    assert_eq!(ann.files(&project).await?.get("notes.txt").map(String::as_str), Some("one\ntheirs\nTHREE\n"));
    let again = ann.post(&merge, json!({ "sourceProjectId": id })).await?;
    assert_eq!(again["outcome"], "COMMIT_OUTCOME_UNCHANGED");

    assert_eq!(ann.request(Method::DELETE, &format!("/api/projects/{project}?purge=true")).send().await?.status(), StatusCode::OK);
    let log = ann.get(&format!("/api/projects/{id}/revisions")).await?;
    assert_eq!(log["revisions"].as_array().map(Vec::len), Some(4));
    cluster.stop().await
}
