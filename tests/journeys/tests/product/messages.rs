//! A user corrects a message, rates an answer, finds both again, and deletes what should not be there.

use std::time::Duration;

use anyhow::{Context, Result};
use chassis::testing::eventually;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{Cluster, Person};

async fn send(person: &Person, method: Method, path: &str, body: Value) -> Result<(StatusCode, Value)> {
    let response = person.request(method, path).json(&body).send().await?;
    Ok((response.status(), response.json().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_corrected() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let first = person.turn(json!({ "draftId": "d", "prompt": "a zebra counter" })).await?;
    let messages = format!("/api/projects/{}/messages", first.project);
    let listed = person.get(&format!("{messages}?order=MESSAGE_ORDER_OLDEST_FIRST")).await?;
    let id = |at: usize| listed["messages"][at]["id"].as_str().map(str::to_owned).context("a message");
    let (question, reply) = (format!("{messages}/{}", id(0)?), format!("{messages}/{}", id(1)?));

    let (status, edited) = send(&person, Method::PATCH, &question, json!({ "text": "a giraffe counter" })).await?;
    assert_eq!((status, &edited["text"], edited["editTime"].is_string()), (StatusCode::OK, &json!("a giraffe counter"), true));
    let (status, problem) = person.refused(Method::PATCH, &reply, json!({ "text": "x" })).await?;
    assert_eq!((status.as_u16(), &problem["reason"]), (403, &json!("AUTHOR_REQUIRED")));
    let found = person.get("/api/messages/search?query=giraffe").await?;
    assert_eq!(found["hits"][0]["parts"][1], json!({ "text": "giraffe", "match": true }), "{found}");
    assert_eq!(person.get("/api/messages/search?query=zebra").await?["hits"], json!([]));

    let (status, rated) = send(&person, Method::PUT, &format!("{reply}/reaction"), json!({ "kind": "REACTION_KIND_HELPFUL" })).await?;
    assert_eq!((status, &rated["helpfulCount"], &rated["reaction"]["kind"]), (StatusCode::OK, &json!(1), &json!("REACTION_KIND_HELPFUL")));
    let (status, taken) = send(&person, Method::DELETE, &format!("{reply}/reaction"), json!({})).await?;
    assert_eq!((status, &taken["helpfulCount"], &taken["reaction"]), (StatusCode::OK, &Value::Null, &Value::Null));

    let (status, _) = send(&person, Method::DELETE, &question, json!({})).await?;
    assert_eq!(status, StatusCode::OK);
    let after = person.get(&format!("{messages}?order=MESSAGE_ORDER_OLDEST_FIRST")).await?;
    let tombstone = &after["messages"][0];
    assert_eq!((&tombstone["text"], tombstone["deleteTime"].is_string()), (&Value::Null, true), "{after}");
    // The prompt is also in the log of the turn, which is deleted soon.
    eventually(Duration::from_secs(60), || async {
        let response = person.request(Method::GET, &format!("/api/turns/{}/events?after=0", first.turn)).send().await.ok()?;
        (!response.text().await.ok()?.contains("zebra")).then_some(())
    })
    .await;
    cluster.stop().await
}
