//! A user finds what the agent has written.

use anyhow::Result;
use serde_json::json;
use test_support::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_turn_wrote_is_found() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let project = person.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?.project;
    let search = format!("/api/projects/{project}/search");
    let found = person.get(&format!("{search}?query=%3Cmain&include=*.html&include=*.css&contextLines=1")).await?;
    let hit = &found["hits"][0];
    assert_eq!((&hit["path"], &hit["parts"][1]), (&json!("index.html"), &json!({ "text": "<main", "match": true })), "{found}");
    assert!(hit["line"].as_u64() > Some(1) && hit["before"].as_array().is_some_and(|lines| lines.len() == 1), "{found}");
    let path = person.get(&format!("{search}?query=index&regex=true&wholeWord=true&exclude=*.css")).await?;
    assert_eq!((&path["hits"][0]["line"], &path["hits"][0]["path"]), (&json!(null), &json!("index.html")), "{path}");

    let other = cluster.person().await?;
    let (status, problem) = other.refused(reqwest::Method::GET, &format!("{search}?query=body"), json!({})).await?;
    assert_eq!((status.as_u16(), &problem["reason"]), (404, &json!("PROJECT_NOT_FOUND")));
    cluster.stop().await
}
