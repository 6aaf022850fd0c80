//! Export over gRPC for a process with one service. Telemetry is set up and shut down around a runtime, like in `main`.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::sync::{Arc, Mutex};

use chassis::{
    config::Env,
    propagation::{self, Sender},
    task, telemetry, testing,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(&self, request: Request<ExportTraceServiceRequest>) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[test]
fn spans_are_exported_over_grpc() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let collector = Collector::default();
    let guard = runtime.block_on(async {
        let listener = testing::listener().await;
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        task::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let config = telemetry::Config::read(&mut Env::of([("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())]));
        let guard = telemetry::init(&config, "rate-limit");
        tracing::info_span!("decide").in_scope(|| assert_eq!(telemetry::trace_id().len(), 32));
        // A stranger's sampling decision is ignored, and that of the cluster is kept.
        let headers = [("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")];
        let headers = headers.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        for (sender, span) in [(Sender::Stranger, tracing::info_span!("asked")), (Sender::Cluster, tracing::info_span!("told"))] {
            assert_eq!(propagation::adopt(&span, &headers, sender), "4bf92f3577b34da6a3ce929d0e0e4736");
            span.in_scope(|| ());
        }
        // Background work is not exported, but its logs have a trace id.
        let polled = tracing::info_span!("polled", otel.kind = "server");
        assert_eq!(propagation::adopt(&polled, &http::HeaderMap::new(), Sender::Cluster).len(), 32);
        polled.in_scope(|| ());
        let requested = tracing::info_span!("requested", otel.kind = "server");
        propagation::adopt(&requested, &http::HeaderMap::new(), Sender::Stranger);
        requested.in_scope(|| ());
        tracing::info_span!("probed", otel.kind = "server", http.route = "/readyz").in_scope(|| ());
        tracing::info_span!("looped", otel.kind = "client", db.system.name = "postgresql").in_scope(|| ());
        guard
    });
    guard.shutdown();
    let requests = collector.0.lock().unwrap().clone();
    let group = requests.iter().flat_map(|request| &request.resource_spans).next().expect("one export");
    assert!(format!("{:?}", group.resource).contains("rate-limit"));
    assert!(group.scope_spans[0].spans.iter().any(|span| span.name == "decide"));
    let names: Vec<_> = requests
        .iter()
        .flat_map(|request| &request.resource_spans)
        .flat_map(|group| &group.scope_spans)
        .flat_map(|scope| &scope.spans)
        .map(|span| span.name.as_str())
        .collect();
    assert!(names.contains(&"asked") && names.contains(&"requested"), "{names:?}");
    for unwanted in ["told", "polled", "probed", "looped"] {
        assert!(!names.contains(&unwanted), "{unwanted}: {names:?}");
    }
}
