//! A user reads many files in one answer.

use anyhow::{Context, Result};
use proto::project_storage::ReadFilesResponse;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn many_files_are_read_in_one_answer() -> Result<()> {
    let cluster = Cluster::start().await?;
    let (person, stranger) = (cluster.person().await?, cluster.person().await?);
    let first = person.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?;
    let root = format!("/api/projects/{}", first.project);
    let large = vec![7_u8; 600_000];
    let upload = person.request(Method::PUT, &format!("{root}/files/large.bin")).body(large.clone()).send().await?;
    assert_eq!(upload.status(), StatusCode::OK);
    let revision = person.get(&root).await?["headRevision"].as_str().context("a revision")?.to_owned();

    let body = json!({ "paths": ["large.bin", "index.html", "nothing"] });
    let answer = person.request(Method::POST, &format!("{root}/read")).json(&body).send().await?;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let text = answer.text().await?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    assert_eq!(lines[0], json!({ "opened": { "revision": revision, "missingPaths": ["nothing"] } }));
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for line in text.lines().skip(1) {
        let part: ReadFilesResponse = serde_json::from_str(line)?;
        files.extend(part.file.map(|file| (file.path, Vec::new())));
        files.last_mut().context("a file first")?.1.extend_from_slice(&part.data);
    }
    assert_eq!(files.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["large.bin", "index.html"]);
    assert!(files[0].1 == large && files[1].1.starts_with(b"<"));

    let hidden = stranger.request(Method::POST, &format!("{root}/read")).json(&json!({})).send().await?;
    assert_eq!(hidden.status(), StatusCode::NOT_FOUND);
    let many = json!({ "paths": vec!["a"; 201] });
    let refused = person.request(Method::POST, &format!("{root}/read")).json(&many).send().await?;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    cluster.stop().await
}
