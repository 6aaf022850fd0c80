//! A person takes their data and deletes their account. Nothing of them is left in any database, and everything of others is.

use std::{fmt::Write as _, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chassis::testing::eventually;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{Cluster, Person, person::PASSWORD};

/// How long the services may take to learn of a deletion.
const LIMIT: Duration = Duration::from_secs(120);
const SERVICES: [&str; 3] = ["auth", "project-storage", "agent-streaming"];

/// Where a text is in the databases, also in bytes.
async fn found(cluster: &Cluster, text: &str) -> Result<Vec<String>> {
    let hex = text.bytes().fold(String::new(), |mut hex, byte| {
        // A String accepts writes.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let mut found = Vec::new();
    for service in SERVICES {
        let pool = cluster.pool(service).await?;
        let names = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";
        let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&pool).await?;
        ensure!(names.len() > 5, "{names:?}");
        for name in names {
            let sql = format!("SELECT count(*) FROM \"{name}\" t WHERE strpos(t::text, $1) > 0 OR strpos(t::text, $2) > 0");
            let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(text).bind(&hex).fetch_one(&pool).await?;
            if rows > 0 {
                found.push(format!("{service}.{name}"));
            }
        }
    }
    Ok(found)
}

async fn export(person: &Person, into: &Path) -> Result<()> {
    let response = person.request(Method::POST, "/api/auth/export").json(&json!({})).send().await?;
    ensure!(response.status() == StatusCode::OK, "{}", response.status());
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    ensure!(header("content-type") == "application/zip" && header("content-disposition").contains("account.zip"));
    std::fs::write(into.join("account.zip"), response.bytes().await?)?;
    unzip(into, "account.zip", ".")
}

fn unzip(folder: &Path, archive: &str, into: &str) -> Result<()> {
    let output = Command::new("unzip").current_dir(folder).args(["-q", "-o", archive, "-d", into]).output()?;
    ensure!(output.status.success(), "{archive}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn lines(folder: &Path, name: &str) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(folder.join(name)).with_context(|| name.to_owned())?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_all_that_a_person_has_and_nothing_of_others() -> Result<()> {
    let cluster = Cluster::start().await?;
    let (ann, bob) = (cluster.person().await?, cluster.person().await?);
    let turn = ann.turn(json!({ "draftId": "d", "prompt": "a counter canary7341" })).await?;
    bob.turn(json!({ "draftId": "d", "prompt": "a clock" })).await?;
    ann.post("/api/templates", json!({ "projectId": turn.project, "title": "Counter" })).await?;
    let deleted = ann.post("/api/projects", json!({ "displayName": "gone" })).await?;
    let deleted = deleted["id"].as_str().context("an id")?;
    ann.request(Method::DELETE, &format!("/api/projects/{deleted}")).send().await?.error_for_status()?;

    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    export(&ann, folder).await?;
    let account = lines(folder, "account.jsonl")?;
    ensure!(account.len() == 1 && account[0]["email"] == json!(ann.email) && account[0]["plan"] == "free", "{account:?}");
    let sessions = lines(folder, "sessions.jsonl")?;
    ensure!(sessions.len() == 1 && sessions[0]["isCurrent"] == true, "{sessions:?}");
    let kinds: Vec<_> = lines(folder, "events.jsonl")?.iter().map(|event| event["kind"].as_str().unwrap_or_default().to_owned()).collect();
    ensure!(kinds == ["user.signed_up"], "the export itself is after it: {kinds:?}");
    let projects = lines(folder, "projects.jsonl")?;
    let ids: Vec<_> = projects.iter().map(|project| project["id"].as_str().unwrap_or_default()).collect();
    ensure!(ids == [turn.project.as_str(), deleted], "{projects:?}");
    let project = folder.join("projects").join(&turn.project);
    let messages = lines(&project, "messages.jsonl")?;
    ensure!(messages.len() == 2 && messages[0]["text"] == "a counter canary7341", "{messages:?}");
    let turns = lines(&project, "turns.jsonl")?;
    ensure!(turns.len() == 1 && turns[0]["id"] == json!(turn.turn), "{turns:?}");
    let revisions = lines(&project, "revisions.jsonl")?;
    ensure!(revisions.len() == 1 && revisions[0]["turnId"] == json!(turn.turn), "{revisions:?}");
    ensure!(lines(&project, "provider-keys.jsonl")?.is_empty() && lines(folder, "provider-keys.jsonl")?.is_empty());
    let templates = lines(folder, "templates.jsonl")?;
    ensure!(templates.len() == 1 && templates[0]["title"] == "Counter", "{templates:?}");
    ensure!(lines(folder, "factors.jsonl")?[0]["password"] == true);
    ensure!(lines(folder, "usage.jsonl")?[0]["projects"] == 2);
    unzip(&project, "files.zip", "files")?;
    for (path, text) in ann.files(&turn.project).await? {
        ensure!(std::fs::read_to_string(project.join("files/project").join(&path))? == text, "{path}");
    }
    ensure!(!folder.join("projects").join(deleted).exists());
    let whole = Command::new("grep").args(["-r", "-l", "-e", &bob.user_id, "-e", &bob.email, "."]).current_dir(folder).output()?;
    ensure!(whole.stdout.is_empty(), "{}", String::from_utf8_lossy(&whole.stdout));

    let program = ann.post("/api/auth/refresh-tokens", json!({})).await?;
    let token = ann.post("/api/auth/token", json!({ "refreshToken": program["refreshToken"] })).await?;
    let program = Person { token: token["accessToken"].as_str().map(str::to_owned), ..ann.clone() };
    let (status, problem) = program.refused(Method::POST, "/api/auth/export", json!({})).await?;
    ensure!((status, problem["reason"].as_str()) == (StatusCode::FORBIDDEN, Some("SESSION_REQUIRED")), "{problem}");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_deleted_account_is_left_in_any_service() -> Result<()> {
    let cluster = Cluster::start().await?;
    let (ann, bob) = (cluster.person().await?, cluster.person().await?);
    ann.turn(json!({ "draftId": "d", "prompt": "a counter canary7341" })).await?;
    let kept = bob.turn(json!({ "draftId": "d", "prompt": "a clock canary8452" })).await?;
    let running = ann.request(Method::POST, "/api/turns").json(&json!({ "draftId": "e", "prompt": "canary7341 again" })).send().await?;
    ensure!(running.status().is_success(), "{}", running.status());
    let before = found(&cluster, &ann.user_id).await?;
    for table in ["auth.users", "project-storage.projects", "project-storage.messages", "agent-streaming.turns"] {
        ensure!(before.iter().any(|found| found == table), "{table}: {before:?}");
    }
    ensure!(!found(&cluster, "canary7341").await?.is_empty());

    let (status, problem) = ann.refused(Method::POST, "/api/auth/account:delete", json!({ "email": bob.email })).await?;
    ensure!((status, problem["reason"].as_str()) == (StatusCode::BAD_REQUEST, Some("INVALID_FIELD")), "{problem}");
    let response = ann.request(Method::POST, "/api/auth/account:delete").json(&json!({ "email": ann.email })).send().await?;
    ensure!(response.status() == StatusCode::OK, "{}", response.status());
    let cookie = response.headers().get("set-cookie").and_then(|value| value.to_str().ok()).unwrap_or_default();
    ensure!(cookie.contains("Max-Age=0"), "the cookie is removed: {cookie}");
    let (status, problem) = ann.refused(Method::GET, "/api/projects", json!({})).await?;
    ensure!((status, problem["reason"].as_str()) == (StatusCode::UNAUTHORIZED, Some("SESSION_ENDED")), "{problem}");
    let body = json!({ "email": ann.email, "password": PASSWORD });
    let (status, problem) = ann.refused(Method::POST, "/api/auth/signin", body.clone()).await?;
    ensure!((status, problem["reason"].as_str()) == (StatusCode::UNAUTHORIZED, Some("BAD_CREDENTIALS")), "{problem}");

    // No token of the account is valid any more.
    let auth = cluster.pool("auth").await?;
    sqlx::query("UPDATE account_deletions SET created_at = created_at - interval '1 hour'").execute(&auth).await?;
    eventually(LIMIT, || async {
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM account_deletions").fetch_one(&auth).await.ok()?;
        (left == 0).then_some(())
    })
    .await;
    for text in ["canary7341", &ann.email] {
        let found = found(&cluster, text).await?;
        ensure!(found.is_empty(), "{text}: {found:?}");
    }
    let left = found(&cluster, &ann.user_id).await?;
    ensure!(left == ["auth.audit_events"], "{left:?}");
    let done = "SELECT count(*) FROM audit_events WHERE user_id = $1::uuid AND kind = 'user.data_deleted'";
    let done: i64 = sqlx::query_scalar(done).bind(&ann.user_id).fetch_one(&auth).await?;
    ensure!(done == 1);

    ensure!(bob.get(&format!("/api/projects/{}/messages", kept.project)).await?.to_string().contains("a clock canary8452"));
    ensure!(!bob.files(&kept.project).await?.is_empty());
    let again = ann.http.post(format!("{}/api/auth/signup", cluster.url)).json(&body).send().await?;
    ensure!(again.status().is_success(), "the address is free: {}", again.status());
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_export_and_delete_without_scripts() -> Result<()> {
    let cluster = Cluster::start().await?;
    let ann = cluster.person().await?;
    let browser = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
    let url = |path: &str| format!("{}{path}", cluster.url);
    let form = |path: &str, body: &str| {
        let request = browser.post(url(path)).header("cookie", &ann.cookie).header("origin", &cluster.url);
        request.header("content-type", "application/x-www-form-urlencoded").body(body.to_owned()).send()
    };
    for path in ["/account/export", "/account/delete"] {
        let page = browser.get(url(path)).header("cookie", &ann.cookie).send().await?;
        ensure!(page.status() == StatusCode::OK && page.text().await?.contains("<form method=\"post\">"), "{path}");
    }
    let archive = form("/account/export", "").await?;
    ensure!(archive.status() == StatusCode::OK && archive.headers()["content-type"] == "application/zip", "{}", archive.status());
    ensure!(archive.bytes().await?.starts_with(b"PK\x03\x04"));

    let refused = form("/account/delete", "email=eve%40example.com").await?;
    let status = refused.status();
    let html = refused.text().await?;
    ensure!(status == StatusCode::BAD_REQUEST && html.contains("must be the e-mail address of the account"), "{status} {html}");
    let deleted = form("/account/delete", &format!("email={}", ann.email.replace('@', "%40"))).await?;
    ensure!(deleted.status() == StatusCode::SEE_OTHER && deleted.headers()["location"] == "/account/sign-in", "{}", deleted.status());
    ensure!(deleted.headers()["set-cookie"].to_str()?.contains("Max-Age=0"));
    ensure!(ann.refused(Method::GET, "/api/auth/session", json!({})).await?.0 == StatusCode::UNAUTHORIZED);
    cluster.stop().await
}
