//! What must not leak. Ten thousand viewers follow a running turn and disconnect before its end: they leak no task, descriptor or memory, and the
//! turn continues. Secrets of persons and of the cluster are in no table, key or value of Redis, log, trace or report to Sentry (row A13 of the
//! test programme).

#[path = "leaks/canary.rs"]
mod canary;
#[path = "leaks/links.rs"]
mod links;
#[path = "leaks/mail_server.rs"]
mod mail_server;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use auth::testing::totp_code;
use chassis::{
    clock,
    testing::{self, eventually},
};
use fred::{
    clients::Client,
    cmd,
    interfaces::{ClientLike as _, KeysInterface as _},
    types::{Builder, Value as Stored, config::Config},
};
use futures::{StreamExt, stream};
use reqwest::header;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use test_support::{
    Person,
    cluster::{OPEN_POLICIES, break_sign_ins, pool},
    model_server::{Answer, At, Gate, ModelServer, Script},
    person::PASSWORD,
    process::{Launch, Process},
    sink::Sink,
    sse::{Frame, Viewer},
};

use crate::{canary::Canary, mail_server::MailServer};

/// The number of viewers before the measurement, which fill caches and the allocator.
const WARM_UP: usize = 2_000;
const VIEWERS: usize = 10_000;
/// The most attempts of a viewer to open its stream.
const ATTEMPTS: usize = 10;
/// The number of concurrent viewers.
const CONCURRENT: usize = 40;
/// The limit for connections to be released.
const RELEASED_WITHIN: Duration = Duration::from_secs(60);
/// The limit for the growth of memory per viewer. A leaked queue or connection would be tens of kilobytes.
const BYTES_PER_VIEWER: u64 = 2_048;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_viewers_leak_nothing() -> Result<()> {
    let gate = Gate::default();
    let models = ModelServer::start(Script::always(Answer::default().text("One moment. And on.").hold_at(At::Event(4), &gate))).await;
    let data = tempfile::tempdir()?;
    let policies = data.path().join("policies.yaml");
    std::fs::write(&policies, OPEN_POLICIES)?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), &data.path().join("backlot"))
        .set("BACKLOT_POLICIES", &policies.to_string_lossy())
        .set("BACKLOT_EDGE_PER_SECOND", "100000")
        .set("BACKLOT_EDGE_BURST", "100000")
        .set("BACKLOT_MAX_STREAMS_PER_USER", "1000")
        .set("BACKLOT_STREAM_OPENINGS", "1000000")
        // The model server is silent while the viewers connect.
        .set("BACKLOT_PROVIDER_IDLE_TIMEOUT", "1h")
        .set("OPENAI_BASE_URL", &models.openai_url())
        .set("OPENAI_API_KEY", "sk-canary")
        .set("BACKLOT_MODEL", "openai/gpt-test");
    let process = launch.up().await?;
    let person = Person::sign_up(&process.url).await?;
    let mut first = person.stream(json!({ "draftId": "d", "prompt": "a page" })).await?;
    let head = first.until("text.started").await?;
    let turn = head[0].json()["turnId"].as_str().context("turn id")?.to_owned();

    connect_viewers(&person, &turn, WARM_UP).await?;
    let before = settled(&process.metrics, process.id()?, None).await;
    connect_viewers(&person, &turn, VIEWERS).await?;
    let after = settled(&process.metrics, process.id()?, Some(&before)).await;
    let grown = after.memory.saturating_sub(before.memory);
    ensure!(grown < BYTES_PER_VIEWER * VIEWERS as u64, "memory has grown by {grown} bytes after {VIEWERS} viewers: {before:?} {after:?}");

    gate.open();
    let rest = first.rest().await?;
    ensure!(rest.last().map(Frame::kind).as_deref() == Some("turn.completed"));
    ensure!(process.terminate().await? == Some(0), "no clean exit");
    Ok(())
}

/// Each viewer reads an event and disconnects.
async fn connect_viewers(person: &Person, turn: &str, viewers: usize) -> Result<()> {
    let visits = (0..viewers).map(|n| async move {
        let mut viewer = open(person, turn, u32::try_from(n % 3)?).await?;
        viewer.next().await?.context("an event")?;
        anyhow::Ok(())
    });
    let outcomes: Vec<Result<()>> = stream::iter(visits).buffer_unordered(CONCURRENT).collect().await;
    outcomes.into_iter().collect()
}

/// Opens an event stream. Retries if the deadline of the call passes, which happens on a starved machine.
async fn open(person: &Person, turn: &str, after: u32) -> Result<Viewer> {
    for _ in 1..ATTEMPTS {
        match person.follow(turn, after).await {
            Err(error) if error.to_string().starts_with("504") => {}
            opened => return opened,
        }
    }
    person.follow(turn, after).await
}

/// The resources of a process.
#[derive(Debug)]
struct Resources {
    tasks: u64,
    files: usize,
    /// Bytes.
    memory: u64,
}

async fn resources(url: &str, id: u32) -> Option<Resources> {
    let metrics = reqwest::get(url).await.ok()?.text().await.ok()?;
    let tasks = metrics.lines().find(|line| line.starts_with("runtime_tasks"))?.rsplit(' ').next()?.parse::<f64>().ok()?;
    let files = std::fs::read_dir(format!("/proc/{id}/fd")).ok()?.count();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let kilobytes: u64 = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let tasks = tasks as u64;
    Some(Resources { tasks, files, memory: kilobytes * 1024 })
}

/// The resources after all viewers have disconnected: not more than `before`, or, without it, the same twice in a row.
async fn settled(url: &str, id: u32, before: Option<&Resources>) -> Resources {
    // The tolerance for pools and background work.
    const SLACK: usize = 8;
    let last = std::sync::Mutex::new(None::<(u64, usize)>);
    eventually(RELEASED_WITHIN, || async {
        let now = resources(url, id).await?;
        let (tasks, files) = match before {
            Some(before) => (before.tasks, before.files),
            None => last.lock().ok()?.replace((now.tasks, now.files))?,
        };
        let is_released = now.tasks <= tasks + SLACK as u64 && now.files <= files + SLACK;
        (is_released && (before.is_some() || now.tasks + SLACK as u64 >= tasks)).then_some(now)
    })
    .await
}

/// The services that have a database.
const DATABASES: [&str; 4] = ["auth", "project-storage", "agent-streaming", "compile"];
const PROVIDER_KEY: &str = "sk-ant-canary-91d0c7b25a6e4f38";
const CLUSTER_SECRET: &str = "canary4be8c05d17f92a63cluster9e01";
/// The place of the control.
const PLANTED: &str = "auth: public.planted";
/// A word that the databases have, which shows that they were read.
const SEEN: &str = "not-secret-at-all";
/// The trace of a sign-in that fails.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4737";
/// The limit for a report to arrive.
const REPORTED_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a13_no_secret_is_in_tables_redis_logs_traces_or_reports() -> Result<()> {
    let models = ModelServer::start(Script::with(|_, _| Some(Answer::default().text("Done.")))).await;
    let (data, traces, reports) = (tempfile::tempdir()?, Sink::default(), Sink::default());
    let policies = data.path().join("policies.yaml");
    // With this algorithm a counter keeps its key until the end of the window.
    std::fs::write(&policies, OPEN_POLICIES.replace("limit: 100000", "limit: 1000").replace("gcra", "sliding_log"))?;
    let (collector, sentry) = (traces.listen("/v1/traces").await?, reports.listen("/api/1/envelope/").await?);
    let (database, redis, mails) = (testing::database_url("canaries").await, testing::redis().await, MailServer::default());
    let launch = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), &data.path().join("backlot"))
        .set("BACKLOT_POLICIES", &policies.to_string_lossy())
        .set("DATABASE_URL", &database)
        .set("REDIS_URL", &redis.url)
        .set("SENTRY_DSN", &format!("http://key@{sentry}/1"))
        .set("BACKLOT_CLUSTER_SECRET", CLUSTER_SECRET)
        .set("BACKLOT_OUTBOUND_ALLOW", "127.0.0.1")
        .set("BACKLOT_LOG", "debug")
        .set("BACKLOT_LOG_FORMAT", "json")
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{collector}"))
        .set("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let launch = links::configured(launch, &mails.listen().await?)?;
    let process = launch.up().await?;
    let person = Person::sign_up(&process.url).await?;
    let mut canaries = links::used(&launch, &process, &person, &mails).await?;
    canaries.extend(used_secrets(&process, &person, models.url()).await?);
    canaries.push(Canary::new("the cluster secret", CLUSTER_SECRET));
    let mut places = vec![("Redis".to_owned(), redis_contents(&redis.url).await?)];
    fail_to_sign_in(&database, &person, &reports).await?;
    let control = Canary::new("a control", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP");
    plant(&database, &control).await?;
    // The spans, lines and reports that are left are written before the exit.
    ensure!(process.terminate().await? == Some(0), "no clean exit");

    places.push(("the log".to_owned(), std::fs::read_to_string(launch.log())?));
    let exported: String = traces.bodies().iter().map(|body| String::from_utf8_lossy(body).into_owned()).collect();
    places.push(("a trace".to_owned(), exported));
    for report in reports.bodies() {
        places.push(("a report".to_owned(), String::from_utf8(report.to_vec()).context("a report is not text, such as a compressed one")?));
    }
    for service in DATABASES {
        places.extend(tables(&database, service).await?);
    }
    let has = |part: &str, text: &str| places.iter().any(|(place, found)| place.contains(part) && found.contains(text));
    ensure!(has("project-storage", SEEN) && has("auth", &person.email) && has("agent-streaming", SEEN), "a table was not read");
    ensure!(has("the log", "/api/provider-keys") && has("a trace", "/api/provider-keys"), "a log or a trace was not read");
    ensure!(has("Redis", "backlot:rl:") && has("a report", TRACE), "Redis or a report was not read");
    ensure!(control.places(&places) == [PLANTED], "{:?}", control.places(&places));
    let leaks: Vec<_> =
        canaries.iter().map(|canary| (canary.name, canary.places(&places))).filter(|(_, found)| !found.is_empty()).collect();
    ensure!(leaks.is_empty(), "{leaks:?}");
    Ok(())
}

/// Writes the bytes that a secret stands for into a table, which the search must find.
async fn plant(database: &str, control: &Canary) -> Result<()> {
    let pool = pool(database, "auth").await?;
    sqlx::query("create table planted (value bytea)").execute(&pool).await?;
    sqlx::query("insert into planted values ($1)").bind(control.decoded().concat()).execute(&pool).await?;
    Ok(())
}

/// Uses one secret of each of these kinds. Returns the secrets.
async fn used_secrets(process: &Process, person: &Person, models: &str) -> Result<Vec<Canary>> {
    let text = |answer: &Value, field: &str| answer[field].as_str().map(str::to_owned).with_context(|| format!("no {field}"));
    let secret_of = |cookie: &str| cookie.split_once('=').map(|(_, secret)| secret.to_owned()).context("a cookie");
    let key = json!({ "provider": "anthropic", "key": PROVIDER_KEY, "baseUrl": models, "displayName": SEEN });
    person.post("/api/provider-keys", key).await?;
    let turn = person.turn(json!({ "draftId": SEEN, "prompt": "say it", "model": "anthropic/claude-test" })).await?;
    ensure!(turn.outcome() == "turn.completed", "{:?}", turn.frames.last());
    let preview = person.post(&format!("/api/projects/{}/previews", turn.project), json!({})).await?;
    let preview = text(&preview, "url")?;
    let capability = preview.split(['/', '.']).max_by_key(|part| part.len()).context("a capability")?.to_owned();

    let program = text(&person.post("/api/auth/keys", json!({ "displayName": "ci", "scope": "API_KEY_SCOPE_READ" })).await?, "secret")?;
    let account = text(&person.post("/api/auth/service-accounts", json!({ "displayName": "robot" })).await?, "id")?;
    let key = json!({ "displayName": "ci", "scope": "API_KEY_SCOPE_READ", "serviceAccountId": account });
    let robot = text(&person.post("/api/auth/keys", key).await?, "secret")?;
    for key in [&program, &robot] {
        let with_key = Person { cookie: String::new(), token: Some(key.clone()), ..person.clone() };
        with_key.get("/api/projects").await?;
    }
    let refresh = text(&person.post("/api/auth/refresh-tokens", json!({ "displayName": "nightly" })).await?, "refreshToken")?;
    let anybody = Person { cookie: String::new(), token: None, ..person.clone() };
    let next = anybody.post("/api/auth/token", json!({ "refreshToken": refresh })).await?;
    let totp = text(&person.post("/api/auth/totp", json!({})).await?, "secret")?;
    let added = person.post("/api/auth/totp:confirm", json!({ "code": totp_code(&totp, clock::now()) })).await?;
    let recovery: Vec<String> = serde_json::from_value(added["recoveryCodes"].clone())?;

    // What is refused is a secret, too.
    let wrong = "a wrong horse, battery and staple 3";
    let body = json!({ "email": person.email, "password": wrong });
    let refused = person.http.post(format!("{}/api/auth/signin", process.url)).json(&body).send().await?;
    ensure!(refused.status() == reqwest::StatusCode::UNAUTHORIZED, "{}", refused.status());
    let access = text(&next, "accessToken")?;
    let changed = format!("{access}x");
    let unknown = person.http.get(format!("{}/api/projects", process.url)).header(header::AUTHORIZATION, format!("Bearer {changed}"));
    ensure!(unknown.send().await?.status() == reqwest::StatusCode::UNAUTHORIZED);
    Ok(vec![
        Canary::new("the key of a provider", PROVIDER_KEY),
        Canary::new("a password", PASSWORD),
        Canary::new("a wrong password", wrong),
        Canary::new("a session cookie", secret_of(&person.cookie)?),
        Canary::new("an API key", program),
        Canary::new("the key of a service account", robot),
        Canary::new("a refresh token", refresh),
        Canary::new("the next refresh token", text(&next, "refreshToken")?),
        Canary::new("an access token", access),
        Canary::new("the secret of an app", totp),
        Canary::new("a recovery code", recovery.first().context("a recovery code")?.as_str()),
        Canary::new("the capability of a preview", capability),
    ])
}

/// Signs in with the right password and without the table that this needs. Waits for the report of the error.
async fn fail_to_sign_in(database: &str, person: &Person, reports: &Sink) -> Result<()> {
    break_sign_ins(database).await?;
    let body = json!({ "email": person.email, "password": PASSWORD });
    let request = person.http.post(format!("{}/api/auth/signin", person.url)).json(&body);
    let failed = request.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01")).send().await?;
    ensure!(failed.status() == reqwest::StatusCode::INTERNAL_SERVER_ERROR, "{}", failed.status());
    let is_reported = || reports.bodies().iter().any(|body| String::from_utf8_lossy(body).contains(TRACE));
    eventually(REPORTED_WITHIN, || async { is_reported().then_some(()) }).await;
    Ok(())
}

/// Every key of a Redis server with its value, as text.
async fn redis_contents(url: &str) -> Result<String> {
    let client = Builder::from_config(Config::from_url(url)?).build()?;
    let _connection = client.init().await?;
    let (mut cursor, mut text) = ("0".to_owned(), String::new());
    loop {
        let (next, keys): (String, Vec<String>) = client.scan_page(cursor, "*", Some(1_000), None).await?;
        for key in keys {
            let value = stored_value(&client, &key).await.with_context(|| key.clone())?;
            text.extend([key.as_str(), " ", value.as_str(), "\n"]);
        }
        if next == "0" {
            client.quit().await?;
            return Ok(text);
        }
        cursor = next;
    }
}

/// The value of a key, read by its type.
async fn stored_value(client: &Client, key: &str) -> Result<String> {
    let kind: String = client.custom(cmd!("TYPE"), vec![Stored::from(key.to_owned())]).await?;
    let (command, range): (&'static str, &[&str]) = match kind.as_str() {
        "string" => ("GET", &[]),
        "hash" => ("HGETALL", &[]),
        "list" => ("LRANGE", &["0", "-1"]),
        "set" => ("SMEMBERS", &[]),
        "zset" => ("ZRANGE", &["0", "-1", "WITHSCORES"]),
        "stream" => ("XRANGE", &["-", "+"]),
        // The key expired after it was listed.
        "none" => return Ok(String::new()),
        other => bail!("values of the type {other} are not read"),
    };
    let arguments: Vec<_> = std::iter::once(key).chain(range.iter().copied()).map(|word| Stored::from(word.to_owned())).collect();
    let value: Stored = client.custom(cmd!(command), arguments).await?;
    Ok(text_of(&value))
}

fn text_of(value: &Stored) -> String {
    let mut text = value.as_str_lossy().unwrap_or_default().into_owned();
    if let Stored::Array(parts) = value {
        for part in parts {
            text.extend([" ", text_of(part).as_str()]);
        }
    }
    text
}

/// The text of every row of every table of a service, by table.
async fn tables(database: &str, service: &str) -> Result<Vec<(String, String)>> {
    let pool = pool(database, service).await?;
    let names: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&pool)
    .await?;
    ensure!(!names.is_empty(), "{service} has no tables");
    let mut found = Vec::new();
    for name in names {
        let sql = AssertSqlSafe(format!("select coalesce(string_agg(t::text, chr(10)), '') from {name} t"));
        let text: String = sqlx::query_scalar(sql).fetch_one(&pool).await.with_context(|| name.clone())?;
        found.push((format!("{service}: {name}"), text));
    }
    Ok(found)
}
