//! Requests that are no message of their RPC. tonic answers them itself, before any handler, with INTERNAL and no reason; to the
//! caller it is a field that is not acceptable.

use http::Response;
use proto::error::{ErrorCode, Fault, FieldViolation};
use tonic::{Code, Status, body::Body};

const DETAILS: &str = "grpc-status-details-bin";
/// What the library says of itself where it does not read an encoding.
const ACCEPTED: &str = "grpc-accept-encoding";

/// The answer, or a better one if the library made it: what our services refuse has details.
pub(super) fn answer(service: &str, response: Response<Body>) -> Response<Body> {
    let status = Status::from_header_map(response.headers()).filter(|s| s.code() != Code::Ok);
    match status {
        Some(status) if !response.headers().contains_key(DETAILS) => {
            let mut better = Status::from(fault(service, &status)).into_http();
            if let Some(accepted) = response.headers().get(ACCEPTED) {
                better.headers_mut().insert(ACCEPTED, accepted.clone());
            }
            better
        }
        _ => response,
    }
}

fn fault(service: &str, status: &Status) -> Fault {
    match status.code() {
        // The library's words for a message that is too long, packed or not; the text has the limit.
        Code::OutOfRange | Code::ResourceExhausted => {
            Fault::new(service, ErrorCode::RateLimited, "MESSAGE_TOO_LARGE", status.message().to_owned())
        }
        Code::Internal => {
            let text = status.message().to_owned();
            let violations: Vec<_> = field(&text).map(|field| FieldViolation { field, description: text.clone() }).into_iter().collect();
            Fault { violations, ..Fault::new(service, ErrorCode::InvalidArgument, "INVALID_FIELD", text) }
        }
        _ => {
            let made = Fault::from_status(status);
            Fault::new(service, made.code, &made.reason, made.message)
        }
    }
}

/// The path in prost's words: `failed to decode Protobuf message: SaveProjectRequest.changes: FileChange.path: invalid string …`.
fn field(text: &str) -> Option<String> {
    let (_, steps) = text.split_once("Protobuf message: ")?;
    let names: Vec<_> = steps.split(": ").map_while(|step| step.split_once('.').filter(|_| !step.contains(' '))).map(|(_, f)| f).collect();
    (!names.is_empty()).then(|| names.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_named() {
        for (text, named) in [
            ("failed to decode Protobuf message: SignInRequest.email: invalid string value: data is not UTF-8 encoded", Some("email")),
            ("failed to decode Protobuf message: SaveProjectRequest.changes: FileChange.path: invalid wire type: x", Some("changes.path")),
            ("failed to decode Protobuf message: invalid tag value: 0", None),
            ("Missing request message.", None),
        ] {
            let fault = fault("auth", &Status::internal(text));
            assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::InvalidArgument, "INVALID_FIELD"));
            assert_eq!(fault.violations.first().map(|v| v.field.as_str()), named, "{text}");
        }
    }

    #[test]
    fn what_has_details_stays() {
        let ours = Status::from(Fault::new("auth", ErrorCode::Internal, "INTERNAL", "internal error"));
        let kept = answer("auth", ours.into_http());
        assert_eq!(Status::from_header_map(kept.headers()).map(|s| s.code()), Some(Code::Internal));
        let mut unread = Status::unimplemented("compressed with `zstd`").into_http();
        unread.headers_mut().insert(ACCEPTED, "gzip,identity".parse().expect("a value"));
        let other = answer("auth", unread);
        assert_eq!(Fault::from_status(&Status::from_header_map(other.headers()).expect("status")).reason, "UNIMPLEMENTED");
        assert_eq!(other.headers()[ACCEPTED], "gzip,identity");
        let long = answer("auth", Status::out_of_range("too large: the limit is: 4194304 bytes").into_http());
        let fault = Fault::from_status(&Status::from_header_map(long.headers()).expect("status"));
        assert_eq!((fault.code.grpc(), fault.reason.as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    }
}
