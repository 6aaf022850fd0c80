//! API keys over HTTP: what a program with a key can do, and that a deleted key ends at once.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Cluster, Person};

use crate::access_ends::{SecondGateway, ends};

/// A new key of the person, and the program that uses it.
pub(crate) async fn program(person: &Person, body: Value) -> Result<(Value, Person)> {
    let made = person.post("/api/auth/keys", body).await?;
    let secret = made["secret"].as_str().context("a secret")?.to_owned();
    Ok((made["apiKey"].clone(), Person { cookie: String::new(), token: Some(secret), ..person.clone() }))
}

async fn saved(person: &Person, draft: &str) -> Result<String> {
    let body = json!({ "draftId": draft, "changes": [{ "path": "a.txt", "write": { "text": draft } }] });
    Ok(person.post("/api/projects/save", body).await?["project"]["id"].as_str().context("a project")?.to_owned())
}

async fn reason(person: &Person, method: Method, path: &str, body: Value) -> Result<(u16, String)> {
    let (status, problem) = person.refused(method, path, body).await?;
    Ok((status.as_u16(), problem["reason"].as_str().unwrap_or_default().to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_with_a_key_does_what_the_key_allows() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let (mine, other) = (saved(&person, "mine").await?, saved(&person, "other").await?);
    let denied = |reason: &str| (403, reason.to_owned());
    let absent = (404, "PROJECT_NOT_FOUND".to_owned());

    let (key, reader) = program(&person, json!({ "displayName": "reader", "scope": "API_KEY_SCOPE_READ" })).await?;
    ensure!(key["lastFour"].as_str() == reader.token.as_deref().map(|secret| &secret[secret.len() - 4..]), "{key}");
    ensure!(reader.get("/api/projects").await?["projects"].as_array().is_some_and(|all| all.len() == 2));
    ensure!(reason(&reader, Method::DELETE, &format!("/api/projects/{mine}"), Value::Null).await? == denied("SCOPE_REQUIRED"));
    ensure!(reason(&reader, Method::POST, "/api/turns", json!({ "projectId": mine, "prompt": "x" })).await? == denied("SCOPE_REQUIRED"));
    ensure!(reason(&reader, Method::POST, &format!("/api/projects/{mine}/previews"), json!({})).await? == denied("SCOPE_REQUIRED"));
    for (method, path) in [(Method::GET, "/api/auth/session"), (Method::GET, "/api/auth/keys"), (Method::POST, "/api/auth/keys")] {
        ensure!(reason(&reader, method, path, json!({})).await? == denied("SCOPE_REQUIRED"), "{path}");
    }

    let body = json!({ "displayName": "ci", "scope": "API_KEY_SCOPE_WRITE", "projectIds": [mine], "lifetimeDays": 7 });
    let (_, ci) = program(&person, body).await?;
    let listed = ci.get("/api/projects").await?;
    ensure!(listed["projects"].as_array().is_some_and(|all| all.len() == 1 && all[0]["id"] == json!(mine)), "{listed}");
    ci.get(&format!("/api/projects/{mine}/files/a.txt")).await?;
    ci.post("/api/projects/save", json!({ "draftId": "mine", "changes": [{ "path": "b.txt", "write": { "text": "b" } }] })).await?;
    let save = json!({ "draftId": "other", "changes": [{ "path": "b.txt", "write": { "text": "b" } }] });
    let create = json!({ "draftId": "new", "changes": [{ "path": "b.txt", "write": { "text": "b" } }] });
    for (method, path, body) in [
        (Method::GET, format!("/api/projects/{other}"), Value::Null),
        (Method::DELETE, format!("/api/projects/{other}"), Value::Null),
        (Method::POST, "/api/projects/save".to_owned(), save),
        (Method::POST, "/api/projects/save".to_owned(), create),
        (Method::POST, "/api/turns".to_owned(), json!({ "projectId": other, "prompt": "x" })),
        (Method::POST, "/api/turns".to_owned(), json!({ "draftId": "new", "prompt": "x" })),
        (Method::POST, format!("/api/projects/{mine}/merge"), json!({ "sourceProjectId": other })),
    ] {
        ensure!(reason(&ci, method.clone(), &path, body).await? == absent, "{method} {path}");
    }
    for path in ["/api/projects".to_owned(), format!("/api/projects/{mine}/fork")] {
        ensure!(reason(&ci, Method::POST, &path, json!({})).await? == denied("PROJECTS_RESTRICTED"), "{path}");
    }
    let done = ci.turn(json!({ "projectId": mine, "prompt": "a counter" })).await?;
    ensure!(done.project == mine);
    let listed = person.get("/api/auth/keys").await?;
    let keys = listed["apiKeys"].as_array().context("a list")?;
    ensure!(keys.len() == 2 && keys.iter().all(|key| key["lastUseTime"].is_string() && key.get("secret").is_none()), "{listed}");
    let sessions = person.get("/api/auth/sessions").await?;
    ensure!(sessions["sessions"].as_array().is_some_and(|all| all.len() == 1), "{sessions}");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_a_deleted_key_ends_in_a_second_and_its_streams_in_five_at_two_gateways() -> Result<()> {
    let cluster = Cluster::start().await?;
    let second = SecondGateway::start(&cluster).await?;
    let person = cluster.person().await?;
    let project = saved(&person, "d").await?;
    let (key, here) = program(&person, json!({ "displayName": "ci", "scope": "API_KEY_SCOPE_READ" })).await?;
    let there = Person { url: second.url.clone(), ..here.clone() };
    let exchanged = here.post("/api/auth/token", json!({})).await?;
    let bearer = Person { token: exchanged["accessToken"].as_str().map(str::to_owned), ..there.clone() };
    let path = format!("/api/projects/{project}/events?after=1");
    let mut streams = Vec::new();
    for viewer in [&here, &there, &bearer] {
        streams.push(viewer.request(Method::GET, &path).send().await?.error_for_status()?);
    }
    let delete = format!("/api/auth/keys/{}", key["id"].as_str().context("an id")?);
    person.request(Method::DELETE, &delete).send().await?.error_for_status()?;
    ends([&here, &there, &bearer], streams).await?;
    ensure!(reason(&there, Method::GET, "/api/projects", Value::Null).await? == (401, "API_KEY_INVALID".to_owned()));
    ensure!(reason(&person, Method::DELETE, &delete, Value::Null).await? == (404, "API_KEY_NOT_FOUND".to_owned()));
    cluster.stop().await
}
