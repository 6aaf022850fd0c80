//! The refusals of an operation by status and reason, and the headers of responses.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::reasons::{Shape, code_of, reasons_of};
use crate::error::status::status_of;

/// The reasons of the services are in their contracts. These have the domain `gateway.backlot.dev` and are never renamed.
const REASONS: &str = "A stable upper-case name on which programs act. Each response of an operation lists its reasons in `x-reasons`; later \
    releases may add reasons. The gateway's own reasons: INVALID_FIELD, INVALID_JSON, BODY_BROKEN, BODY_TIMEOUT, \
    TOO_LARGE, URI_TOO_LONG, HEADER_TOO_LARGE, HOST_INVALID, HOST_UNKNOWN, CONTINUATION_UNSUPPORTED, TOOLS_UNSUPPORTED, RESUME_UNSUPPORTED, UNSUPPORTED_MEDIA_TYPE, METHOD_NOT_ALLOWED, LENGTH_REQUIRED, ROUTE_NOT_FOUND, PREVIEW_NOT_FOUND, SITE_NOT_FOUND, TURN_NOT_FOUND, RANGE_NOT_SATISFIABLE, ETAG_MISMATCH, CROSS_ORIGIN, TOKEN_MISSING, \
    TOKEN_INVALID, SESSION_ENDED, SESSION_AMBIGUOUS, API_KEY_INVALID, RATE_LIMITED, SHARE_EXHAUSTED, OVERLOADED, DRAINING, TIMEOUT, UNAVAILABLE, INTERNAL, \
    BUILD_FAILED, SITES_DISABLED. Those of the compiler: COMPILER_MISSING, COMPILER_FAILED, COMPILER_TIMEOUT, TREE_TOO_LARGE.";

const METADATA: &str = "Facts of the reason, such as a limit. Those of RATE_LIMITED are `policy`, `limit` and `window` as in the header \
    RateLimit-Policy (`q`, `w`), `remaining` and `reset` as in the header RateLimit (`r`, `t`); `window` and `reset` are whole seconds.";

/// Name, whether it is always present where it is documented, pattern, description.
const HEADERS: [(&str, bool, &str, &str); 16] = [
    (
        "X-Request-Id",
        true,
        "^[A-Za-z0-9._-]{1,128}$",
        "The id that the request sent, if it is valid, else a new one. The log has the same id.",
    ),
    ("Traceresponse", false, "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$", "The trace of this request, as W3C Trace Context writes it."),
    (
        "RateLimit-Policy",
        false,
        "^\"",
        "The policy that counted the request (draft-ietf-httpapi-ratelimit-headers): `q` requests in `w` seconds.",
    ),
    (
        "RateLimit",
        false,
        "^\"",
        "What the policy still allows: `r` requests, and `t` seconds until it allows more. A problem has the same values in `metadata`.",
    ),
    ("Retry-After", true, "^[1-9][0-9]*$", "Seconds to wait before another attempt."),
    ("WWW-Authenticate", true, "^Bearer", "The authentication scheme."),
    ("Accept-Encoding", false, "^identity$", "The only content coding that a body may have; present if the coding was refused."),
    ("Allow", true, "^[A-Z]", "The methods of the path."),
    ("ETag", true, "^(W/)?\"", "The version of the resource; send it as If-Match or If-None-Match."),
    ("Content-Disposition", true, "^attachment; ", "The name of the file, in two forms (RFC 6266)."),
    ("Content-Range", true, "^bytes ", "Which bytes of the file the part has."),
    ("Location", true, "^/api/", "The path of the new resource, or of the turn."),
    ("Idempotency-Replayed", false, "^true$", "Present if the same request was answered before and this is that answer."),
    ("X-Backlot-Turn-Id", true, "^[0-9a-f-]{36}$", "The turn whose events follow."),
    ("X-Vercel-Ai-Ui-Message-Stream", true, "^v1$", "The protocol of the stream."),
    ("Set-Cookie", false, "^(__Host-)?backlot_session", "The session's cookie."),
];

/// The schema of errors of OAuth.
pub(super) const OAUTH_ERROR: &str = "#/components/schemas/OauthError";

/// Sets of reasons that many operations have. Each is described once.
const SHARED: [&[&str]; 10] = [
    &["TOKEN_MISSING", "TOKEN_INVALID", "SESSION_ENDED", "SESSION_AMBIGUOUS", "API_KEY_INVALID"],
    &["CROSS_ORIGIN"],
    &["BODY_TIMEOUT"],
    &["ETAG_MISMATCH"],
    &["TOO_LARGE"],
    &["URI_TOO_LONG"],
    &["UNSUPPORTED_MEDIA_TYPE"],
    &["HOST_UNKNOWN"],
    &["HEADER_TOO_LARGE"],
    &["RATE_LIMITED", "SHARE_EXHAUSTED"],
];
const SHARED_FAILURES: [&[&str]; 3] = [&["INTERNAL"], &["DRAINING", "OVERLOADED", "UNAVAILABLE"], &["TIMEOUT"]];

/// The refusals of an operation.
pub(super) fn refusals(shape: Shape<'_>) -> Map<String, Value> {
    by_status(shape).into_iter().map(|(status, reasons)| (status.to_string(), refusal_or_reference(status, &reasons))).collect()
}

/// The refusals of an operation of OAuth, whose clients do not see the reasons.
pub(super) fn oauth_refusals(shape: Shape<'_>) -> Map<String, Value> {
    let one = |(status, reasons): (u16, Vec<&str>)| {
        let mut refusal = refusal(status, &reasons);
        refusal["content"] = json!({"application/json": {"schema": {"$ref": OAUTH_ERROR}}});
        (status.to_string(), refusal)
    };
    by_status(shape).into_iter().map(one).collect()
}

/// The reasons of an operation by their statuses.
fn by_status(shape: Shape<'_>) -> BTreeMap<u16, Vec<&'static str>> {
    let mut by_status: BTreeMap<u16, Vec<&'static str>> = BTreeMap::new();
    for reason in reasons_of(shape) {
        by_status.entry(status(reason).as_u16()).or_default().push(reason);
    }
    by_status
}

fn status(reason: &str) -> StatusCode {
    status_of(code_of(reason), reason).0
}

fn refusal_or_reference(status: u16, reasons: &[&str]) -> Value {
    let is_shared = shared().any(|mut list| {
        list.sort_unstable();
        list == reasons
    });
    if is_shared { json!({"$ref": format!("#/components/responses/Refused{status}")}) } else { refusal(status, reasons) }
}

fn shared() -> impl Iterator<Item = Vec<&'static str>> {
    SHARED.iter().chain(&SHARED_FAILURES).map(|list| list.to_vec())
}

/// The response of a refusal.
fn refusal(status: u16, reasons: &[&str]) -> Value {
    let kinds: Vec<String> = reasons.iter().map(|reason| format!("{reason} ({})", status_of(code_of(reason), reason).1)).collect();
    let headers: &[&str] = match status {
        401 => &["WWW-Authenticate"],
        405 => &["Allow"],
        415 => &["Accept-Encoding"],
        429 => &["Retry-After"],
        503 => &["Retry-After"],
        _ => &[],
    };
    json!({
        "description": format!("{}.", kinds.join(", ")),
        "headers": with_headers(headers),
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        "x-reasons": reasons,
    })
}

/// References to the headers of a response, with those of every response.
pub(super) fn with_headers(names: &[&str]) -> Value {
    let every = ["X-Request-Id", "Traceresponse", "RateLimit-Policy", "RateLimit"];
    let pairs = every.iter().chain(names).map(|name| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")})));
    Value::Object(pairs.collect())
}

/// The response of an export of a person's data.
pub(super) fn zip() -> Value {
    let text = "The zip file. A body that does not end as HTTP requires is not complete.";
    let content = json!({"application/zip": {"schema": {"type": "string", "format": "binary"}}});
    json!({"description": text, "headers": with_headers(&["Content-Disposition"]), "content": content})
}

/// The response 304.
pub(super) fn not_modified() -> Value {
    json!({"description": "If-None-Match names this version.", "headers": with_headers(&["ETag"])})
}

/// The headers that the responses refer to.
pub(super) fn headers() -> Value {
    let header = |(name, required, pattern, text): &(&str, bool, &str, &str)| {
        ((*name).to_owned(), json!({"description": text, "required": required, "schema": {"type": "string", "pattern": pattern}}))
    };
    Value::Object(HEADERS.iter().map(header).collect())
}

/// The refusals that the responses refer to.
pub(super) fn all() -> Value {
    let one = |mut reasons: Vec<&str>| {
        reasons.sort_unstable();
        let status = reasons.first().map_or(500, |reason| status(reason).as_u16());
        (format!("Refused{status}"), refusal(status, &reasons))
    };
    Value::Object(shared().map(one).collect())
}

/// The error of a refusal of OAuth.
pub(super) fn oauth_error() -> Value {
    let names = [
        "access_denied",
        "authorization_pending",
        "expired_token",
        "invalid_grant",
        "invalid_request",
        "server_error",
        "slow_down",
        "temporarily_unavailable",
        "unsupported_grant_type",
    ];
    json!({"type": "object", "description": "An error of OAuth (RFC 6749, section 5.2).", "required": ["error", "error_description"], "properties": {
        "error": {"type": "string", "enum": names},
        "error_description": {"type": "string", "description": "An explanation for people. It names the parameter and its limit."}}})
}

pub(super) fn problem() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({
        "type": "object",
        "description": "RFC 9457.",
        "required": ["type", "title", "status", "detail", "instance", "code", "reason", "domain", "requestId", "traceId"],
        "properties": {
            "type": {"type": "string", "format": "uri", "description": "Identifies the kind of problem. It is not the address of a page."},
            "title": text("The reason as a short text."),
            "status": {"type": "integer", "minimum": 400, "maximum": 599, "description": "The HTTP status."},
            "detail": text("An explanation for people."),
            "instance": text("The path of the request."),
            "code": text("The gRPC status code."),
            "reason": text(REASONS),
            "domain": text("The service that defines the reason."),
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}, "description": METADATA},
            "requestId": text("The header X-Request-Id."),
            "traceId": text("The trace of the request."),
            "errors": {"type": "array", "description": "The invalid fields.", "items": {"$ref": "#/components/schemas/ProblemField"}},
            "violated-policies": {"type": "array", "items": {"type": "string"}, "description": "The exceeded policies."},
        },
    })
}

pub(super) fn problem_field() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({"type": "object", "description": "An invalid field.", "required": ["pointer", "field", "detail"], "properties": {
        "pointer": text("JSON pointer into the request."), "field": text("The JSON name of the field."), "detail": text("What is wrong with it.")}})
}
