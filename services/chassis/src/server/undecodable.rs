//! Requests that cannot be decoded. tonic answers them before any handler runs, with INTERNAL and no reason. The status is replaced by
//! INVALID_ARGUMENT with the field.

use http::Response;
use proto::error::{ErrorCode, Fault, FieldViolation};
use tonic::{Code, Status, body::Body};

const DETAILS: &str = "grpc-status-details-bin";
/// The encodings that tonic lists if it does not support one.
const ACCEPTED: &str = "grpc-accept-encoding";

/// Replaces an error status that the library made. The statuses of services have details, and are kept.
pub(super) fn replace_status(service: &str, response: Response<Body>) -> Response<Body> {
    let status = Status::from_header_map(response.headers()).filter(|s| s.code() != Code::Ok);
    match status {
        Some(status) if !response.headers().contains_key(DETAILS) => {
            let mut replacement = Status::from(fault(service, &status)).into_http();
            if let Some(accepted) = response.headers().get(ACCEPTED) {
                replacement.headers_mut().insert(ACCEPTED, accepted.clone());
            }
            replacement
        }
        _ => response,
    }
}

/// The fault of an error while the messages of a request stream are read: a limit of the stream, or a message that cannot be decoded.
#[must_use]
pub fn stream_fault(service: &str, status: &Status) -> Fault {
    if status.details().is_empty() { fault(service, status) } else { Fault::from_status(status) }
}

fn fault(service: &str, status: &Status) -> Fault {
    match status.code() {
        // The codes of tonic for a message that is too large, compressed or not. The text has the limit.
        Code::OutOfRange | Code::ResourceExhausted => {
            Fault::new(service, ErrorCode::RateLimited, "MESSAGE_TOO_LARGE", status.message().to_owned())
        }
        Code::Internal => {
            let text = status.message().to_owned();
            let violations: Vec<_> = field(&text).map(|field| FieldViolation { field, description: text.clone() }).into_iter().collect();
            Fault { violations, ..Fault::new(service, ErrorCode::InvalidArgument, "INVALID_FIELD", text) }
        }
        _ => {
            let received = Fault::from_status(status);
            Fault::new(service, received.code, &received.reason, received.message)
        }
    }
}

/// The field in an error of prost: `failed to decode Protobuf message: SaveProjectRequest.changes: FileChange.path: invalid string …`.
fn field(text: &str) -> Option<String> {
    let (_, steps) = text.split_once("Protobuf message: ")?;
    let names: Vec<_> = steps.split(": ").map_while(|step| step.split_once('.').filter(|_| !step.contains(' '))).map(|(_, f)| f).collect();
    (!names.is_empty()).then(|| names.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoding_error_names_the_field() {
        for (text, expected) in [
            ("failed to decode Protobuf message: SignInRequest.email: invalid string value: data is not UTF-8 encoded", Some("email")),
            ("failed to decode Protobuf message: SaveProjectRequest.changes: FileChange.path: invalid wire type: x", Some("changes.path")),
            ("failed to decode Protobuf message: invalid tag value: 0", None),
            ("Missing request message.", None),
        ] {
            let fault = fault("auth", &Status::internal(text));
            assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::InvalidArgument, "INVALID_FIELD"));
            assert_eq!(fault.violations.first().map(|v| v.field.as_str()), expected, "{text}");
        }
    }

    #[test]
    fn a_status_with_details_is_kept() {
        let with_details = Status::from(Fault::new("auth", ErrorCode::Internal, "INTERNAL", "internal error"));
        let kept = replace_status("auth", with_details.into_http());
        assert_eq!(Status::from_header_map(kept.headers()).map(|s| s.code()), Some(Code::Internal));
        let mut unsupported = Status::unimplemented("compressed with `zstd`").into_http();
        unsupported.headers_mut().insert(ACCEPTED, "gzip,identity".parse().expect("a value"));
        let other = replace_status("auth", unsupported);
        assert_eq!(Fault::from_status(&Status::from_header_map(other.headers()).expect("status")).reason, "UNIMPLEMENTED");
        assert_eq!(other.headers()[ACCEPTED], "gzip,identity");
        let long = replace_status("auth", Status::out_of_range("too large: the limit is: 4194304 bytes").into_http());
        let fault = Fault::from_status(&Status::from_header_map(long.headers()).expect("status"));
        assert_eq!((fault.code.grpc(), fault.reason.as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    }
}
