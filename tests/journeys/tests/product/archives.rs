//! A user downloads a project as an archive.

use anyhow::{Context, Result};
use reqwest::{Method, Response, StatusCode};
use serde_json::json;
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
