//! A user uploads a file of any kind, reads it in parts, and removes it.

use anyhow::{Context as _, Result};
use reqwest::{Method, StatusCode, header};
use serde_json::json;
use test_support::Cluster;

/// Bytes that do not repeat with the size of a chunk.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| u8::try_from(n * 7 % 251).expect("small")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_file_is_read_in_parts() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let project = person.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?.project;
    let (file, raw) = (format!("/api/projects/{project}/files/img/a.png"), format!("/api/projects/{project}/raw/img/a.png"));
    let content = [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), pattern(1_000_000)].concat();

    let upload = || person.request(Method::PUT, &file).body(content.clone());
    let response = upload().header(header::IF_NONE_MATCH, "*").send().await?;
    assert_eq!(response.status(), StatusCode::OK);
    let etag = response.headers()[header::ETAG].to_str()?.to_owned();
    let answer: serde_json::Value = response.json().await?;
    assert_eq!((&answer["file"]["mediaType"], &answer["file"]["sizeBytes"]), (&json!("image/png"), &json!(content.len())), "{answer}");
    assert_eq!(upload().header(header::IF_NONE_MATCH, "*").send().await?.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(upload().header(header::IF_MATCH, "\"x\"").send().await?.status(), StatusCode::PRECONDITION_FAILED);

    let read = person.request(Method::GET, &raw).send().await?;
    assert_eq!((read.status(), read.headers()[header::ETAG].to_str()?), (StatusCode::OK, etag.as_str()));
    let security = |name: header::HeaderName| read.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    assert!(security(header::CONTENT_SECURITY_POLICY).contains("sandbox"));
    assert_eq!((security(header::X_CONTENT_TYPE_OPTIONS), security(header::CONTENT_DISPOSITION)), ("nosniff".into(), "attachment".into()));
    assert_eq!(security(header::CONTENT_TYPE), "image/png");
    assert!(read.bytes().await? == content, "the content is as it was");
    for (range, expected) in
        [("bytes=0-0", 0..1), ("bytes=262000-263000", 262_000..263_001), ("bytes=-10", content.len() - 10..content.len())]
    {
        let part = person.request(Method::GET, &raw).header(header::RANGE, range).send().await?;
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        let place = format!("bytes {}-{}/{}", expected.start, expected.end - 1, content.len());
        assert_eq!(part.headers()[header::CONTENT_RANGE].to_str()?, place);
        assert!(part.bytes().await? == content[expected], "{range}");
    }
    let outside = person.request(Method::GET, &raw).header(header::RANGE, "bytes=9999999-").send().await?;
    assert_eq!(outside.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let same = person.request(Method::GET, &raw).header(header::IF_NONE_MATCH, &etag).send().await?;
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);

    // A stream has no length, and neither has an upload that is too large a chance.
    let parts = futures::stream::iter([Ok::<_, std::io::Error>("x")]);
    let chunked = person.request(Method::PUT, &file).body(reqwest::Body::wrap_stream(parts)).send().await?;
    assert_eq!(chunked.status(), StatusCode::LENGTH_REQUIRED);
    let large = person.request(Method::PUT, &file).body(vec![0; 5 * 1024 * 1024 + 1]).send().await?;
    assert_eq!(large.status(), StatusCode::BAD_REQUEST);
    let problem: serde_json::Value = large.json().await?;
    assert_eq!((&problem["reason"], &problem["metadata"]["limit"]), (&json!("FILE_TOO_LARGE"), &json!("5242880")), "{problem}");

    let other = cluster.person().await?;
    assert_eq!(other.request(Method::GET, &raw).send().await?.status(), StatusCode::NOT_FOUND);
    assert_eq!(other.request(Method::PUT, &file).body("x").send().await?.status(), StatusCode::NOT_FOUND);
    assert_eq!(person.request(Method::DELETE, &file).header(header::IF_MATCH, &etag).send().await?.status(), StatusCode::OK);
    assert_eq!(person.request(Method::GET, &raw).send().await?.status(), StatusCode::NOT_FOUND);
    person.get(&format!("/api/projects/{project}/files")).await?.as_object().context("the list")?;
    cluster.stop().await
}
