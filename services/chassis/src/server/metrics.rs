//! The metric `rpc.server.call.duration` of the OpenTelemetry semantic conventions.

use std::{sync::LazyLock, time::Duration};

use opentelemetry::{KeyValue, global, metrics::Histogram};
use tonic::Code;

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    global::meter("backlot")
        .f64_histogram("rpc.server.call.duration")
        .with_unit("s")
        .with_description("time until the answer began")
        .with_boundaries(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
        .build()
});

/// Records a call. `method` must be of a fixed set.
pub(super) fn record(service: &'static str, method: &str, code: Code, took: Duration) {
    let labels =
        [KeyValue::new("svc", service), KeyValue::new("rpc.method", method.to_owned()), KeyValue::new("rpc.status_code", code_name(code))];
    DURATION.record(took.as_secs_f64(), &labels);
}

/// The name of the code in the gRPC protocol.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
