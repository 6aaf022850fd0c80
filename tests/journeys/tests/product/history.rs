//! A user compares what a turn has changed, names the revision before it, and restores that revision.

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{Cluster, Person};

async fn put(person: &Person, path: &str, body: Value) -> Result<(StatusCode, Value)> {
    let response = person.request(Method::PUT, path).json(&body).send().await?;
    Ok((response.status(), response.json().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_compared_and_undone() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let first = person.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?;
    let project = first.project.clone();
    let before = person.files(&project).await?;
    let root = format!("/api/projects/{project}");
    let label = format!("{root}/labels/before%20dark%20mode");
    let base = person.get(&root).await?["headRevision"].clone();
    let (status, set) = put(&person, &label, json!({ "revision": base })).await?;
    assert_eq!((status, &set["name"], &set["revision"]), (StatusCode::OK, &json!("before dark mode"), &base));

    let second = person.turn(json!({ "projectId": project, "prompt": "make it dark" })).await?;
    let after = person.files(&project).await?;
    assert_ne!(before, after, "the turn has changed files");
    let diff = person.get(&format!("{root}/diff?turnId={}", second.turn)).await?;
    assert_eq!(diff["baseRevision"], base);
    let changed: Vec<_> = diff["files"].as_array().into_iter().flatten().map(|file| file["path"].clone()).collect();
    let expected: Vec<_> = after.iter().filter(|(path, text)| before.get(*path) != Some(text)).map(|(path, _)| json!(path)).collect();
    assert_eq!(changed, expected);
    assert!(diff["files"][0]["hunks"][0]["text"].as_str().is_some_and(|text| text.contains("\n+")), "{diff}");

    past_of_a_file(&person, &root, &second.turn).await?;

    let labelled = person.get(&format!("{root}/labels")).await?["labels"][0]["revision"].as_str().unwrap_or_default().to_owned();
    let restore = format!("{root}/revisions/{labelled}/restore");
    let conditional = |etag: String| person.request(Method::POST, &restore).header("if-match", etag).json(&json!({})).send();
    assert_eq!(conditional("\"0000\"".to_owned()).await?.status(), StatusCode::PRECONDITION_FAILED);
    let etag = person.get(&root).await?["etag"].as_str().unwrap_or_default().to_owned();
    let response = conditional(etag).await?;
    assert_eq!(response.status(), StatusCode::OK);
    let restored: Value = response.json().await?;
    assert_eq!((&restored["revision"]["message"], &restored["revision"]["number"]), (&json!("Restore revision 1"), &json!(3)));
    assert_eq!(person.files(&project).await?, before);
    let log = person.get(&format!("{root}/revisions")).await?;
    assert_eq!(log["revisions"][2]["labels"], json!(["before dark mode"]));

    assert_eq!(person.request(Method::DELETE, &label).send().await?.status(), StatusCode::OK);
    let gone: Value = person.request(Method::DELETE, &label).send().await?.json().await?;
    assert_eq!((&gone["status"], &gone["reason"]), (&json!(404), &json!("LABEL_NOT_FOUND")));
    cluster.stop().await
}

/// The turn that changed a file is in the file's history, made some of its lines, and is found by each condition.
async fn past_of_a_file(person: &Person, root: &str, turn: &str) -> Result<()> {
    let by_turn = person.get(&format!("{root}/revisions?turnId={turn}")).await?["revisions"].clone();
    let [revision] = by_turn.as_array().map(Vec::as_slice).unwrap_or_default() else { anyhow::bail!("one revision: {by_turn}") };
    let diff = person.get(&format!("{root}/diff?turnId={turn}&namesOnly=true")).await?;
    let path = diff["files"][0]["path"].as_str().unwrap_or_default().to_owned();
    let time = revision["createTime"].as_str().unwrap_or_default().replace('+', "%2B");
    let user = revision["userId"].as_str().unwrap_or_default();
    let by_all = person.get(&format!("{root}/revisions?path={path}&userId={user}&startTime={time}")).await?;
    assert_eq!(by_all["revisions"], by_turn);
    let before = person.get(&format!("{root}/revisions?endTime={time}")).await?;
    assert_eq!(before["revisions"].as_array().map(Vec::len), Some(1), "{before}");

    let history = person.get(&format!("{root}/history/{path}")).await?;
    assert_eq!(history["fileRevisions"][0]["revision"]["turnId"], json!(turn), "{history}");
    let blame = person.get(&format!("{root}/blame/{path}")).await?;
    let made: Vec<_> = blame["revisions"].as_array().into_iter().flatten().map(|made| made["turnId"].clone()).collect();
    assert!(made.contains(&json!(turn)), "{blame}");
    let lines: u64 = blame["ranges"].as_array().into_iter().flatten().filter_map(|range| range["lineCount"].as_u64()).sum();
    assert_eq!(json!(lines), blame["totalLines"]);
    Ok(())
}
