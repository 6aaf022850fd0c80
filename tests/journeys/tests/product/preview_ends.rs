//! A preview that a program has made ends with the credential of the program: an API key, or a session with refresh tokens. It ends when
//! the credential is deleted, and when it expires.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chassis::testing::eventually;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Cluster, Person};
use url::Url;

use crate::{api_keys, previews::get};

/// As open streams.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// auth looks for expired sessions once a minute.
const EXPIRES_WITHIN: Duration = Duration::from_secs(65);

/// A program, and the id of its session.
struct Program {
    person: Person,
    session: String,
}

/// A project that the person has never opened: another grant would keep the preview.
async fn project(person: &Person, draft: &str) -> Result<String> {
    let body = json!({ "draftId": draft, "changes": [{ "path": "index.html", "write": { "text": "<p>shown" } }] });
    Ok(person.post("/api/projects/save", body).await?["project"]["id"].as_str().context("a project")?.to_owned())
}

async fn with_key(person: &Person) -> Result<Program> {
    let body = json!({ "displayName": "ci", "scope": "API_KEY_SCOPE_WRITE" });
    let (key, program) = api_keys::program(person, body).await?;
    Ok(Program { person: program, session: key["id"].as_str().context("an id")?.to_owned() })
}

async fn with_refresh_token(person: &Person) -> Result<Program> {
    let created = person.post("/api/auth/refresh-tokens", json!({ "displayName": "nightly export" })).await?;
    let body = json!({ "refreshToken": created["refreshToken"] });
    let exchanged = person.http.post(format!("{}/api/auth/token", person.url)).json(&body).send().await?.error_for_status()?;
    let exchanged: Value = exchanged.json().await?;
    let token = exchanged["accessToken"].as_str().context("a token")?.to_owned();
    let session = created["session"]["id"].as_str().context("an id")?.to_owned();
    Ok(Program { person: Person { cookie: String::new(), token: Some(token), ..person.clone() }, session })
}

/// The preview of the project that the program makes.
async fn open(program: &Person, project: &str) -> Result<Url> {
    let made = program.post(&format!("/api/projects/{project}/previews"), json!({})).await?;
    let url = Url::parse(made["url"].as_str().context("url")?)?;
    ensure!(get(program, Method::GET, &url, &[]).await?.text().await? == "<p>shown");
    Ok(url)
}

async fn ends(person: &Person, preview: &Url, limit: Duration) {
    eventually(limit, || async { (get(person, Method::GET, preview, &[]).await.ok()?.status() == 404).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_ends_with_the_api_key_that_made_it() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let (opened, other) = (project(&person, "opened").await?, project(&person, "other").await?);
    let program = with_key(&person).await?;
    let (preview, kept) = (open(&program.person, &opened).await?, open(&person, &other).await?);
    let delete = person.request(Method::DELETE, &format!("/api/auth/keys/{}", program.session));
    delete.send().await?.error_for_status()?;
    ends(&person, &preview, ENDS_WITHIN).await;
    ensure!(get(&person, Method::GET, &kept, &[]).await?.status() == 200, "the person's own preview stays");
    // The person opens the same address again.
    ensure!(open(&person, &opened).await? == preview);
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_ends_with_the_refresh_token_of_the_program_that_made_it() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let opened = project(&person, "opened").await?;
    let program = with_refresh_token(&person).await?;
    let preview = open(&program.person, &opened).await?;
    let end = person.request(Method::DELETE, &format!("/api/auth/sessions/{}", program.session));
    end.send().await?.error_for_status()?;
    ends(&person, &preview, ENDS_WITHIN).await;
    let (status, problem) = program.person.refused(Method::POST, &format!("/api/projects/{opened}/previews"), json!({})).await?;
    ensure!(status == 401, "{problem}");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_ends_when_the_credential_that_made_it_expires() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let pool = cluster.pool("auth").await?;
    let mut previews = Vec::new();
    for (draft, program) in [("key", with_key(&person).await?), ("token", with_refresh_token(&person).await?)] {
        previews.push(open(&program.person, &project(&person, draft).await?).await?);
        let expire = "UPDATE sessions SET expires_at = now() - interval '1 second' WHERE id = $1::uuid";
        let expired = sqlx::query(expire).bind(&program.session).execute(&pool).await?;
        ensure!(expired.rows_affected() == 1, "{draft}: {}", program.session);
    }
    // Both expire at the same time.
    for preview in &previews {
        ends(&person, preview, EXPIRES_WITHIN).await;
    }
    cluster.stop().await
}
