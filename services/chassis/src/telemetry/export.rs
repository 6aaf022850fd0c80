//! The OTLP exporters for traces and metrics, and the Prometheus reader for `/metrics`.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{Instrument, MeterProviderBuilder, SdkMeterProvider, Stream},
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter, TracerProviderBuilder},
};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::{Config, Protocol, origin, sampling::RequestSampler, scrub_span::scrub_span};

/// A unique id of this process.
static INSTANCE: LazyLock<Uuid> = LazyLock::new(Uuid::new_v4);

/// The configured providers.
pub(super) struct Export {
    pub(super) traces: TracerProviderBuilder,
    pub(super) metrics: MeterProviderBuilder,
    pub(super) runtime: Option<Runtime>,
    /// Why nothing is exported although an endpoint is set.
    pub(super) problem: Option<String>,
}

pub(super) fn build(config: &Config, role: &'static str) -> Export {
    let resource = resource(role, &config.environment);
    let mut export = Export {
        traces: sampled(config).with_resource(resource.clone()),
        metrics: SdkMeterProvider::builder()
            .with_resource(resource)
            .with_view(|_: &Instrument| Stream::builder().with_cardinality_limit(super::MAX_SERIES).build().ok()),
        runtime: None,
        problem: None,
    };
    match opentelemetry_prometheus::exporter().with_registry(super::registry().clone()).without_target_info().build() {
        Ok(reader) => export.metrics = export.metrics.with_reader(reader),
        Err(error) => export.problem = Some(error.to_string()),
    }
    if let Err(error) = add_otlp(&mut export, config, role) {
        export.problem = Some(error);
    }
    export
}

fn sampled(config: &Config) -> TracerProviderBuilder {
    let builder = SdkTracerProvider::builder();
    match config.otlp_endpoint {
        Some(_) => builder.with_sampler(RequestSampler::new(config.trace_ratio)),
        // Spans have trace ids and are propagated, but are not recorded.
        None => builder.with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff))),
    }
}

fn add_otlp(export: &mut Export, config: &Config, role: &'static str) -> Result<(), String> {
    let Some(endpoint) = &config.otlp_endpoint else { return Ok(()) };
    if config.otlp_protocol == Protocol::Grpc {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("otlp").enable_all().build();
        export.runtime = Some(runtime.map_err(|e| e.to_string())?);
    }
    let _entered = export.runtime.as_ref().map(Runtime::enter);
    let connect = || exporter(endpoint.as_str(), config.otlp_protocol).map_err(|e| e.to_string());
    let mut others = HashMap::new();
    if !origin::SERVICES.contains(&role) {
        for service in origin::SERVICES {
            let mut other = connect()?;
            other.set_resource(&resource(service, &config.environment));
            others.insert(service, other);
        }
    }
    let traces = PerService { role: connect()?, others };
    let metrics = metric_exporter(endpoint.as_str(), config.otlp_protocol).map_err(|e| e.to_string())?;
    export.traces = std::mem::take(&mut export.traces).with_batch_exporter(traces);
    export.metrics = std::mem::take(&mut export.metrics).with_periodic_exporter(metrics);
    Ok(())
}

fn exporter(endpoint: &str, protocol: Protocol) -> Result<OtlpExporter, ExporterBuildError> {
    match protocol {
        Protocol::Grpc => OtlpExporter::builder().with_tonic().with_endpoint(endpoint).build(),
        Protocol::HttpProtobuf => OtlpExporter::builder().with_http().with_endpoint(signal(endpoint, "traces")).build(),
    }
}

fn metric_exporter(endpoint: &str, protocol: Protocol) -> Result<MetricExporter, ExporterBuildError> {
    match protocol {
        Protocol::Grpc => MetricExporter::builder().with_tonic().with_endpoint(endpoint).build(),
        Protocol::HttpProtobuf => MetricExporter::builder().with_http().with_endpoint(signal(endpoint, "metrics")).build(),
    }
}

/// The HTTP endpoint of a signal. The exporter does not append the path to an endpoint that is set in code.
fn signal(endpoint: &str, name: &str) -> String {
    format!("{}/v1/{name}", endpoint.trim_end_matches('/'))
}

fn resource(service: &'static str, environment: &str) -> Resource {
    Resource::builder()
        .with_service_name(service)
        .with_attributes([
            KeyValue::new("service.namespace", "backlot"),
            // Distinguishes the series of replicas.
            KeyValue::new("service.instance.id", INSTANCE.to_string()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("deployment.environment.name", environment.to_owned()),
        ])
        .build()
}

/// Exports each span without secrets, under the service that it belongs to. An exporter has one resource, so there is one exporter for each
/// service of the process.
#[derive(Debug)]
struct PerService {
    role: OtlpExporter,
    others: HashMap<&'static str, OtlpExporter>,
}

impl PerService {
    fn all(&self) -> impl Iterator<Item = &OtlpExporter> {
        std::iter::once(&self.role).chain(self.others.values())
    }

    fn each(&self, action: impl Fn(&OtlpExporter) -> OTelSdkResult) -> OTelSdkResult {
        let results: Vec<_> = self.all().map(action).collect();
        results.into_iter().collect()
    }
}

impl SpanExporter for PerService {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut by_service: HashMap<Option<&'static str>, Vec<SpanData>> = HashMap::new();
        for span in batch {
            let service = service_of(&span).filter(|service| self.others.contains_key(service));
            by_service.entry(service).or_default().push(scrub_span(span));
        }
        let mut result = Ok(());
        for (service, spans) in by_service {
            let exporter = service.and_then(|service| self.others.get(service)).unwrap_or(&self.role);
            result = result.and(exporter.export(spans).await);
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.each(|exporter| exporter.shutdown_with_timeout(timeout))
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.each(SpanExporter::force_flush)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.role.set_resource(resource);
    }
}

fn service_of(span: &SpanData) -> Option<&'static str> {
    let attribute = span.attributes.iter().rfind(|attribute| attribute.key.as_str() == origin::ATTRIBUTE)?;
    let name = attribute.value.as_str();
    origin::SERVICES.into_iter().find(|service| *service == name)
}
