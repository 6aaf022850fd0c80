//! Content encoding: JSON and preview files are compressed. Secrets and streams are not.

use std::io::Read as _;

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use test_support::{Cluster, Person};
use url::Url;

const ALL: &str = "gzip, deflate, br, zstd";

fn header(response: &Response, name: &str) -> String {
    response.headers().get_all(name).iter().filter_map(|v| v.to_str().ok()).collect::<Vec<_>>().join(", ")
}

async fn get(person: &Person, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
    let request = person.request(Method::GET, path);
    Ok(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await?)
}

async fn decompressed(response: Response) -> Result<Value> {
    let mut text = String::new();
    GzDecoder::new(&response.bytes().await?[..]).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

/// Creates a project whose files are large enough for compression.
async fn project(person: &Person) -> Result<String> {
    let page = format!("<h1>{}</h1>", "long ".repeat(2_000));
    let files = json!([
        { "path": "index.html", "write": { "text": page } },
        { "path": "picture.png", "write": { "binary": "AAEC".repeat(2_000) } },
        { "path": "small.css", "write": { "text": "a {}" } },
    ]);
    let saved = person.post("/api/projects/save", json!({ "draftId": "d", "changes": files })).await?;
    Ok(saved["project"]["id"].as_str().context("project")?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_compressed_and_secrets_and_streams_are_not() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let project = project(&person).await?;
    let done = person.turn(json!({ "draftId": "other", "prompt": "a counter" })).await?;
    let load = format!("/api/projects/load?projectId={project}");
    let compressed = get(&person, &load, &[("accept-encoding", "gzip")]).await?;
    assert_eq!((header(&compressed, "content-encoding"), header(&compressed, "vary")), ("gzip".to_owned(), "accept-encoding".to_owned()));
    assert_eq!(decompressed(compressed).await?, person.get(&load).await?);
    let events = format!("/api/turns/{}/events", done.turn);
    let rows = [
        (format!("/api/projects/{project}/files/index.html"), "", "zstd"),
        // Not compressed: a refusal, a small file, a secret, and streams in both formats.
        ("/api/projects/nothing".to_owned(), "", ""),
        (format!("/api/projects/{project}/files/small.css"), "", ""),
        ("/api/auth/session".to_owned(), "", ""),
        (events.clone(), "text/event-stream", ""),
        (events, "application/x-ndjson", ""),
    ];
    for (path, accept, coding) in rows {
        let headers = [("accept-encoding", ALL), ("accept", accept)];
        let response = get(&person, &path, &headers[..if accept.is_empty() { 1 } else { 2 }]).await?;
        assert_eq!(header(&response, "content-encoding"), coding, "{path} {accept}");
    }
    for path in ["/api/auth/token".to_owned(), format!("/api/projects/{project}/previews")] {
        let response = person.request(Method::POST, &path).header("accept-encoding", ALL).json(&json!({})).send().await?;
        assert_eq!((response.status(), header(&response, "content-encoding")), (StatusCode::OK, String::new()), "{path}");
    }
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_etag_of_a_compressed_answer_is_a_valid_precondition() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let project = project(&person).await?;
    let file = format!("/api/projects/{project}/files/index.html");
    let etag = header(&get(&person, &file, &[("accept-encoding", "br")]).await?, "etag");
    assert!(etag.ends_with("-br\""), "{etag}");
    let again = get(&person, &file, &[("accept-encoding", "br"), ("if-none-match", &etag)]).await?;
    assert_eq!((again.status(), header(&again, "etag")), (StatusCode::NOT_MODIFIED, etag.clone()));
    let change = json!({ "projectId": project, "changes": [{ "path": "index.html", "etag": etag, "write": { "text": "new" } }] });
    person.post("/api/projects/save", change.clone()).await.context("the file has not changed")?;
    let (status, problem) = person.refused(Method::POST, "/api/projects/save", change).await?;
    assert_eq!((status, problem["reason"].as_str()), (StatusCode::CONFLICT, Some("FILE_CHANGED")));

    let version = header(&get(&person, &format!("/api/projects/{project}"), &[]).await?, "etag");
    let coded = format!("{}-gzip\"", version.trim_end_matches('"'));
    let rename = |name: &str| json!({ "displayName": name });
    let path = format!("/api/projects/{project}");
    let renamed = person.request(Method::PATCH, &path).header("if-match", &coded).json(&rename("one")).send().await?;
    assert_eq!(renamed.status(), StatusCode::OK);
    let late = person.request(Method::PATCH, &path).header("if-match", &coded).json(&rename("two")).send().await?;
    assert_eq!(late.status(), StatusCode::PRECONDITION_FAILED);
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_are_compressed_except_ranges_and_media() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let project = project(&person).await?;
    let made = person.post(&format!("/api/projects/{project}/previews"), json!({})).await?;
    let url = Url::parse(made["url"].as_str().context("url")?)?;
    let port = url.port().context("port")?;
    let request = |path: &str, range: &str, condition: &str| {
        let builder = person.http.get(format!("http://127.0.0.1:{port}/{path}")).header("accept-encoding", "gzip");
        let builder = builder.header("host", format!("{}:{port}", url.host_str().unwrap_or_default()));
        let builder = if range.is_empty() { builder } else { builder.header("range", range) };
        if condition.is_empty() { builder } else { builder.header("if-none-match", condition) }
    };
    for (path, range, coding, status) in
        [("index.html", "", "gzip", 200), ("index.html", "bytes=0-1999", "", 206), ("picture.png", "", "", 200), ("small.css", "", "", 200)]
    {
        let response = request(path, range, "").send().await?;
        assert_eq!((response.status().as_u16(), header(&response, "content-encoding").as_str()), (status, coding), "{path} {range}");
        let etag = header(&response, "etag");
        assert_eq!(etag.ends_with("-gzip\""), !coding.is_empty(), "{etag}");
        let again = request(path, "", &etag).send().await?;
        assert_eq!((again.status(), header(&again, "etag")), (StatusCode::NOT_MODIFIED, etag), "{path}");
        assert!(header(&response, "vary").contains("accept"), "{path}");
    }
    cluster.stop().await
}
