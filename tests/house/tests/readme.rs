//! The README's quickstart, run as it is written, and every route that the documents name.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{Cluster, Person};
use tokio::process::Command;

/// Tells the status of each answer, which the quickstart itself does not look at.
const STATUS: &str = "curl() { command curl -w '%{stderr}STATUS %{http_code} %{url_effective}\\n' \"$@\"; }\n";

fn document(name: &str) -> Result<String> {
    Ok(std::fs::read_to_string(house::root().join(name))?)
}

/// The shell blocks below a heading, one after the other.
fn blocks(heading: &str) -> Result<String> {
    let readme = document("README.md")?;
    let after = readme.split_once(heading).with_context(|| format!("no heading {heading}"))?.1;
    let section = after.split("\n## ").next().unwrap_or_default();
    let bodies = section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    Ok(bodies.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_works_as_written() -> Result<()> {
    // The shipped limits: whoever pastes all of it at once is refused nothing.
    let cluster = Cluster::with(&[("BACKLOT_POLICIES", "")]).await?;
    let token = blocks("## gRPC")?.lines().find(|line| line.starts_with("TOKEN=")).context("no line gets a token")?.to_owned();
    let script = format!("{}{token}\necho \"token: $TOKEN\"\n", blocks("## Quickstart with curl")?);
    let script = script.replace("http://127.0.0.1:8080", &cluster.url);
    ensure!(script.contains(&cluster.url), "the quickstart names the gateway");
    let folder = tempfile::tempdir()?;
    let mut shell = Command::new("bash");
    shell.args(["-eu", "-c", &format!("{STATUS}{script}")]).current_dir(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    let output = shell.output().await?;
    let (text, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{text}{told}");
    assert_eq!(text.matches(r#""type":"turn.completed""#).count(), 4, "two turns, and the first one followed again twice: {text}");
    assert!(text.to_lowercase().contains("<!doctype html>"), "the preview answers with the app: {text}");
    assert!(text.contains(r#""path":"index.html""#), "the files are there: {text}");
    assert!(text.contains("token: ey"), "a token comes of the session: {text}");
    let statuses: Vec<&str> = told.lines().filter_map(|line| line.split_once("STATUS ")).map(|(_, status)| status).collect();
    assert_eq!(statuses.len(), script.lines().filter(|line| line.contains("curl ")).count(), "{told}");
    for status in statuses {
        // The turn that the document stops has ended by then.
        let wanted = if status.ends_with("/cancel") { "409" } else { "20" };
        assert!(status.starts_with(wanted), "{status}: {text}");
    }
    cluster.stop().await
}

/// A route as a document writes it: the method, where one is named, and path with query.
#[derive(Debug)]
struct Named {
    method: Option<Method>,
    target: String,
}

fn routes(text: &str) -> Vec<Named> {
    let ends = |c: char| c.is_whitespace() || "\"'`)<>,;|".contains(c);
    let named = text.match_indices("/api/").map(|(at, _)| {
        let method = text[..at].split(['`', '\n', '"']).next_back().unwrap_or_default().trim();
        let target = text[at..].split(ends).next().unwrap_or_default().trim_end_matches(['.', ':']);
        Named {
            method: ["GET", "POST", "PATCH", "DELETE"].contains(&method).then(|| method.parse().unwrap_or_default()),
            target: target.to_owned(),
        }
    });
    named.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_that_a_document_names_is_there() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let done = person.turn(json!({ "draftId": "d", "prompt": "a page" })).await?;
    let mut called = 0;
    for name in ["README.md", "ARCHITECTURE.md"] {
        for Named { method, target } in routes(&document(name)?) {
            let target = ["$PROJECT", "{projectId}", "${id}", "{id}"].iter().fold(target, |text, place| text.replace(place, &done.project));
            let target = ["$TURN", "{turnId}"].iter().fold(target, |text, place| text.replace(place, &done.turn));
            let (status, answer) = call(&person, method.clone().unwrap_or(Method::GET), &target).await?;
            let reason = answer["reason"].as_str().unwrap_or_default();
            assert_ne!(reason, "ROUTE_NOT_FOUND", "{name}: {target}");
            if method.is_some() {
                assert_ne!(reason, "METHOD_NOT_ALLOWED", "{name}: {target}");
            }
            if target.contains('?') || method == Some(Method::GET) {
                assert!(status.is_success() || reason == "CONFLICT_NOT_FOUND", "{name}: {target}: {status} {answer}");
            }
            called += 1;
        }
    }
    assert!(called > 15, "the documents name routes: {called}");
    cluster.stop().await
}

async fn call(person: &Person, method: Method, target: &str) -> Result<(StatusCode, Value)> {
    let mut request = person.request(method.clone(), target);
    if method != Method::GET {
        request = request.json(&json!({}));
    }
    let response = request.send().await?;
    let status = response.status();
    Ok((status, serde_json::from_str(&response.text().await?).unwrap_or_default()))
}
