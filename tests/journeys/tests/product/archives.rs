//! A user downloads a project as an archive, and imports one.

use anyhow::{Context, Result};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use test_support::Cluster;

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_downloaded() -> Result<()> {
    let cluster = Cluster::start().await?;
    let (person, stranger) = (cluster.person().await?, cluster.person().await?);
    let first = person.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?;
    let root = format!("/api/projects/{}", first.project);
    person.request(Method::PATCH, &root).json(&json!({ "displayName": "Zähler / 1" })).send().await?.error_for_status()?;
    let revision = person.get(&root).await?["headRevision"].as_str().context("a revision")?.to_owned();
    let export = |query: &str| person.request(Method::GET, &format!("{root}/export{query}"));

    for (query, kind, extension) in [("", "application/zip", "zip"), ("?format=tar.gz", "application/gzip", "tar.gz")] {
        let response = export(query).send().await?;
        let etag = header(&response, "etag");
        assert_eq!((response.status(), header(&response, "content-type").as_str()), (StatusCode::OK, kind));
        let expected = format!("attachment; filename=\"Z_hler 1.{extension}\"; filename*=UTF-8''Z%C3%A4hler%201.{extension}");
        assert_eq!(header(&response, "content-disposition"), expected);
        let bytes = response.bytes().await?;
        let at_revision = export(&format!("?format={extension}&revision={revision}")).send().await?.bytes().await?;
        assert!(bytes == at_revision && !bytes.is_empty());

        let known = export(query).header("if-none-match", &etag).send().await?;
        assert_eq!((known.status(), header(&known, "etag")), (StatusCode::NOT_MODIFIED, etag.clone()));
        let other = export(query).header("if-match", "\"0000\"").send().await?;
        assert_eq!(other.status(), StatusCode::PRECONDITION_FAILED);
        let head = person.request(Method::HEAD, &format!("{root}/export{query}")).send().await?;
        assert_eq!((head.status(), header(&head, "etag")), (StatusCode::OK, etag));
        assert!(head.bytes().await?.is_empty());
    }
    let hidden = stranger.request(Method::GET, &format!("{root}/export")).send().await?;
    assert_eq!(hidden.status(), StatusCode::NOT_FOUND);
    assert_eq!(export("?format=rar").send().await?.status(), StatusCode::BAD_REQUEST);
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_imported() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let first = person.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?;
    let archive = person.request(Method::GET, &format!("/api/projects/{}/export", first.project)).send().await?.bytes().await?;
    let import = |path: &str| person.request(Method::POST, path).header("content-type", "application/zip");

    let path = "/api/projects/import?displayName=Copy";
    let send = || import(path).header("idempotency-key", "k").body(archive.clone()).send();
    let (created, repeated) = (send().await?, send().await?);
    assert_eq!((created.status(), repeated.status()), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!((header(&created, "idempotency-replayed"), header(&repeated, "idempotency-replayed")), (String::new(), "true".to_owned()));
    let (location, created) = (header(&created, "location"), created.json::<Value>().await?);
    assert_eq!(created, repeated.json::<Value>().await?);
    let copy = created["project"]["id"].as_str().context("a project")?;
    assert_eq!((location, &created["project"]["displayName"]), (format!("/api/projects/{copy}"), &json!("Copy")));
    assert_eq!(person.files(copy).await?, person.files(&first.project).await?);
    assert!(created["entries"].as_array().is_some_and(|entries| entries.iter().any(|entry| entry["path"] == "index.html")));

    let into = format!("/api/projects/{copy}/import");
    let stream = import(&into).header("accept", "text/event-stream").body(archive.clone()).send().await?;
    assert_eq!((stream.status(), header(&stream, "content-type").as_str()), (StatusCode::OK, "text/event-stream"));
    let text = stream.text().await?;
    assert!(text.starts_with("event: progress\n") && text.contains("event: done\ndata: {\"project\":"), "{text}");
    let broken = archive.slice(..archive.len() - 10);
    let stream = import(&into).header("accept", "text/event-stream").body(broken.clone()).send().await?.text().await?;
    assert!(stream.contains("event: error\ndata: {") && stream.contains("ARCHIVE_INVALID"), "{stream}");

    let refused = import(&into).body(broken).send().await?;
    assert_eq!((refused.status(), refused.json::<Value>().await?["reason"].clone()), (StatusCode::BAD_REQUEST, json!("ARCHIVE_INVALID")));
    let kind = person.request(Method::POST, &into).json(&json!({})).send().await?;
    assert_eq!(kind.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let stale = import(&into).header("if-match", "\"0000\"").body(archive.clone()).send().await?;
    assert_eq!(stale.status(), StatusCode::PRECONDITION_FAILED);
    let hidden =
        cluster.person().await?.request(Method::POST, &into).header("content-type", "application/zip").body(archive).send().await?;
    assert_eq!(hidden.status(), StatusCode::NOT_FOUND);
    cluster.stop().await
}
