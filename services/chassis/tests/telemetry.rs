//! The output of telemetry: spans under the name of their service, metrics, and reports without secrets, all with one trace id. It is a
//! single test, because telemetry is global to the process. Another one reads what it logs.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod sink;

use std::{collections::BTreeSet, time::Duration};

use chassis::{config::Env, postgres, task, telemetry, testing::eventually};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use sink::Sink;
use tracing::{Instrument as _, info_span, level_filters::LevelFilter};

const LIMIT: Duration = Duration::from_secs(30);
/// A secret in the text of a panic.
const CANARY: &str = "blt_pat_abcdefghijklmnop";
const SINGLE_TEST: &str = "spans_and_reports_have_one_trace_id_and_no_secrets";

#[test]
fn spans_and_reports_have_one_trace_id_and_no_secrets() {
    let (collector, sentry) = (Sink::start(), Sink::start());
    let dsn = format!("{}/1", sentry.url.replace("http://", "http://key@"));
    let mut env = Env::of([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("SENTRY_DSN", &dsn),
        ("BACKLOT_LOG_FORMAT", "json"),
        ("BACKLOT_ENVIRONMENT", "test"),
    ]);
    let config = telemetry::Config::read(&mut env);
    env.check().unwrap();
    let guard = telemetry::init(&config, "backlot");
    // Otherwise each of the many TRACE spans of h2 costs as much as an exported one.
    assert_eq!(LevelFilter::current(), LevelFilter::INFO, "a filter or a layer has no level hint");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let trace_id = runtime.block_on(work());
    runtime.block_on(eventually(LIMIT, || async { (sentry.bodies().len() >= 2).then_some(()) }));
    let metrics = telemetry::metrics_text();
    assert!(metrics.contains("db_client_operation_duration_seconds_count") && metrics.contains("select sessions"), "{metrics}");
    assert!(metrics.contains("db_client_operation_slow"), "{metrics}");
    assert_series_are_limited();
    drop(runtime);
    guard.shutdown();

    let exported = spans(&collector);
    let of_trace: BTreeSet<_> =
        exported.iter().filter(|(_, _, trace)| *trace == trace_id).map(|(service, name, _)| (service.as_str(), name.as_str())).collect();
    assert_eq!(
        of_trace,
        [
            ("auth", "backlot.auth.v1.AuthService/SignIn"),
            ("auth", "select sessions"),
            ("backlot", "start"),
            ("gateway", "POST /"),
            ("gateway", "in a task")
        ]
        .into(),
        "{exported:?}"
    );
    let reports: Vec<String> = sentry.bodies().iter().map(|body| String::from_utf8_lossy(body).into_owned()).collect();
    assert_eq!(reports.len(), 2, "one for the error, one for the panic: {reports:#?}");
    for report in &reports {
        assert!(report.contains(&trace_id), "{report}");
        assert!(!report.contains("hunter2") && !report.contains("blt_pat_"), "{report}");
    }
    for body in collector.bodies() {
        let text = String::from_utf8_lossy(&body);
        assert!(!text.contains("hunter2") && !text.contains("blt_pat_"), "{text}");
    }
    assert!(
        reports.iter().any(|report| report.contains("postgres://[redacted]@db/x"))
            && reports.iter().any(|report| report.contains("key [redacted] is bad"))
    );
}

/// The log of the same work, which a process of its own writes.
#[test]
fn the_log_of_a_panic_has_no_secret() {
    let executable = std::env::current_exe().unwrap();
    let run = std::process::Command::new(executable).args(["--exact", SINGLE_TEST, "--nocapture"]).output().unwrap();
    let log = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.success(), "{log}");
    assert!(log.contains("panicked: key [redacted] is bad") && log.contains("cannot reach postgres://[redacted]@db/x"), "{log}");
    assert!(!log.contains(CANARY) && !log.contains("hunter2"), "{log}");
}

/// A label with unbounded values does not cause unbounded series, and the buckets of histograms are kept.
fn assert_series_are_limited() {
    let meter = opentelemetry::global::meter("test");
    let (count, seconds) =
        (meter.u64_counter("careless").build(), meter.f64_histogram("careful").with_boundaries(telemetry::SECONDS.to_vec()).build());
    for n in 0..5_000 {
        count.add(1, &[opentelemetry::KeyValue::new("n", n)]);
    }
    seconds.record(0.0004, &[]);
    let text = telemetry::metrics_text();
    let series: Vec<&str> = text.lines().filter(|line| line.starts_with("careless_total{")).collect();
    assert!((100..=telemetry::MAX_SERIES + 1).contains(&series.len()), "{} series", series.len());
    let counted: f64 = series.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    assert!(series.iter().any(|line| line.contains("otel_metric_overflow")) && (counted - 5_000.0).abs() < 0.5, "{counted}");
    assert!(
        text.lines().any(|line| line.starts_with("careful_bucket{") && line.contains("le=\"0.0005\"") && line.ends_with(" 1")),
        "{text}"
    );
}

/// The spans of a request through the gateway to auth, with an internal error and a panic.
async fn work() -> String {
    async {
        let trace_id = telemetry::trace_id();
        assert_eq!(trace_id.len(), 32);
        async {
            let server = info_span!("request", otel.name = "backlot.auth.v1.AuthService/SignIn", otel.kind = "server", svc = "auth");
            async {
                postgres::query("select sessions", async { slow().await }).await.unwrap();
                tracing::error!("cannot reach postgres://me:hunter2@db/x");
                info_span!(target: "h2::client", "noise").in_scope(|| ());
            }
            .instrument(server)
            .await;
            task::spawn(async {}.instrument(info_span!("in a task"))).await.unwrap();
            assert!(task::spawn(async { panic!("key {CANARY} is bad") }).await.is_err());
        }
        .instrument(info_span!("request", otel.name = "POST /", svc = "gateway"))
        .await;
        trace_id
    }
    .instrument(info_span!("start"))
    .await
}

async fn slow() -> Result<(), sqlx::Error> {
    tokio::time::sleep(postgres::SLOW).await;
    Ok(())
}

/// The service, the name and the trace id of every exported span.
fn spans(collector: &Sink) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for body in collector.bodies_of("/v1/traces") {
        for group in ExportTraceServiceRequest::decode(body.as_slice()).unwrap().resource_spans {
            let attributes = group.resource.unwrap().attributes;
            let service = attributes
                .iter()
                .find(|a| a.key == "service.name")
                .and_then(|a| a.value.clone())
                .map(|v| format!("{:?}", v.value))
                .unwrap();
            let service = service.split('"').nth(1).unwrap().to_owned();
            for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let trace: String = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
                found.push((service.clone(), span.name, trace));
            }
        }
    }
    found
}
