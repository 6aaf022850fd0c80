//! From a fault to an answer: the one table of HTTP statuses, and the problem document (RFC 9457). A handler fails with a
//! [`Failure`]; [`crate::request`] writes the document, because only it knows the path, the request id and the trace.

mod names;
mod titles;

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use proto::error::{ErrorCode, Fault, FieldViolation, NOBODY};
use serde::Serialize;
use tonic::{Code, Status};

use crate::limit::Quota;

/// The gateway's own faults carry the domain `gateway.backlot.dev`.
pub(crate) const SERVICE: &str = "gateway";
pub(crate) const DOMAIN: &str = "gateway.backlot.dev";
/// The reason of a panic, which the panic hook has reported already; the client sees INTERNAL.
pub(crate) const PANIC: &str = "PANIC";

/// Reasons whose status is not their code's, with their titles.
const BY_REASON: &[(&str, StatusCode, &str)] = &[
    ("ACCOUNT_TOO_LARGE", StatusCode::FORBIDDEN, "The account has no room"),
    ("BODY_TIMEOUT", StatusCode::REQUEST_TIMEOUT, "The request's body came too slowly"),
    ("CONTINUATION_UNSUPPORTED", StatusCode::UNPROCESSABLE_ENTITY, "An answer cannot be continued"),
    ("CURSOR_EXPIRED", StatusCode::GONE, "The events are no longer kept"),
    ("ETAG_MISMATCH", StatusCode::PRECONDITION_FAILED, "The project does not match If-Match"),
    ("HEADER_TOO_LARGE", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "A header of the request is too long"),
    ("HOST_UNKNOWN", StatusCode::MISDIRECTED_REQUEST, "This gateway has another name"),
    ("IF_MATCH_REQUIRED", StatusCode::PRECONDITION_REQUIRED, "The request needs If-Match"),
    ("KEY_REUSED", StatusCode::UNPROCESSABLE_ENTITY, "The key was used for another request"),
    ("MESSAGE_TOO_LARGE", StatusCode::PAYLOAD_TOO_LARGE, "The request is too large for the service behind this"),
    ("METHOD_NOT_ALLOWED", StatusCode::METHOD_NOT_ALLOWED, "This path does not take that method"),
    ("RANGE_NOT_SATISFIABLE", StatusCode::RANGE_NOT_SATISFIABLE, "The file has no such part"),
    ("RESUME_UNSUPPORTED", StatusCode::UNPROCESSABLE_ENTITY, "There is nothing to resume"),
    ("TOOLS_UNSUPPORTED", StatusCode::UNPROCESSABLE_ENTITY, "Tools of the client are not called"),
    ("TOO_LARGE", StatusCode::PAYLOAD_TOO_LARGE, "The request's body is too large"),
    ("TOO_MANY_PROJECTS", StatusCode::FORBIDDEN, "The account has as many projects as it may have"),
    ("URI_TOO_LONG", StatusCode::URI_TOO_LONG, "The path and query are too long"),
    ("UNSUPPORTED_MEDIA_TYPE", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be plain application/json"),
];

fn by_code(code: ErrorCode) -> (StatusCode, &'static str) {
    match code {
        ErrorCode::InvalidArgument => (StatusCode::BAD_REQUEST, "The request is not acceptable"),
        ErrorCode::Unauthenticated => (StatusCode::UNAUTHORIZED, "The request is not signed in"),
        ErrorCode::Forbidden => (StatusCode::FORBIDDEN, "This is not allowed"),
        ErrorCode::NotFound => (StatusCode::NOT_FOUND, "There is no such thing"),
        ErrorCode::Conflict => (StatusCode::CONFLICT, "Its present state forbids it"),
        ErrorCode::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
        ErrorCode::Timeout => (StatusCode::GATEWAY_TIMEOUT, "The request took too long"),
        ErrorCode::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "The service is not available"),
        ErrorCode::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong on our side"),
        ErrorCode::Unimplemented => (StatusCode::NOT_IMPLEMENTED, "This release cannot do it"),
    }
}

/// The status and the title of a reason. A reason without a title of its own, which a service of a later release may have, gets its code's.
pub(crate) fn status_of(code: ErrorCode, reason: &str) -> (StatusCode, &'static str) {
    match BY_REASON.iter().find(|(name, ..)| *name == reason) {
        Some((_, status, title)) => (*status, title),
        None => {
            let (status, title) = by_code(code);
            (status, titles::TITLES.iter().find(|(name, _)| *name == reason).map_or(title, |(_, title)| title))
        }
    }
}

/// What a handler fails with.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(pub(crate) Box<Fault>);

/// A fault of the gateway itself.
pub(crate) fn fault(code: ErrorCode, reason: &str, message: impl Into<String>) -> Fault {
    Fault::new(SERVICE, code, reason, message)
}

/// One field of the request is not acceptable.
pub(crate) fn invalid(field: &str, description: impl Into<String>) -> Failure {
    Fault::invalid(SERVICE, vec![FieldViolation { field: field.to_owned(), description: description.into() }]).into()
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self(Box::new(fault))
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        fault_of(&status).into()
    }
}

/// What a service answered. A status without our details was made by the transport: its text names addresses and libraries,
/// so it goes to the log and not to the client.
pub(crate) fn fault_of(status: &Status) -> Fault {
    let received = Fault::from_status(status);
    if received.domain != NOBODY {
        return received;
    }
    tracing::warn!(code = ?status.code(), text = status.message(), "a service did not answer properly");
    match status.code() {
        Code::DeadlineExceeded => fault(ErrorCode::Timeout, "TIMEOUT", "the service took too long"),
        _ => fault(ErrorCode::Unavailable, "UNAVAILABLE", "the service behind this cannot be reached now")
            .retry_after(Duration::from_secs(1)),
    }
}

impl IntoResponse for Failure {
    /// Status and fault only; the document follows in [`render`].
    fn into_response(self) -> Response {
        let mut response = status_of(self.0.code, &self.0.reason).0.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// What the document says about the request.
pub(crate) struct About<'a> {
    pub(crate) path: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) trace_id: &'a str,
}

/// Writes the problem document into an answer that carries a [`Failure`]; every other answer passes.
pub(crate) fn render(mut response: Response, about: &About<'_>) -> Response {
    let Some(Failure(fault)) = response.extensions_mut().remove::<Failure>() else { return response };
    let (status, title) = status_of(fault.code, &fault.reason);
    // A service has logged its own.
    if fault.code == ErrorCode::Internal && fault.reason != PANIC && fault.domain == DOMAIN {
        tracing::error!(cause = fault.message, "internal error");
    }
    let document = document(&fault, status, title, about);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.remove(header::CONTENT_LENGTH);
    facts(headers, &fault, status);
    *response.body_mut() = Body::from(serde_json::to_vec(&document).unwrap_or_default());
    response
}

/// The headers that go with a refusal.
fn facts(headers: &mut HeaderMap, fault: &Fault, status: StatusCode) {
    let waits = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    if let Some(delay) = fault.retry_after.or(waits.then_some(Duration::from_secs(1))) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(delay)));
    }
    if status == StatusCode::TOO_MANY_REQUESTS
        && let Some(quota) = Quota::of_fault(fault)
    {
        quota.write(headers);
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(value) = fault.metadata.get("accept_encoding").and_then(|codings| HeaderValue::from_str(codings).ok())
        && status == StatusCode::UNSUPPORTED_MEDIA_TYPE
    {
        headers.insert(header::ACCEPT_ENCODING, value);
    }
    if status == StatusCode::REQUEST_TIMEOUT {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Rounded up, and never "at once".
pub(crate) fn whole_seconds(delay: Duration) -> u64 {
    delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0)).max(1)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: Cow<'a, str>,
    instance: &'a str,
    code: &'static str,
    reason: &'a str,
    domain: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<&'a str, Cow<'a, str>>,
    request_id: &'a str,
    trace_id: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Entry<'a>>,
    #[serde(rename = "violated-policies", skip_serializing_if = "Vec::is_empty")]
    violated_policies: Vec<&'a str>,
}

#[derive(Serialize)]
struct Entry<'a> {
    pointer: String,
    field: Cow<'a, str>,
    detail: Cow<'a, str>,
}

fn document<'a>(fault: &'a Fault, status: StatusCode, title: &'a str, about: &'a About<'_>) -> Document<'a> {
    // What an internal error says is for the log; its trace id is in the document already.
    let internal = fault.code == ErrorCode::Internal;
    let metadata = if internal { BTreeMap::new() } else { metadata(fault) };
    Document {
        r#type: type_uri(fault),
        title,
        status: status.as_u16(),
        detail: if internal { "the request could not be served; quote its requestId".into() } else { names::text(&fault.message) },
        instance: about.path,
        code: code_name(fault.code),
        reason: if internal { "INTERNAL" } else { &fault.reason },
        domain: &fault.domain,
        metadata,
        request_id: about.request_id,
        trace_id: about.trace_id,
        errors: fault
            .violations
            .iter()
            .map(|v| Entry { pointer: pointer(&v.field), field: names::field(&v.field), detail: names::text(&v.description) })
            .collect(),
        violated_policies: fault.quota.iter().map(|q| q.policy.as_str()).collect(),
    }
}

fn metadata(fault: &Fault) -> BTreeMap<&str, Cow<'_, str>> {
    let mut facts: BTreeMap<&str, Cow<'_, str>> = fault.metadata.iter().map(|(name, value)| (name.as_str(), value.into())).collect();
    // As the header has it.
    if fault.code == ErrorCode::RateLimited
        && let Some(quota) = Quota::of_fault(fault)
    {
        facts.insert("reset", quota.reset().to_string().into());
    }
    facts
}

fn type_uri(fault: &Fault) -> String {
    match fault.code {
        ErrorCode::RateLimited => "https://iana.org/assignments/http-problem-types#quota-exceeded".to_owned(),
        _ => format!("https://backlot.dev/problems/{}", fault.reason.to_ascii_lowercase().replace('_', "-")),
    }
}

/// The code as gRPC spells it.
fn code_name(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidArgument => "INVALID_ARGUMENT",
        ErrorCode::Unauthenticated => "UNAUTHENTICATED",
        ErrorCode::Forbidden => "PERMISSION_DENIED",
        ErrorCode::NotFound => "NOT_FOUND",
        ErrorCode::Conflict => "ABORTED",
        ErrorCode::RateLimited => "RESOURCE_EXHAUSTED",
        ErrorCode::Timeout => "DEADLINE_EXCEEDED",
        ErrorCode::Unavailable => "UNAVAILABLE",
        ErrorCode::Internal => "INTERNAL",
        ErrorCode::Unimplemented => "UNIMPLEMENTED",
    }
}

/// `changes[3].new_path` as the JSON pointer `#/changes/3/newPath`.
fn pointer(field: &str) -> String {
    let path = names::field(field).replace('~', "~0").replace('/', "~1").replace("].", "/").replace(['.', '['], "/").replace(']', "");
    if path.is_empty() { "#".to_owned() } else { format!("#/{path}") }
}

#[cfg(test)]
mod tests {
    use proto::error::QuotaViolation;

    use super::*;

    const ABOUT: About<'_> = About { path: "/api/x", request_id: "r", trace_id: "t" };

    #[test]
    fn the_table() {
        let rows = [
            (ErrorCode::InvalidArgument, "INVALID_FIELD", 400),
            (ErrorCode::InvalidArgument, "FILE_TOO_LARGE", 400),
            (ErrorCode::InvalidArgument, "TOO_LARGE", 413),
            (ErrorCode::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", 415),
            (ErrorCode::Unauthenticated, "SESSION_ENDED", 401),
            (ErrorCode::Forbidden, "ROLE_REQUIRED", 403),
            (ErrorCode::NotFound, "PROJECT_NOT_FOUND", 404),
            (ErrorCode::InvalidArgument, "METHOD_NOT_ALLOWED", 405),
            (ErrorCode::Timeout, "BODY_TIMEOUT", 408),
            (ErrorCode::Conflict, "EMAIL_TAKEN", 409),
            (ErrorCode::Conflict, "ETAG_MISMATCH", 412),
            (ErrorCode::Conflict, "KEY_REUSED", 422),
            (ErrorCode::InvalidArgument, "RANGE_NOT_SATISFIABLE", 416),
            (ErrorCode::InvalidArgument, "CONTINUATION_UNSUPPORTED", 422),
            (ErrorCode::InvalidArgument, "IF_MATCH_REQUIRED", 428),
            (ErrorCode::NotFound, "CURSOR_EXPIRED", 410),
            (ErrorCode::RateLimited, "TOO_MANY_PROJECTS", 403),
            (ErrorCode::RateLimited, "ACCOUNT_TOO_LARGE", 403),
            (ErrorCode::RateLimited, "RATE_LIMITED", 429),
            (ErrorCode::Internal, "INTERNAL", 500),
            (ErrorCode::Unavailable, "OVERLOADED", 503),
            (ErrorCode::Timeout, "TIMEOUT", 504),
        ];
        for (code, reason, status) in rows {
            assert_eq!(status_of(code, reason).0.as_u16(), status, "{reason}");
        }
    }

    #[test]
    fn fields_are_named_as_json_spells_them() {
        assert_eq!((pointer("changes[3].new_path"), pointer("email")), ("#/changes/3/newPath".into(), "#/email".into()));
        assert_eq!(pointer(""), "#");
        assert_eq!(pointer("a/b"), "#/a~1b");
    }

    async fn body(response: Response) -> serde_json::Value {
        serde_json::from_slice(&axum::body::to_bytes(response.into_body(), 10_000).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_refusal_names_its_policy_and_when_to_come_back() {
        let mut refusal = Fault::new("agent-streaming", ErrorCode::RateLimited, "RATE_LIMITED", "policy `agent` allows 3 per 60 s")
            .retry_after(Duration::from_millis(11_200));
        refusal.quota = vec![QuotaViolation { policy: "agent".into(), description: "3 per 60 s".into() }];
        for (key, value) in [("policy", "agent"), ("limit", "3"), ("remaining", "0"), ("reset", "48"), ("window", "60")] {
            refusal = refusal.with(key, value);
        }
        let response = render(Failure::from(refusal).into_response(), &ABOUT);
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["retry-after"], "12");
        assert_eq!(response.headers()["ratelimit-policy"], r#""agent";q=3;w=60"#);
        assert_eq!(response.headers()["ratelimit"], r#""agent";r=0;t=12"#);
        let document = body(response).await;
        assert_eq!(document["violated-policies"], serde_json::json!(["agent"]));
        assert_eq!((&document["metadata"]["policy"], &document["metadata"]["reset"]), (&"agent".into(), &"12".into()));
        assert_eq!(document["code"], "RESOURCE_EXHAUSTED");
    }

    #[tokio::test]
    async fn a_refusal_names_fields_as_json_does_and_values_as_they_are() {
        let violation = |field: &str, description: &str| FieldViolation { field: field.into(), description: description.into() };
        let fault = Fault::invalid(
            "project-storage",
            vec![
                violation("display_name", "must be 1 to 120 characters"),
                violation("draft_id", "must be empty when project_id is given"),
                violation("changes[0].rename.new_path", "`old_path/display_name.js` is taken"),
                violation("my_field", "is not a field of this request"),
            ],
        );
        let document = body(render(Failure::from(fault).into_response(), &ABOUT)).await;
        let detail = "displayName: must be 1 to 120 characters; draftId: must be empty when projectId is given; \
                      changes[0].rename.newPath: `old_path/display_name.js` is taken; my_field: is not a field of this request";
        assert_eq!(document["detail"], detail);
        let entry = |pointer: &str, field: &str, detail: &str| serde_json::json!({ "pointer": pointer, "field": field, "detail": detail });
        let entries = [
            entry("#/displayName", "displayName", "must be 1 to 120 characters"),
            entry("#/draftId", "draftId", "must be empty when projectId is given"),
            entry("#/changes/0/rename/newPath", "changes[0].rename.newPath", "`old_path/display_name.js` is taken"),
            entry("#/my_field", "my_field", "is not a field of this request"),
        ];
        assert_eq!(document["errors"], serde_json::json!(entries));
    }

    #[test]
    fn every_reason_has_a_title_of_its_own() {
        let reasons = crate::openapi::reasons().chain(["CALLER_DENIED", "RANGE_NOT_SATISFIABLE", "IF_MATCH_REQUIRED"]);
        let mut titles = BTreeMap::new();
        for reason in reasons.collect::<std::collections::BTreeSet<_>>() {
            let by_reason = BY_REASON.iter().filter(|(name, ..)| *name == reason).map(|(.., title)| *title);
            let own: Vec<_> = by_reason.chain(titles::TITLES.iter().filter(|(name, _)| *name == reason).map(|(_, title)| *title)).collect();
            assert_eq!(own.len(), 1, "{reason} has the titles {own:?}");
            if let Some(other) = titles.insert(own[0], reason) {
                panic!("{reason} and {other} have the same title");
            }
        }
        for (reason, title) in [("BAD_CREDENTIALS", "The e-mail address or the password is wrong"), ("TOKEN_MISSING", "Sign in first")] {
            assert_eq!(status_of(ErrorCode::Unauthenticated, reason), (StatusCode::UNAUTHORIZED, title));
        }
    }

    #[tokio::test]
    async fn an_internal_error_says_nothing_but_its_ids() {
        let fault = Fault::new("auth", ErrorCode::Internal, "DATABASE_PASSWORD", "the password is hunter2").with("password", "hunter2");
        let document = body(render(Failure::from(fault).into_response(), &ABOUT)).await;
        assert!(!document.to_string().to_lowercase().contains("hunter2") && !document.to_string().contains("DATABASE"));
        assert_eq!((&document["requestId"], &document["traceId"], &document["instance"]), (&"r".into(), &"t".into(), &"/api/x".into()));
    }

    #[test]
    fn what_the_transport_says_stays_inside() {
        let fault = fault_of(&Status::unknown("tcp connect error: 10.0.0.7:9090 refused"));
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unavailable, "UNAVAILABLE"));
        assert!(!fault.message.contains("10.0.0.7"));
        assert_eq!(fault_of(&Status::deadline_exceeded("too late")).code, ErrorCode::Timeout);
        assert_eq!(fault_of(&Status::cancelled("operation was canceled")).code, ErrorCode::Unavailable);
    }

    #[test]
    fn a_wait_is_rounded_up() {
        assert_eq!([0, 1, 1000, 1001].map(|ms| whole_seconds(Duration::from_millis(ms))), [1, 1, 1, 2]);
    }
}
