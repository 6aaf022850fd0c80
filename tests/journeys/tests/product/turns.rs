//! An application ties turns to its own records, and shows what an answer did.

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::json;
use test_support::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn turns_are_found_by_metadata() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let tagged = json!({ "draftId": "d", "prompt": "a counter", "metadata": { "ticket": "4711", "tier": "gold" } });
    let first = person.turn(tagged).await?;
    person.turn(json!({ "draftId": "d", "prompt": "a timer" })).await?;
    let turn = person.get(&format!("/api/turns/{}", first.turn)).await?;
    assert_eq!(turn["metadata"], json!({ "ticket": "4711", "tier": "gold" }), "{turn}");

    let list = format!("/api/turns?projectId={}", first.project);
    let found = person.get(&format!("{list}&metadata[ticket]=4711&metadata[tier]=gold")).await?;
    assert_eq!((&found["turns"][0]["id"], found["turns"].as_array().map(Vec::len)), (&json!(first.turn), Some(1)), "{found}");
    assert_eq!(person.get(&format!("{list}&metadata[ticket]=4711&metadata[tier]=tin")).await?["turns"], json!([]));
    let body = json!({ "draftId": "d", "prompt": "a timer", "metadata": { "a b": "x" } });
    let (status, problem) = person.refused(Method::POST, "/api/turns", body).await?;
    assert_eq!((status, &problem["errors"][0]["field"]), (StatusCode::BAD_REQUEST, &json!("metadata")), "{problem}");

    let message = json!({ "id": "m1", "role": "user", "parts": [{ "type": "text", "text": "a clock" }] });
    let chat = json!({ "id": "chat-1", "messages": [message], "metadata": { "ticket": "4712" } });
    let response = person.request(Method::POST, "/api/chat").json(&chat).send().await?;
    assert_eq!(response.status(), StatusCode::OK);
    let _ = response.text().await?;
    let found = person.get("/api/turns?draftId=chat-1&metadata[ticket]=4712").await?;
    assert_eq!(found["turns"].as_array().map(Vec::len), Some(1), "{found}");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_shows_what_it_did() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let turn = person.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?;
    let path = format!("/api/projects/{}/messages?order=MESSAGE_ORDER_OLDEST_FIRST", turn.project);
    let page = person.get(&path).await?;
    let [question, answer] = page["messages"].as_array().map_or(&[][..], Vec::as_slice) else { panic!("{page}") };
    assert_eq!(question["parts"], json!([{ "text": "a counter" }]));
    let parts = answer["parts"].as_array().cloned().unwrap_or_default();
    let call = parts.iter().find(|part| part["toolCall"]["tool"] == "write_file").unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(call["toolCall"]["state"], "TOOL_CALL_STATE_SUCCEEDED", "{call}");
    let files: Vec<_> = parts.iter().filter(|part| part["file"].is_object()).map(|part| &part["file"]).collect();
    assert!(!files.is_empty(), "{answer}");
    for file in files {
        assert_eq!((&file["status"], &file["revision"]), (&json!("FILE_STATUS_ADDED"), &answer["revision"]), "{file}");
    }
    assert!(parts.iter().any(|part| part["text"].is_string()), "{answer}");
    cluster.stop().await
}
