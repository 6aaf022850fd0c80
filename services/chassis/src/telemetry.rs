//! Telemetry: logs, traces over OTLP, metrics for Prometheus and OTLP, and reports of internal errors and panics to Sentry. All have the
//! same trace id. It is set up first and flushed last.
//!
//! - [`mod@log`]: the format of log lines; [`scrub`]: removes secrets from lines and reports;
//! - `origin`: the service that a span belongs to; `export`: exporters with a resource per service;
//! - `process`: memory, descriptors and uptime of the process; `report`: Sentry;
//! - `sampling`: selects the traces to export; `throttle`: limits the log lines about an unreachable collector.

mod export;
pub mod log;
mod origin;
mod process;
mod report;
mod sampling;
pub mod scrub;
mod scrub_span;
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

/// The bucket bounds of all histograms in seconds.
pub const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The most label sets of one metric. Further ones are counted together as `otel.metric.overflow`. Labels have fixed sets of values, so
/// only a bug reaches this limit.
pub const MAX_SERIES: usize = 1_000;

/// Libraries whose spans are not exported. They clutter traces, and the exporter would trace itself.
const EXCLUDED: [&str; 9] = ["h2", "hyper", "hyper_util", "reqwest", "tonic", "tower", "rustls", "fred", "opentelemetry"];

/// The format of log lines.
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

/// The protocol of OTLP.
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

/// The settings of telemetry.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directives of `tracing`, such as `info,project_storage=debug`.
    pub log: String,
    pub log_format: LogFormat,
    /// Base URL of the OTLP collector. Without it nothing is exported.
    pub otlp_endpoint: Option<url::Url>,
    pub otlp_protocol: Protocol,
    /// The ratio of exported traces, for traces that begin here. The decision of another service is kept.
    pub trace_ratio: f64,
    pub sentry_dsn: Option<Secret>,
    /// The name of the environment on resources and reports, such as `production`.
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

/// The problem of a log filter, if it has one. `EnvFilter` treats an unknown level as the name of a crate and disables all others.
fn filter_problem(filter: &str) -> Option<String> {
    let is_unknown =
        |directive: &str| directive.trim().parse::<tracing::level_filters::LevelFilter>().is_err() && !directive.contains(['=', '[']);
    if let Some(level) = filter.split(',').find(|directive| !directive.trim().is_empty() && is_unknown(directive)) {
        return Some(format!("{:?} is not a level: use error, warn, info, debug, trace or off, or CRATE=LEVEL", level.trim()));
    }
    EnvFilter::try_new(filter).is_err().then(|| "must be a filter such as info or info,auth=debug".to_owned())
}

/// The problem of the collector's URL, if it has one. Without this check the exporter fails later, in the background.
fn endpoint_problem(url: &url::Url, protocol: Protocol) -> Option<&'static str> {
    match (url.scheme(), protocol) {
        _ if url.host_str().is_none() => Some("must be a URL with a host, such as http://127.0.0.1:4317"),
        ("http", _) | ("https", Protocol::HttpProtobuf) => None,
        ("https", Protocol::Grpc) => Some("https is only supported with OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        _ => Some("must begin with http:// or https://"),
    }
}

/// Sets up telemetry for this process. `role` is the name of the service, or `backlot` for a process with several services, whose spans
/// are exported under the service that they belong to.
///
/// If the collector or Sentry cannot be reached, this logs warnings and does not fail.
pub fn init(config: &Config, role: &'static str) -> Guard {
    crate::install_crypto();
    log::install_panic_hook();
    let _already_set = RATIO.set(if config.otlp_endpoint.is_some() { config.trace_ratio } else { 0.0 });
    let sentry = config.sentry_dsn.as_ref().map(|dsn| report::init(dsn, &config.environment, role));
    let export = export::build(config, role);
    let tracer = export.traces.build();
    let meter = export.metrics.build();
    global::set_text_map_propagator(TraceContextPropagator::new());
    global::set_tracer_provider(tracer.clone());
    global::set_meter_provider(meter.clone());
    observe_runtime();

    let traced = Targets::new()
        .with_default(tracing::Level::INFO)
        .with_targets(EXCLUDED.map(|name| (name, tracing::level_filters::LevelFilter::OFF)));
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer.tracer("backlot"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    let filter = EnvFilter::try_new(&config.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let _already_set = tracing_subscriber::registry()
        // Before the span layer, so that the origin is set before a span is exported.
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

/// Registers the metrics of the process and of the runtime.
fn observe_runtime() {
    process::observe();
    let Ok(handle) = tokio::runtime::Handle::try_current() else { return };
    global::meter("chassis")
        .u64_observable_gauge("runtime.tasks")
        .with_description("tasks of this process that have not ended")
        .with_callback(move |gauge| gauge.observe(u64::try_from(handle.metrics().num_alive_tasks()).unwrap_or(u64::MAX), &[]))
        .build();
}

/// Keeps the exporters alive. Dropping it or shutting it down sends the remaining data.
#[must_use]
pub struct Guard {
    tracer: SdkTracerProvider,
    meter: SdkMeterProvider,
    sentry: Option<sentry::ClientInitGuard>,
    /// Drives the exporter's gRPC channel, which is still needed after the runtime of the services has ended.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Guard {
    /// Sends the remaining data and stops. This blocks, so do not call it from asynchronous code.
    pub fn shutdown(self) {}
}

impl Drop for Guard {
    fn drop(&mut self) {
        const LIMIT: Duration = Duration::from_secs(3);
        // Errors are ignored: an unreachable collector must not delay the exit, and logging has ended.
        let _ = self.tracer.shutdown_with_timeout(LIMIT);
        let _ = self.meter.shutdown_with_timeout(LIMIT);
        drop(self.sentry.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The trace id of the current span: 32 hexadecimal digits, or empty without a trace.
#[must_use]
pub fn trace_id() -> String {
    let active = opentelemetry::Context::current();
    let context = if active.span().span_context().is_valid() { active } else { tracing::Span::current().context() };
    let span = context.span();
    if span.span_context().is_valid() { span.span_context().trace_id().to_string() } else { String::new() }
}

/// The registry of the metrics of this process.
fn registry() -> &'static prometheus::Registry {
    static REGISTRY: OnceLock<prometheus::Registry> = OnceLock::new();
    REGISTRY.get_or_init(prometheus::Registry::new)
}

/// All metrics of this process in the Prometheus text format.
#[must_use]
pub fn metrics_text() -> String {
    let mut text = String::new();
    if let Err(error) = prometheus::TextEncoder::new().encode_utf8(&registry().gather(), &mut text) {
        tracing::warn!("metrics cannot be written: {error}");
    }
    text
}

/// The ratio of exported traces; not set before telemetry is set up.
static RATIO: OnceLock<f64> = OnceLock::new();

/// Decides whether a trace of an external client is sampled, with the same ratio as traces that begin here.
pub(crate) fn sample() -> bool {
    const PARTS: u32 = 1_000_000;
    let part = u32::try_from(crate::jitter::jitter(0..=u64::from(PARTS) - 1)).unwrap_or_default();
    RATIO.get().is_some_and(|ratio| f64::from(part) < f64::from(PARTS) * ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_with_an_unknown_level_is_a_fault() {
        for filter in ["info", "INFO", "off", "info,auth=debug", "warn,sqlx=off", "agent_streaming[turn]=debug"] {
            assert_eq!(filter_problem(filter), None, "{filter}");
        }
        for filter in ["inf", "auth", "info,debg", "info,auth=loud"] {
            assert!(filter_problem(filter).is_some(), "{filter}");
        }
    }

    #[test]
    fn an_unusable_collector_url_is_a_fault() {
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
