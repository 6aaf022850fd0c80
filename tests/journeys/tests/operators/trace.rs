//! The trace id of a client is in the spans of every service. Sentry receives internal errors without secrets. (A panic is tested in
//! `services/chassis/tests/telemetry.rs`.)

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use chassis::testing::{self, eventually};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use reqwest::Method;
use serde_json::json;
use test_support::{Person, cluster::break_sign_ins, process::Launch, sink::Sink, sse::Viewer};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// The limit for exported data to arrive. Exporters send a batch every few seconds.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);

/// The names of the services with a span of this trace.
fn services(exported: &Sink) -> BTreeSet<String> {
    let requests = exported.bodies().into_iter().filter_map(|b| ExportTraceServiceRequest::decode(b).ok());
    let spans = requests.flat_map(|r| r.resource_spans);
    let ours = spans.filter(|r| r.scope_spans.iter().flat_map(|s| &s.spans).any(|s| hex(&s.trace_id) == TRACE));
    ours.flat_map(|r| r.resource.unwrap_or_default().attributes)
        .filter(|a| a.key == "service.name")
        .filter_map(|a| match a.value?.value? {
            opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(name) => Some(name),
            _ => None,
        })
        .collect()
}

/// The trace id and the name of every span.
fn spans(exported: &Sink) -> Vec<(String, String)> {
    let requests = exported.bodies().into_iter().filter_map(|b| ExportTraceServiceRequest::decode(b).ok());
    let spans = requests.flat_map(|r| r.resource_spans).flat_map(|r| r.scope_spans).flat_map(|s| s.spans);
    spans.map(|span| (hex(&span.trace_id), span.name)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_includes_every_service_and_reports_have_no_secrets() -> Result<()> {
    let data = tempfile::tempdir()?;
    let (spans, reports) = (Sink::default(), Sink::default());
    let collector = spans.listen("/v1/traces").await?;
    let sentry = reports.listen("/api/1/envelope/").await?;
    let database = testing::database_url("trace").await;
    let launch = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), &data.path().join("backlot"))
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{collector}"))
        .set("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .set("SENTRY_DSN", &format!("http://key@{sentry}/1"))
        .set("BACKLOT_LOG", "info,backlot=debug")
        .set("BACKLOT_LOG_FORMAT", "json")
        .set("BACKLOT_DEMO_PACE", "1ms")
        .set("DATABASE_URL", &database);
    let process = launch.up().await?;
    let person = Person::sign_up(&process.url).await?;

    let start = person
        .request(Method::POST, "/api/agent/stream")
        .header("traceparent", PARENT)
        .json(&json!({ "draftId": "d", "prompt": "a counter" }));
    let frames = Viewer::open(start.send().await?).await?.rest().await?;
    ensure!(frames.iter().all(|f| f.json()["traceId"] == TRACE), "every event has the trace id: {:?}", frames[0]);

    let absent =
        person.request(Method::GET, &format!("/api/projects/{}", uuid::Uuid::now_v7())).header("traceparent", PARENT).send().await?;
    let problem: serde_json::Value = absent.json().await?;
    assert_eq!(problem["traceId"], TRACE, "{problem}");

    // A missing table causes an INTERNAL error, whose problem has the trace id and no details.
    break_sign_ins(&database).await.context("the table could not be renamed")?;
    let failed = person
        .http
        .post(format!("{}/api/auth/signin", person.url))
        .header("traceparent", PARENT)
        .json(&json!({ "email": person.email, "password": test_support::person::PASSWORD }))
        .send()
        .await?;
    let (status, problem): (_, serde_json::Value) = (failed.status(), failed.json().await?);
    assert_eq!(
        (status.as_u16(), problem["reason"].as_str(), problem["traceId"].as_str()),
        (500, Some("INTERNAL"), Some(TRACE)),
        "{problem}"
    );

    let all: BTreeSet<String> = ["gateway", "auth", "agent-streaming", "project-storage", "rate-limit"].map(str::to_owned).into();
    eventually(ARRIVES_WITHIN, || async { services(&spans).is_superset(&all).then_some(()) }).await;
    let reported = eventually(ARRIVES_WITHIN, || async {
        let texts: Vec<_> = reports.bodies().iter().map(|b| String::from_utf8_lossy(b).into_owned()).collect();
        texts.iter().any(|t| t.contains(TRACE)).then_some(texts)
    })
    .await;
    let log = std::fs::read_to_string(launch.log())?;
    ensure!(log.lines().any(|l| l.contains(TRACE)), "no log line has the trace id");
    let secret = std::fs::read_to_string(launch.data.join("cluster.key"))?;
    for canary in [test_support::person::PASSWORD, person.cookie.split('=').nth(1).unwrap_or_default(), secret.trim()] {
        ensure!(!log.contains(canary) && reported.iter().all(|t| !t.contains(canary)), "a secret is in the log or in a report");
    }
    assert_eq!(process.terminate().await?, Some(0));
    Ok(())
}

/// The number of `claim turns` statements of agent-streaming so far.
async fn claims(metrics: std::net::SocketAddr) -> Option<f64> {
    let text = reqwest::get(format!("http://{metrics}/metrics")).await.ok()?.text().await.ok()?;
    let series = text.lines().filter(|line| line.starts_with("db_client_operation_duration_seconds_count{"));
    series.filter(|line| line.contains("\"claim turns\"")).find_map(|line| line.rsplit(' ').next()?.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn background_work_and_probes_create_no_traces() -> Result<()> {
    let data = tempfile::tempdir()?;
    let spans = Sink::default();
    let collector = spans.listen("/v1/traces").await?;
    let (launch, metrics) = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), &data.path().join("backlot"))
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{collector}"))
        .set("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .set("DATABASE_URL", &testing::database_url("idle").await)
        .with_metrics()?;
    let process = launch.up().await?;
    let before = claims(metrics).await.unwrap_or_default();
    eventually(ARRIVES_WITHIN, || async {
        for probe in ["healthz", "readyz"] {
            reqwest::get(format!("{}/{probe}", process.url)).await.ok()?;
        }
        (claims(metrics).await? >= before + 3.0).then_some(())
    })
    .await;
    // A request of a client creates a trace.
    reqwest::get(format!("{}/api/projects", process.url)).await?;
    assert_eq!(process.terminate().await?, Some(0), "the remaining spans are exported at the exit");
    let exported = self::spans(&spans);
    let traces: BTreeSet<_> = exported.iter().map(|(trace, _)| trace).collect();
    ensure!(traces.len() == 1 && exported.iter().any(|(_, name)| name == "GET /api/projects"), "{exported:?}");
    Ok(())
}
