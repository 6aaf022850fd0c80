//! Logs, metrics and readiness.

use anyhow::{Result, ensure};
use chassis::testing::{self, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection};
use test_support::{Cluster, Person, canary, grpc, process::Launch};

const SEEN_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

/// Series that exist with the value 0 at the start.
const INITIAL_SERIES: &[(&str, &[&str])] = &[
    ("backlot_turns_ended_total", &["outcome=\"completed\""]),
    ("backlot_turns_ended_total", &["outcome=\"failed\"", "reason=\"PROVIDER_ERROR\""]),
    ("backlot_attempts_total", &["gen_ai_provider_name=\"openai\""]),
    ("backlot_tokens_total", &["gen_ai_provider_name=\"demo\"", "gen_ai_token_type=\"output\""]),
    ("db_client_operation_slow_total", &["db_query_summary=\"claim turns\""]),
];
/// Series after a failed and a completed turn, with their least values.
const FINAL_SERIES: &[(&str, &[&str], f64)] = &[
    ("backlot_turn_duration_seconds_count", &["outcome=\"failed\""], 1.0),
    ("backlot_turn_wait_seconds_count", &[], 2.0),
    ("backlot_steps_total", &[], 1.0),
    ("backlot_attempts_total", &["error_type=\"connection\"", "gen_ai_provider_name=\"openai\""], 3.0),
    ("backlot_tokens_total", &["gen_ai_provider_name=\"demo\"", "gen_ai_token_type=\"output\""], 1.0),
    ("gen_ai_client_operation_time_to_first_chunk_seconds_count", &["gen_ai_provider_name=\"demo\""], 1.0),
    ("backlot_event_log_lag_seconds_count", &[], 1.0),
    ("db_client_connection_count", &["db_client_connection_state=\"max\""], 1.0),
    ("process_memory_usage_bytes", &[], 1_000_000.0),
    ("process_open_file_descriptor_count", &[], 3.0),
    ("process_uptime_seconds", &[], 0.1),
];

/// A URL that refuses connections.
async fn closed_url() -> Result<String> {
    Ok(format!("http://{}/v1", testing::listener().await.local_addr()?))
}

/// The value of the series with this name and these labels.
fn value(metrics: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let is_match = |line: &&str| line.starts_with(&format!("{name}{{")) && labels.iter().all(|label| line.contains(label));
    metrics.lines().find(is_match)?.rsplit(' ').next()?.parse().ok()
}

async fn metrics(url: &str) -> Result<String> {
    Ok(reqwest::get(url).await?.error_for_status()?.text().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_and_completed_turns_are_in_metrics_and_logs() -> Result<()> {
    chassis::install_crypto();
    let data = tempfile::tempdir()?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), &data.path().join("backlot"))
        .set("BACKLOT_LOG_FORMAT", "json")
        .set("BACKLOT_DEMO_PACE", "1ms")
        .set("OPENAI_BASE_URL", &closed_url().await?)
        .set("DATABASE_URL", &testing::database_url("operations").await);
    let process = launch.up().await?;
    let before = metrics(&process.metrics).await?;
    for (name, labels) in INITIAL_SERIES.iter().copied() {
        ensure!(value(&before, name, labels) == Some(0.0), "{name} {labels:?} is not 0 at the start:\n{before}");
    }

    let person = Person::sign_up(&process.url).await?;
    let failed = person.turn(json!({ "draftId": "a", "prompt": "a page", "model": "openai/nobody" })).await?;
    ensure!(failed.outcome() == "turn.failed", "{:?}", failed.frames.last());
    let done = person.turn(json!({ "draftId": "b", "prompt": "a counter", "model": "demo/demo" })).await?;
    ensure!(done.outcome() == "turn.completed", "{:?}", done.frames.last());

    let after = canary::within(
        SEEN_WITHIN,
        eventually(SEEN_WITHIN, || async {
            let text = metrics(&process.metrics).await.ok()?;
            let ended = |labels: &[&str]| value(&text, "backlot_turns_ended_total", labels) == Some(1.0);
            (ended(&["outcome=\"completed\""]) && ended(&["reason=\"PROVIDER_ERROR\""])).then_some(text)
        }),
    )
    .await?;
    for (name, labels, least) in FINAL_SERIES.iter().copied() {
        let found = value(&after, name, labels);
        ensure!(found.is_some_and(|found| found >= least), "{name} {labels:?} is {found:?}, expected at least {least}:\n{after}");
    }

    let log = std::fs::read_to_string(launch.log())?;
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let line_of = |turn: &str| {
        let is_match = |line: &&Value| line["message"] == "turn ended" && line["fields"]["turn.id"] == turn;
        let found: Vec<_> = lines.iter().filter(is_match).collect();
        let [line] = found[..] else { anyhow::bail!("{} lines for {turn} in\n{log}", found.len()) };
        Ok(line.clone())
    };
    let line = line_of(&failed.turn)?;
    assert_eq!(
        (&line["level"], &line["fields"]["outcome"], &line["fields"]["reason"], &line["fields"]["model"]),
        (&json!("WARN"), &json!("failed"), &json!("PROVIDER_ERROR"), &json!("openai/nobody"))
    );
    let line = line_of(&done.turn)?;
    let fields = &line["fields"];
    assert_eq!((&line["level"], &fields["outcome"], &fields["reason"]), (&json!("INFO"), &json!("completed"), &json!("")));
    ensure!(fields["steps"].as_u64() >= Some(1) && fields["output_tokens"].as_u64() >= Some(1) && fields["seconds"].is_f64(), "{fields}");
    ensure!(line["trace_id"].as_str().is_some_and(|id| id.len() == 32), "{line}");
    ensure!(process.terminate().await? == Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_a_line_with_the_person_and_the_reason() -> Result<()> {
    chassis::install_crypto();
    let data = tempfile::tempdir()?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), &data.path().join("backlot"))
        .set("BACKLOT_LOG_FORMAT", "json")
        .set("DATABASE_URL", &testing::database_url("refusals").await);
    let process = launch.up().await?;
    let person = Person::sign_up(&process.url).await?;
    let absent = format!("/api/projects/{}", uuid::Uuid::now_v7());
    person.refused(Method::GET, &absent, json!({})).await?;
    let wrong = json!({ "email": person.email, "password": "not the password of anybody" });
    person.refused(Method::POST, "/api/auth/signin", wrong).await?;
    ensure!(process.terminate().await? == Some(0));

    let log = std::fs::read_to_string(launch.log())?;
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let line_of = |message: &str| lines.iter().find(|line| line["message"] == message).cloned().unwrap_or_default();
    let user = json!(person.user_id);
    let line = line_of(&format!("GET {absent}"));
    assert_eq!((&line["fields"]["user"], &line["fields"]["reason"]), (&user, &json!("PROJECT_NOT_FOUND")), "{line}");
    let line = line_of("POST /api/auth/signin");
    assert_eq!((&line["fields"]["status"], &line["fields"]["reason"]), (&json!(401), &json!("BAD_CREDENTIALS")), "{line}");
    let proof = line_of("a proof of identity was refused");
    assert_eq!((&proof["fields"]["user"], &proof["fields"]["by"]), (&user, &json!("password")), "{proof}");
    ensure!(proof["fields"]["network"] == "127.0.0.0/24" && proof["trace_id"] == line["trace_id"], "{proof} {line}");
    ensure!(!log.contains(&person.email), "no line has an address");
    Ok(())
}

/// Sets whether the database is read-only for new connections, and closes the existing ones.
async fn set_read_only(admin: &mut PgConnection, read_only: bool) -> Result<()> {
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&mut *admin).await?;
    let value = if read_only { "on" } else { "off" };
    sqlx::query(AssertSqlSafe(format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}"))).execute(&mut *admin).await?;
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .execute(&mut *admin)
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_names_the_service_whose_database_is_unusable() -> Result<()> {
    let cluster = Cluster::start().await?;
    let http = reqwest::Client::new();
    let readiness = async || {
        let answer = http.get(format!("{}/readyz", cluster.url)).send().await.ok()?;
        Some((answer.status().as_u16(), answer.json::<Value>().await.ok()?))
    };
    let options = cluster.pool("auth").await?.connect_options().as_ref().clone().options([("default_transaction_read_only", "off")]);
    let mut admin = options.connect().await?;

    eventually(SEEN_WITHIN, || async { readiness().await.filter(|(status, _)| *status == 200) }).await;
    set_read_only(&mut admin, true).await?;
    let (_, body) = eventually(SEEN_WITHIN, || async { readiness().await.filter(|(status, _)| *status == 503) }).await;
    assert_eq!(
        (&body["services"]["auth"], &body["services"]["project-storage"], &body["missing"]),
        (&json!(false), &json!(true), &json!({"auth": "postgres"}))
    );
    let credentials = json!({"email": "a@example.com", "password": "a long enough password"});
    let refused = http.post(format!("{}/api/auth/signup", cluster.url)).json(&credentials).send().await?;
    assert_eq!(refused.status().as_u16(), 503);
    let problem: Value = refused.json().await?;
    ensure!(problem["title"].is_string() && problem["traceId"].is_string(), "{problem}");

    set_read_only(&mut admin, false).await?;
    let (_, body) = eventually(SEEN_WITHIN, || async { readiness().await.filter(|(status, _)| *status == 200) }).await;
    assert_eq!(body["missing"], json!({}));
    let person = cluster.person().await?;
    ensure!(person.turn(json!({ "draftId": "d", "prompt": "a counter" })).await?.outcome() == "turn.completed");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_rpcs_share_one_series() -> Result<()> {
    chassis::install_crypto();
    let data = tempfile::tempdir()?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), &data.path().join("backlot"))
        .set("BACKLOT_EDGE_PER_SECOND", "0")
        .set("DATABASE_URL", &testing::database_url("rpcs").await);
    let process = launch.up().await?;
    let channel = grpc::connect(&process.grpc["auth"]).await?;
    for n in 0..200 {
        for path in
            [format!("/backlot.auth.v1.AuthService/Invented{n}"), format!("/invented.v{n}.Service/SignIn"), format!("/grpc.invented/I{n}")]
        {
            let refused = grpc::call_path(channel.clone(), &path, false, Vec::new(), &[]).await.expect_err("an unknown RPC");
            assert_eq!(refused.code(), tonic::Code::Unimplemented, "{path}");
        }
    }
    let text = metrics(&process.metrics).await?;
    ensure!(!text.to_lowercase().contains("invented"), "{text}");
    let other = value(
        &text,
        "rpc_server_call_duration_seconds_count",
        &["rpc_method=\"_OTHER\"", "rpc_status_code=\"UNIMPLEMENTED\"", "svc=\"auth\""],
    );
    ensure!(other == Some(600.0), "{other:?} in {text}");
    ensure!(process.terminate().await? == Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_series_is_bounded() -> Result<()> {
    chassis::install_crypto();
    let data = tempfile::tempdir()?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), &data.path().join("backlot"))
        .set("BACKLOT_EDGE_PER_SECOND", "0")
        .set("DATABASE_URL", &testing::database_url("series").await);
    let process = launch.up().await?;
    let person = Person::sign_up(&process.url).await?;
    let size = |text: &str| text.lines().filter(|line| line.starts_with("http_server_request_duration_seconds_count")).count();
    // Unknown paths, resources and methods.
    for n in 0..100 {
        let invented = reqwest::Method::from_bytes(format!("INVENTED{n}").as_bytes())?;
        for (method, path) in [
            (reqwest::Method::GET, format!("/invented{n}")),
            (reqwest::Method::GET, format!("/api/projects/invented{n}")),
            (invented, "/api/projects".to_owned()),
        ] {
            person.request(method, &path).send().await?;
        }
    }
    let text = metrics(&process.metrics).await?;
    ensure!(!text.to_lowercase().contains("invented"), "{text}");
    ensure!((1..=40).contains(&size(&text)), "{} series", size(&text));
    let public = reqwest::get(format!("{}/metrics", process.url)).await?;
    ensure!(public.status() == 404, "{}", public.status());
    process.terminate().await?;
    Ok(())
}
