//! The other protocol, for a process that is one service, set up and shut down around a runtime as `main` does it.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::sync::{Arc, Mutex};

use chassis::{config::Env, task, telemetry, testing};
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
fn spans_leave_over_grpc() {
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
        guard
    });
    guard.shutdown();
    let requests = collector.0.lock().unwrap().clone();
    let group = requests.iter().flat_map(|request| &request.resource_spans).next().expect("one export");
    assert!(format!("{:?}", group.resource).contains("rate-limit"));
    assert_eq!(group.scope_spans[0].spans[0].name, "decide");
}
