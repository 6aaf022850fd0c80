//! What a process tells about itself: log lines, traces over OTLP, metrics for Prometheus and OTLP, internal errors and panics
//! to Sentry. One trace id joins them. Set up first, flushed last.
//!
//! - [`mod@log`]: one line per event, each with its trace id; [`scrub`]: what no line and no report may carry;
//! - `origin`: which service of the process a span belongs to; `export`: a resource per service;
//! - `process`: memory, descriptors and age of the process; `report`: Sentry;
//! - `sampling`: which traces are exported; `throttle`: a collector that is away.

mod export;
pub mod log;
mod origin;
mod process;
mod report;
mod sampling;
pub mod scrub;
mod throttle;

use std::{sync::OnceLock, time::Duration};

use opentelemetry::{global, trace::TraceContextExt as _, trace::TracerProvider as _};
use opentelemetry_sdk::{metrics::SdkMeterProvider, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterExt as _, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use self::throttle::Throttle;
use crate::config::{Env, Secret, Setting};

/// Bucket bounds of every histogram of seconds.
pub const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Label sets of one metric; what comes beyond them is counted together, as `otel.metric.overflow`. Labels are of fixed sets, so this many
/// are only there if somebody forgot that.
pub const SERIES: usize = 1_000;

/// Libraries whose spans are noise in a trace; without this the exporter would also trace itself.
const NOISY: [&str; 9] = ["h2", "hyper", "hyper_util", "reqwest", "tonic", "tower", "rustls", "fred", "opentelemetry"];

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object per line.
    Json,
}

impl Setting for LogFormat {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "pretty" => Ok(Self::Pretty),
            "json" => Ok(Self::Json),
            _ => Err("must be pretty or json".to_owned()),
        }
    }
}

/// How traces and metrics leave the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    HttpProtobuf,
}

impl Setting for Protocol {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "grpc" => Ok(Self::Grpc),
            "http/protobuf" => Ok(Self::HttpProtobuf),
            _ => Err("must be grpc or http/protobuf".to_owned()),
        }
    }
}

/// Where telemetry goes.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directives of `tracing`, such as `info,project_storage=debug`.
    pub log: String,
    pub log_format: LogFormat,
    /// Base URL of the OTLP collector; nothing is exported without one.
    pub otlp_endpoint: Option<url::Url>,
    pub otlp_protocol: Protocol,
    /// The share of the traces begun here that is exported. A service of the cluster keeps its caller's decision.
    pub trace_ratio: f64,
    pub sentry_dsn: Option<Secret>,
    /// `production`, `staging`…: on every resource and report.
    pub environment: String,
}

impl Config {
    /// Reads the settings.
    pub fn read(env: &mut Env) -> Self {
        let config = Self {
            log: env.get("BACKLOT_LOG", "info", "what is logged: error, warn, info, debug, or per crate as in info,auth=debug"),
            log_format: env.get("BACKLOT_LOG_FORMAT", "pretty", "pretty or json"),
            otlp_endpoint: env
                .optional("OTEL_EXPORTER_OTLP_ENDPOINT", "OTLP collector for traces and metrics; without it nothing is exported"),
            otlp_protocol: env.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "grpc or http/protobuf"),
            trace_ratio: env.get(
                "BACKLOT_TRACE_RATIO",
                "1",
                "share of the traces of requests that is exported, 0 to 1; probes and background work are never exported",
            ),
            sentry_dsn: env.optional("SENTRY_DSN", "Sentry project for internal errors and panics"),
            environment: env.get("BACKLOT_ENVIRONMENT", "development", "name of the installation on traces and reports"),
        };
        if let Some(problem) = filter_problem(&config.log) {
            env.fault("BACKLOT_LOG", problem);
        }
        if let Some(problem) = config.otlp_endpoint.as_ref().and_then(|url| endpoint_problem(url, config.otlp_protocol)) {
            env.fault("OTEL_EXPORTER_OTLP_ENDPOINT", problem);
        }
        if !(0.0..=1.0).contains(&config.trace_ratio) {
            env.out_of_bounds("BACKLOT_TRACE_RATIO", "must be a number from 0 to 1");
        }
        if config.sentry_dsn.as_ref().is_some_and(|dsn| !report::is_dsn(dsn)) {
            env.fault("SENTRY_DSN", "must be a Sentry DSN such as https://key@sentry.example/1");
        }
        config
    }
}

/// What is wrong with a filter. The library takes a word that is no level for the name of a crate, which silences all others.
fn filter_problem(filter: &str) -> Option<String> {
    let word =
        |directive: &str| directive.trim().parse::<tracing::level_filters::LevelFilter>().is_err() && !directive.contains(['=', '[']);
    if let Some(word) = filter.split(',').find(|directive| !directive.trim().is_empty() && word(directive)) {
        return Some(format!("{:?} is no level: use error, warn, info, debug, trace or off, or CRATE=LEVEL", word.trim()));
    }
    EnvFilter::try_new(filter).is_err().then(|| "must be a filter such as info or info,auth=debug".to_owned())
}

/// What is wrong with the collector's address: an exporter that cannot use it fails where nobody looks.
fn endpoint_problem(url: &url::Url, protocol: Protocol) -> Option<&'static str> {
    match (url.scheme(), protocol) {
        _ if url.host_str().is_none() => Some("must be a URL with a host, such as http://127.0.0.1:4317"),
        ("http", _) | ("https", Protocol::HttpProtobuf) => None,
        ("https", Protocol::Grpc) => Some("https is only supported with OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        _ => Some("must begin with http:// or https://"),
    }
}

/// Sets everything up for this process. `role` is the name of the service, or `backlot` for a process that runs several:
/// there each span is exported under the service that made it.
///
/// A collector or Sentry that cannot be reached costs log lines, never the start.
pub fn init(config: &Config, role: &'static str) -> Guard {
    crate::install_crypto();
    log::install_panic_hook();
    let _set_before = RATIO.set(if config.otlp_endpoint.is_some() { config.trace_ratio } else { 0.0 });
    let sentry = config.sentry_dsn.as_ref().map(|dsn| report::init(dsn, &config.environment, role));
    let export = export::build(config, role);
    let tracer = export.traces.build();
    let meter = export.metrics.build();
    global::set_text_map_propagator(TraceContextPropagator::new());
    global::set_tracer_provider(tracer.clone());
    global::set_meter_provider(meter.clone());
    observe_runtime();

    let traced =
        Targets::new().with_default(tracing::Level::INFO).with_targets(NOISY.map(|name| (name, tracing::level_filters::LevelFilter::OFF)));
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer.tracer("backlot"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    let filter = EnvFilter::try_new(&config.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let _already_set = tracing_subscriber::registry()
        // Before the layer of spans, whose end would otherwise come first.
        .with(origin::Layer::new(role, config.otlp_endpoint.is_some()).with_filter(traced.clone()))
        .with(spans.with_filter(traced))
        .with(log::layer(config.log_format, role).with_filter(filter.and(Throttle::default())))
        .with(sentry.is_some().then(report::layers))
        .try_init();
    if let Some(problem) = export.problem {
        tracing::warn!("telemetry is not exported: {problem}");
    }
    Guard { tracer, meter, sentry, runtime: export.runtime }
}

/// Tasks that are never ended show here before they show in memory.
fn observe_runtime() {
    process::observe();
    let Ok(handle) = tokio::runtime::Handle::try_current() else { return };
    global::meter("chassis")
        .u64_observable_gauge("runtime.tasks")
        .with_description("tasks of this process that have not ended")
        .with_callback(move |gauge| gauge.observe(u64::try_from(handle.metrics().num_alive_tasks()).unwrap_or(u64::MAX), &[]))
        .build();
}

/// Keeps the exporters alive. Dropped or shut down, it sends what is left.
#[must_use]
pub struct Guard {
    tracer: SdkTracerProvider,
    meter: SdkMeterProvider,
    sentry: Option<sentry::ClientInitGuard>,
    /// Drives the exporter's gRPC channel, so that it still works when the runtime of the services has ended.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Guard {
    /// Sends what is left and stops. It blocks: call it when no asynchronous code runs on this thread any more.
    pub fn shutdown(self) {}
}

impl Drop for Guard {
    fn drop(&mut self) {
        const LIMIT: Duration = Duration::from_secs(3);
        // A collector that is away must not hold up the end of the process, and there is nobody left to tell.
        let _ = self.tracer.shutdown_with_timeout(LIMIT);
        let _ = self.meter.shutdown_with_timeout(LIMIT);
        drop(self.sentry.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The trace that the current span belongs to: 32 hexadecimal digits, or nothing outside of a trace.
#[must_use]
pub fn trace_id() -> String {
    let active = opentelemetry::Context::current();
    let context = if active.span().span_context().is_valid() { active } else { tracing::Span::current().context() };
    let span = context.span();
    if span.span_context().is_valid() { span.span_context().trace_id().to_string() } else { String::new() }
}

/// The metrics of this process.
fn registry() -> &'static prometheus::Registry {
    static REGISTRY: OnceLock<prometheus::Registry> = OnceLock::new();
    REGISTRY.get_or_init(prometheus::Registry::new)
}

/// Every metric of this process in the text format of Prometheus.
#[must_use]
pub fn metrics_text() -> String {
    let mut text = String::new();
    if let Err(error) = prometheus::TextEncoder::new().encode_utf8(&registry().gather(), &mut text) {
        tracing::warn!("metrics cannot be written: {error}");
    }
    text
}

/// The share of the traces begun here that is exported; none before telemetry is set up.
static RATIO: OnceLock<f64> = OnceLock::new();

/// Whether a trace that somebody else began is sampled, by the same share as our own.
pub(crate) fn samples() -> bool {
    const PARTS: u32 = 1_000_000;
    let part = u32::try_from(crate::jitter::jitter(0..=u64::from(PARTS) - 1)).unwrap_or_default();
    RATIO.get().is_some_and(|ratio| f64::from(part) < f64::from(PARTS) * ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_levels_and_crates() {
        for filter in ["info", "INFO", "off", "info,auth=debug", "warn,sqlx=off", "agent_streaming[turn]=debug"] {
            assert_eq!(filter_problem(filter), None, "{filter}");
        }
        for filter in ["inf", "auth", "info,debg", "info,auth=loud"] {
            assert!(filter_problem(filter).is_some(), "{filter}");
        }
    }

    #[test]
    fn a_collector_that_could_not_be_reached_is_a_fault() {
        let problem = |text: &str, protocol| endpoint_problem(&text.parse().unwrap(), protocol);
        for (url, protocol) in [
            ("http://127.0.0.1:4317", Protocol::Grpc),
            ("http://localhost:4317", Protocol::Grpc),
            ("https://collector.example", Protocol::HttpProtobuf),
        ] {
            assert_eq!(problem(url, protocol), None, "{url}");
        }
        for (url, protocol) in [
            ("https://collector.example", Protocol::Grpc),
            ("localhost:4317", Protocol::Grpc),
            ("localhost:4318", Protocol::HttpProtobuf),
            ("ftp://collector.example", Protocol::HttpProtobuf),
        ] {
            assert!(problem(url, protocol).is_some(), "{url}");
        }
    }
}
