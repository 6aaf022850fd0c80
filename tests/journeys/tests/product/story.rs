//! The main path with the built-in demo model: sign up, send a prompt, follow the turn, read the files and the preview, and change them with a
//! second prompt.

use anyhow::Result;
use serde_json::json;
use test_support::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_creates_files_and_a_second_one_changes_them() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let first = person.turn(json!({ "draftId": "my-draft", "prompt": "a to-do list" })).await?;
    assert_eq!(first.outcome(), "turn.completed");

    let kinds: Vec<_> = first.frames.iter().map(test_support::sse::Frame::kind).collect();
    let ids: Vec<_> = first.frames.iter().map(|f| f.id).collect();
    assert_eq!(ids, (1..=u32::try_from(ids.len())?).collect::<Vec<_>>(), "contiguous from 1");
    assert!(kinds.len() >= 60, "a turn of the demo model has at least 60 events, not {}", kinds.len());
    for kind in ["agent.selected", "turn.started", "text.delta", "tool.started", "file.opened", "file.delta", "file.closed", "usage"] {
        assert!(kinds.iter().any(|k| k == kind), "no {kind} in {kinds:?}");
    }
    let at = |kind: &str| kinds.iter().position(|k| k == kind).unwrap_or(usize::MAX);
    assert!(at("turn.accepted") == 0 && at("turn.committing") < at("files.committed") && at("files.committed") < at("turn.completed"));

    let files = person.files(&first.project).await?;
    assert!(files.contains_key("index.html") && files.len() >= 3, "{:?}", files.keys());
    let streamed: String = first
        .frames
        .iter()
        .map(test_support::sse::Frame::json)
        .filter(|e| e["type"] == "file.delta")
        .map(|e| e["data"]["text"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert!(files.values().all(|text| streamed.contains(text.as_str())), "the stored files differ from the streamed ones");

    let preview = person.post(&format!("/api/projects/{}/previews", first.project), json!({})).await?;
    let page = preview_text(&person, preview["url"].as_str().unwrap_or_default()).await?;
    assert_eq!(page, files["index.html"]);

    let second = person.turn(json!({ "projectId": first.project, "prompt": "make it dark" })).await?;
    assert_eq!(second.outcome(), "turn.completed");
    assert_ne!(person.files(&first.project).await?, files, "the second prompt changed something");

    let revisions = person.get(&format!("/api/projects/{}/revisions", first.project)).await?;
    assert_eq!(revisions["revisions"].as_array().map(Vec::len), Some(2));
    let messages = person.get(&format!("/api/projects/{}/messages?order=MESSAGE_ORDER_OLDEST_FIRST", first.project)).await?;
    let roles: Vec<_> =
        messages["messages"].as_array().into_iter().flatten().map(|m| m["role"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(roles, ["MESSAGE_ROLE_USER", "MESSAGE_ROLE_ASSISTANT", "MESSAGE_ROLE_USER", "MESSAGE_ROLE_ASSISTANT"]);
    cluster.stop().await
}

/// Reads a preview on a host below `localhost` without a resolver: the host is only in the header.
async fn preview_text(person: &test_support::Person, url: &str) -> Result<String> {
    let url = url::Url::parse(url)?;
    let address = format!("http://127.0.0.1:{}{}", url.port().unwrap_or(80), url.path());
    let host = format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(80));
    let response = person.http.get(address).header("host", host).send().await?;
    assert_eq!(response.status(), 200);
    assert!(response.headers().get("set-cookie").is_none());
    Ok(response.text().await?)
}
