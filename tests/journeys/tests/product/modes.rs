//! Questions and plans change nothing, a later turn carries out a plan, and a plan of the context says what a turn would get.

use anyhow::{Context as _, Result};
use reqwest::{Method, StatusCode};
use serde_json::json;
use test_support::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_question_changes_nothing_and_a_plan_is_carried_out() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let asked = person.turn(json!({ "draftId": "d", "prompt": "what would a timer need?", "mode": "TURN_MODE_ASK" })).await?;
    assert_eq!(asked.outcome(), "turn.completed");
    let turn = person.get(&format!("/api/turns/{}", asked.turn)).await?;
    assert_eq!((turn["mode"].as_str(), turn["revision"].as_str().unwrap_or_default()), (Some("TURN_MODE_ASK"), ""), "{turn}");

    let planned = person.turn(json!({ "draftId": "d", "prompt": "a timer", "mode": "TURN_MODE_PLAN" })).await?;
    assert_eq!(planned.outcome(), "turn.completed");
    assert!(person.files(&asked.project).await?.is_empty(), "neither turn has made a file");
    let messages = person.get(&format!("/api/projects/{}/messages", asked.project)).await?;
    let texts: Vec<_> =
        messages["messages"].as_array().context("messages")?.iter().filter_map(|message| message["text"].as_str()).collect();
    assert!(texts.len() == 4 && texts.iter().any(|text| text.contains("1. ")), "{texts:?}");

    let wrong = json!({ "draftId": "d", "prompt": "do it", "planTurnId": asked.turn });
    let (status, problem) = person.refused(Method::POST, "/api/turns", wrong).await?;
    assert_eq!((status, &problem["errors"][0]["field"]), (StatusCode::BAD_REQUEST, &json!("planTurnId")), "{problem}");
    let built = person.turn(json!({ "draftId": "d", "prompt": "carry it out", "planTurnId": planned.turn })).await?;
    assert_eq!(built.outcome(), "turn.completed");
    assert!(person.files(&built.project).await?.contains_key("index.html"));
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_the_context_says_what_a_turn_would_get() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let turn = person.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?;
    let request = json!({ "projectId": turn.project, "prompt": "make the counter blue", "pinnedPaths": ["index.html"] });
    let plan = person.post("/api/turns:plan", request.clone()).await?;
    let file = plan["context"]["files"].as_array().and_then(|files| files.iter().find(|file| file["path"] == "index.html"));
    let file = file.with_context(|| plan.to_string())?;
    assert_eq!((&file["form"], &file["reasons"][0]), (&json!("CONTEXT_FORM_FULL"), &json!("CONTEXT_REASON_PINNED")), "{plan}");
    assert!(plan["context"]["promptTokens"].as_u64().is_some_and(|tokens| tokens > 100), "{plan}");
    assert_eq!(plan["selection"]["agent"], person.post("/api/agents/select", json!({ "prompt": "make the counter blue" })).await?["agent"]);

    // A turn with the same request gets what the plan says.
    let changed = person.turn(request).await?;
    let planned = changed.frames.iter().find(|frame| frame.kind() == "context.planned").context("the event context.planned")?;
    assert_eq!(planned.json()["data"]["files"], plan["context"]["files"]);
    let missing = json!({ "projectId": turn.project, "prompt": "x", "pinnedPaths": ["none.css"] });
    let (status, problem) = person.refused(Method::POST, "/api/turns:plan", missing).await?;
    assert_eq!((status, &problem["errors"][0]["field"]), (StatusCode::BAD_REQUEST, &json!("pinnedPaths")), "{problem}");
    cluster.stop().await
}
