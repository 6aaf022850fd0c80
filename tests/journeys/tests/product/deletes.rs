//! A user deletes a project, restores it, and purges it. A purge leaves nothing of its turns.

use std::time::Duration;

use anyhow::Result;
use chassis::testing::eventually;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::Cluster;

/// How long the service of turns may take to learn of a purge.
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_deleted_restored_and_purged() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let turn = person.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?;
    let project = format!("/api/projects/{}", turn.project);
    let files = person.files(&turn.project).await?;

    let deleted: Value = person.request(Method::DELETE, &project).send().await?.json().await?;
    assert!(deleted["purgeTime"].is_string(), "{deleted}");
    let (status, problem) = person.refused(Method::GET, &project, json!({})).await?;
    assert_eq!((status, &problem["reason"]), (StatusCode::NOT_FOUND, &json!("PROJECT_NOT_FOUND")));
    assert_eq!(person.get("/api/projects").await?["projects"], json!([]));
    let listed = person.get("/api/projects?deleted=true").await?;
    assert_eq!((&listed["projects"][0]["id"], &listed["projects"][0]["purgeTime"]), (&json!(turn.project), &deleted["purgeTime"]));
    let (status, problem) = person.refused(Method::POST, "/api/turns", json!({ "projectId": turn.project, "prompt": "more" })).await?;
    assert_eq!((status, &problem["reason"]), (StatusCode::NOT_FOUND, &json!("PROJECT_NOT_FOUND")));

    let restored = person.post(&format!("{project}/undelete"), json!({})).await?;
    assert_eq!((&restored["draftId"], &restored["deleteTime"]), (&json!("d"), &Value::Null));
    assert_eq!(person.files(&turn.project).await?, files);
    let messages = person.get(&format!("{project}/messages")).await?;
    assert_eq!(messages["messages"].as_array().map(Vec::len), Some(2));

    let purged: Value = person.request(Method::DELETE, &format!("{project}?purge=true")).send().await?.json().await?;
    assert_eq!(purged, json!({}));
    assert_eq!(person.request(Method::POST, &format!("{project}/undelete")).json(&json!({})).send().await?.status(), StatusCode::NOT_FOUND);
    let path = format!("/api/turns/{}", turn.turn);
    eventually(LIMIT, || async {
        let response = person.request(Method::GET, &path).send().await.ok()?;
        (response.status() == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
    cluster.stop().await
}
