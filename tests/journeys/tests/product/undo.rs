//! A user undoes and redoes a turn, reverts an older save, and resolves the conflict of a revert.

use anyhow::{Context, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{Cluster, Person};

/// Posts with an idempotency key. Returns the status, whether the answer is a replay, and the answer.
async fn post(person: &Person, path: &str, key: &str, body: Value) -> Result<(StatusCode, bool, Value)> {
    let response = person.request(Method::POST, path).header("idempotency-key", key).json(&body).send().await?;
    let replayed = response.headers().get("idempotency-replayed").is_some_and(|value| value == "true");
    Ok((response.status(), replayed, response.json().await?))
}

/// The outcome of an answer without its prefix.
fn outcome(answer: &Value) -> &str {
    answer["outcome"].as_str().unwrap_or_default().trim_start_matches("COMMIT_OUTCOME_")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_undone_and_redone() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let first = person.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?;
    let (project, before) = (first.project.clone(), person.files(&first.project).await?);
    let root = format!("/api/projects/{project}");
    let second = person.turn(json!({ "projectId": project, "prompt": "make it dark" })).await?;
    let after = person.files(&project).await?;
    assert_ne!(before, after);

    let (undo, redo) = (format!("{root}/undo"), format!("{root}/redo"));
    let (status, replayed, undone) = post(&person, &undo, "u1", json!({})).await?;
    assert_eq!((status, replayed, outcome(&undone)), (StatusCode::OK, false, "COMMITTED"), "{undone}");
    let head = person.get(&format!("{root}/revisions")).await?["revisions"][1]["id"].clone();
    assert_eq!(undone["revision"]["undoes"], head);
    assert_eq!(person.files(&project).await?, before);
    let (_, replayed, again) = post(&person, &undo, "u1", json!({})).await?;
    assert_eq!((replayed, &again), (true, &undone));
    let (_, _, redone) = post(&person, &redo, "r1", json!({})).await?;
    assert_eq!((outcome(&redone), person.files(&project).await?), ("COMMITTED", after));
    let (status, _, problem) = post(&person, &redo, "r2", json!({})).await?;
    assert_eq!((status, &problem["reason"]), (StatusCode::CONFLICT, &json!("NOTHING_TO_REDO")));

    let turn = format!("{root}/turns/{}/revert", second.turn);
    let (_, _, reverted) = post(&person, &turn, "t1", json!({})).await?;
    assert_eq!((outcome(&reverted), person.files(&project).await?), ("COMMITTED", before));
    let (_, _, nothing) = post(&person, &turn, "t2", json!({})).await?;
    assert_eq!(outcome(&nothing), "UNCHANGED");
    let etag = person.get(&root).await?["etag"].as_str().unwrap_or_default().to_owned();
    let conditional = |etag: &str| person.request(Method::POST, &undo).header("if-match", etag).json(&json!({})).send();
    assert_eq!(conditional("\"0000\"").await?.status(), StatusCode::PRECONDITION_FAILED);
    let response = conditional(&etag).await?;
    assert_eq!(response.status(), StatusCode::OK);
    assert_ne!(response.headers().get("etag").and_then(|value| value.to_str().ok()), Some(etag.as_str()));
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_conflict_of_a_revert_is_resolved() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let save = async |text: &str| -> Result<Value> {
        let change = json!({ "path": "a.txt", "write": { "text": text } });
        person.post("/api/projects/save", json!({ "draftId": "d", "changes": [change] })).await
    };
    save("one\n").await?;
    let second = save("two\n").await?;
    save("three\n").await?;
    let root = format!("/api/projects/{}", second["project"]["id"].as_str().context("an id")?);
    let revert = format!("{root}/revisions/{}/revert", second["revision"]["id"].as_str().context("an id")?);
    let (status, _, conflicted) = post(&person, &revert, "c1", json!({})).await?;
    assert_eq!((status, outcome(&conflicted)), (StatusCode::OK, "CONFLICTED"), "{conflicted}");
    assert_eq!(conflicted["conflictPaths"], json!(["a.txt"]));
    let (_, replayed, again) = post(&person, &revert, "c1", json!({})).await?;
    assert_eq!((replayed, &again["conflictId"]), (true, &conflicted["conflictId"]));

    let listed = person.get(&format!("{root}/conflicts")).await?;
    assert_eq!(listed["conflicts"].as_array().map(Vec::len), Some(1));
    let found = &listed["conflicts"][0];
    assert_eq!((&found["id"], &found["kind"], &found["pathCount"]), (&conflicted["conflictId"], &json!("CONFLICT_KIND_REVERT"), &json!(1)));
    let path = format!("{root}/conflicts/{}", found["id"].as_str().context("an id")?);
    let view = person.get(&path).await?;
    let sides = ["base", "head", "turn"].map(|side| view["files"][0][side]["content"]["text"].clone());
    assert_eq!(sides, [json!("two\n"), json!("three\n"), json!("one\n")]);
    let files = json!([{ "path": "a.txt", "take": "TAKE_TURN" }]);
    let resolved = person.post(&format!("{path}/resolve"), json!({ "baseRevision": view["headRevision"], "files": files })).await?;
    assert_eq!((&resolved["revision"]["number"], &resolved["revision"]["message"]), (&json!(4), &json!("Resolve: Revert revision 2")));
    assert_eq!(person.get(&format!("{root}/conflicts")).await?["conflicts"], json!([]));
    cluster.stop().await
}
