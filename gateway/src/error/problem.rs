//! Problem documents (RFC 9457). A handler fails with a [`Failure`]; [`crate::edge::request`] renders the document, because it knows the
//! path, the request id and the trace.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use proto::error::{ErrorCode, Fault};
use serde::Serialize;

use super::{DOMAIN, Failure, PANIC, field_names, oauth, status::status_of};
use crate::http::quota::{Quota, whole_seconds};

/// The request of a problem document.
pub(crate) struct ProblemContext<'a> {
    pub(crate) path: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) trace_id: &'a str,
    /// The route of OAuth, whose errors have another form.
    pub(crate) oauth: Option<oauth::Endpoint>,
}

/// Writes the problem document, or the error of OAuth, into a response that has a [`Failure`] as an extension; other responses stay as they are.
pub(crate) fn render(mut response: Response, context: &ProblemContext<'_>) -> Response {
    let Some(Failure(fault)) = response.extensions_mut().remove::<Failure>() else { return response };
    let (status, title) = status_of(fault.code, &fault.reason);
    // Errors of the services are in their logs.
    if fault.code == ErrorCode::Internal && fault.reason != PANIC && fault.domain == DOMAIN {
        tracing::error!(cause = fault.message, "internal error");
    }
    let (kind, body) = match context.oauth {
        Some(endpoint) => (oauth::KIND, serde_json::to_vec(&oauth::error_of(&fault, status, endpoint))),
        None => ("application/problem+json", serde_json::to_vec(&document(&fault, status, title, context))),
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.remove(header::CONTENT_LENGTH);
    set_headers(headers, &fault, status);
    *response.body_mut() = Body::from(body.unwrap_or_default());
    response
}

/// The document of a failure after the answer has begun.
pub(crate) fn json(Failure(fault): &Failure, context: &ProblemContext<'_>) -> Vec<u8> {
    let (status, title) = status_of(fault.code, &fault.reason);
    serde_json::to_vec(&document(fault, status, title, context)).unwrap_or_default()
}

/// How long a client waits before it repeats a refused request. `None` if to wait does not help.
pub(crate) fn retry_after(fault: &Fault, status: StatusCode) -> Option<Duration> {
    let helps = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    fault.retry_after.or(helps.then_some(Duration::from_secs(1)))
}

/// Sets `Retry-After`.
pub(crate) fn put_retry_after(headers: &mut HeaderMap, wait: Option<Duration>) {
    if let Some(wait) = wait {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
    }
}

/// Sets the headers of a problem.
fn set_headers(headers: &mut HeaderMap, fault: &Fault, status: StatusCode) {
    put_retry_after(headers, retry_after(fault, status));
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

fn document<'a>(fault: &'a Fault, status: StatusCode, title: &'a str, context: &'a ProblemContext<'_>) -> Document<'a> {
    // The message of an internal error is only for the log, which the ids lead to.
    let internal = fault.code == ErrorCode::Internal;
    let metadata = if internal { BTreeMap::new() } else { metadata(fault) };
    Document {
        r#type: type_uri(fault),
        title,
        status: status.as_u16(),
        detail: if internal { "the request could not be served; quote its requestId".into() } else { detail(fault, status) },
        instance: context.path,
        code: code_name(fault.code),
        reason: if internal { "INTERNAL" } else { &fault.reason },
        domain: &fault.domain,
        metadata,
        request_id: context.request_id,
        trace_id: context.trace_id,
        errors: fault
            .violations
            .iter()
            .map(|v| Entry { pointer: pointer(&v.field), field: field_names::field(&v.field), detail: field_names::text(&v.description) })
            .collect(),
        violated_policies: fault.quota.iter().map(|q| q.policy.as_str()).collect(),
    }
}

/// The text of the fault. That of a limit also has the wait, for people who do not see the headers.
fn detail(fault: &Fault, status: StatusCode) -> Cow<'_, str> {
    let text = field_names::text(&fault.message);
    match retry_after(fault, status) {
        Some(wait) if status == StatusCode::TOO_MANY_REQUESTS => format!("{text}; try again in {} s", whole_seconds(wait)).into(),
        _ => text,
    }
}

fn metadata(fault: &Fault) -> BTreeMap<&str, Cow<'_, str>> {
    let mut metadata: BTreeMap<&str, Cow<'_, str>> = fault.metadata.iter().map(|(name, value)| (name.as_str(), value.into())).collect();
    // The same number as in the header.
    if fault.code == ErrorCode::RateLimited
        && let Some(quota) = Quota::of_fault(fault)
    {
        metadata.insert("reset", quota.reset().to_string().into());
    }
    metadata
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
    let path = field_names::field(field).replace('~', "~0").replace('/', "~1").replace("].", "/").replace(['.', '['], "/").replace(']', "");
    if path.is_empty() { "#".to_owned() } else { format!("#/{path}") }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use proto::error::{FieldViolation, QuotaViolation};

    use super::*;

    const CONTEXT: ProblemContext<'_> = ProblemContext { path: "/api/x", request_id: "r", trace_id: "t", oauth: None };

    async fn body(response: Response) -> serde_json::Value {
        serde_json::from_slice(&axum::body::to_bytes(response.into_body(), 10_000).await.unwrap()).unwrap()
    }

    #[test]
    fn pointers_use_json_names() {
        assert_eq!((pointer("changes[3].new_path"), pointer("email")), ("#/changes/3/newPath".into(), "#/email".into()));
        assert_eq!(pointer(""), "#");
        assert_eq!(pointer("a/b"), "#/a~1b");
    }

    #[tokio::test]
    async fn a_rate_limit_names_its_policy_and_the_wait() {
        let mut refusal = Fault::new("agent-streaming", ErrorCode::RateLimited, "RATE_LIMITED", "policy `agent` allows 3 per 60 s")
            .retry_after(Duration::from_millis(11_200));
        refusal.quota = vec![QuotaViolation { policy: "agent".into(), description: "3 per 60 s".into() }];
        for (key, value) in [("policy", "agent"), ("limit", "3"), ("remaining", "0"), ("reset", "48"), ("window", "60")] {
            refusal = refusal.with(key, value);
        }
        let response = render(Failure::from(refusal).into_response(), &CONTEXT);
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["retry-after"], "12");
        assert_eq!(response.headers()["ratelimit-policy"], r#""agent";q=3;w=60"#);
        assert_eq!(response.headers()["ratelimit"], r#""agent";r=0;t=12"#);
        let document = body(response).await;
        assert_eq!(document["violated-policies"], serde_json::json!(["agent"]));
        assert_eq!(document["detail"], "policy `agent` allows 3 per 60 s; try again in 12 s");
        assert_eq!((&document["metadata"]["policy"], &document["metadata"]["reset"]), (&"agent".into(), &"12".into()));
        assert_eq!(document["code"], "RESOURCE_EXHAUSTED");
    }

    #[tokio::test]
    async fn a_refusal_has_json_names_of_fields_and_unchanged_values() {
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
        let document = body(render(Failure::from(fault).into_response(), &CONTEXT)).await;
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

    #[tokio::test]
    async fn a_route_of_oauth_has_an_error_of_oauth_with_the_headers_of_a_problem() {
        let context = ProblemContext { oauth: Some(oauth::Endpoint::Token), ..CONTEXT };
        let fault = Fault::new("gateway", ErrorCode::Unavailable, "UNAVAILABLE", "not now").retry_after(Duration::from_secs(7));
        let response = render(Failure::from(fault).into_response(), &context);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!((response.status().as_u16(), header("content-type"), header("retry-after")), (503, oauth::KIND.into(), "7".into()));
        let expected = serde_json::json!({ "error": "temporarily_unavailable", "error_description": "not now" });
        assert_eq!(body(response).await, expected);
    }

    #[tokio::test]
    async fn an_internal_error_shows_only_its_ids() {
        let fault = Fault::new("auth", ErrorCode::Internal, "DATABASE_PASSWORD", "the password is hunter2").with("password", "hunter2");
        let document = body(render(Failure::from(fault).into_response(), &CONTEXT)).await;
        assert!(!document.to_string().to_lowercase().contains("hunter2") && !document.to_string().contains("DATABASE"));
        assert_eq!((&document["requestId"], &document["traceId"], &document["instance"]), (&"r".into(), &"t".into(), &"/api/x".into()));
    }
}
