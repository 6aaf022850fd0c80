//! Request messages from bodies.

use std::sync::LazyLock;

use axum::{
    extract::{FromRef, FromRequest, Request},
    http::{HeaderMap, HeaderValue, header},
};
use chassis::share::Share;
use proto::error::ErrorCode;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::{
    diagnostics::{self, Source},
    limits::{BodyLimits, CHAT, ORDINARY},
    receive::BodyReader,
    value_count,
};
use crate::{
    edge::slots::Slot,
    error::{Failure, fault},
};

/// Bodies of this size and larger are parsed on a thread of their own.
const PARSE_ON_THREAD: usize = 256 * 1024;
/// Permits to parse large bodies. Half of the processors stay free for other requests.
static PARSING: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2))));

/// Extracts a request message from a JSON body of at most `LIMIT` bytes. An absent body is the empty message. The share counts
/// the bytes of the body among those that are arriving, until the request is answered.
pub(crate) struct Json<T, const LIMIT: usize = ORDINARY>(pub(crate) T, pub(crate) Share);

impl<S, T, const LIMIT: usize> FromRequest<S> for Json<T, LIMIT>
where
    S: Send + Sync,
    T: DeserializeOwned + Send + 'static,
    BodyLimits: FromRef<S>,
{
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE);
        // A form of another site cannot send this type without a preflight request, so this also protects against forged requests.
        if kind.is_some_and(|kind| !is_json(kind)) {
            return Err(fault(ErrorCode::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", "the body must have the type application/json").into());
        }
        require_no_coding(&parts.headers)?;
        let (bytes, share) = BodyReader::new(&BodyLimits::from_ref(state), &parts, LIMIT)?.read(body).await?;
        if let Some(slot) = parts.extensions.get::<Slot>() {
            slot.start_work()?;
        }
        if bytes.is_empty() {
            return parse(b"{}").map(|message| Self(message, share));
        }
        if kind.is_none() {
            return Err(fault(ErrorCode::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", "the body must have the type application/json").into());
        }
        if bytes.len() < PARSE_ON_THREAD {
            return parse(&bytes).map(|message| Self(message, share));
        }
        let max = if LIMIT == CHAT { value_count::MAX_VALUES_OF_CHAT } else { value_count::MAX_VALUES };
        let check = move || if value_count::exceeds(&bytes, max) { Err(too_many_values(max)) } else { parse(&bytes) };
        // The semaphore is never closed.
        let _permit = PARSING.acquire().await;
        let parsed = chassis::task::blocking(check).await;
        let stopped = |_| Err(fault(ErrorCode::Internal, "INTERNAL", "the parser stopped").into());
        parsed.unwrap_or_else(stopped).map(|message| Self(message, share))
    }
}

fn is_json(kind: &HeaderValue) -> bool {
    let text = kind.to_str().unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// Refuses a body with a content coding, because none is decoded here.
pub(crate) fn require_no_coding(headers: &HeaderMap) -> Result<(), Failure> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    if codings.map(<[u8]>::trim_ascii).all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let text = "the body must be sent without a Content-Encoding";
    Err(fault(ErrorCode::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", text).with("accept_encoding", "identity").into())
}

fn too_many_values(max: usize) -> Failure {
    let text = format!("the body must contain at most {max} values");
    fault(ErrorCode::InvalidArgument, "TOO_LARGE", text).with("limit", max.to_string()).into()
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    if let Some(failure) = diagnostics::not_an_object(bytes) {
        return Err(failure);
    }
    let mut source = serde_json::Deserializer::from_slice(bytes);
    let message = serde_path_to_error::deserialize(&mut source).map_err(|e| {
        let inner = e.inner();
        if inner.is_data() {
            diagnostics::field_fault(e.path(), &inner.to_string(), Source::Json).into()
        } else {
            diagnostics::syntax_failure(inner)
        }
    })?;
    source.end().map_err(|e| diagnostics::syntax_failure(&e))?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use proto::{
        error::Fault,
        project_storage::{ListMessagesRequest, SaveProjectRequest},
    };

    use super::*;

    fn refused(body: &str) -> Fault {
        *parse::<SaveProjectRequest>(body.as_bytes()).expect_err(body).0
    }

    #[test]
    fn the_invalid_field_is_named() {
        let rows = [
            (r#"{"projektId":"x"}"#, "projektId", "is not a field of this request"),
            (r#"{"changes":[{"path":"a"},{"path":"b","wrte":{}}]}"#, "changes[1].wrte", "is not a field of this request"),
            (r#"{"message":"a","message":"b"}"#, "message", "must be given once"),
            (r#"{"changes":[{"path":5}]}"#, "changes[0].path", "must be a string; got 5"),
            (r#"{"changes":[{"path":{}}]}"#, "changes[0].path", "must be a string; got an object"),
            (r#"{"changes":[[]]}"#, "changes[0]", "must be a JSON object; got an array"),
            (r#"{"changes":{}}"#, "changes", "must be an array; got an object"),
            (r#"{"replace":"yes"}"#, "replace", "must be true or false; got \"yes\""),
            (r#"{"replace":"1"}"#, "replace", "must be true or false; got \"1\""),
            (r#"{"onConflict":"MERGE"}"#, "onConflict", "must be one of ON_CONFLICT_FAIL, ON_CONFLICT_MERGE; got \"MERGE\""),
            (r#"{"onConflict":[]}"#, "onConflict", "must be one of ON_CONFLICT_FAIL, ON_CONFLICT_MERGE; got an array"),
            (r#"{"changes":[{"write":{"binary":"!"}}]}"#, "changes[0].write.binary", "must be base64"),
            (
                r#"{"changes":[{"path":"a","write":{},"delete":{}}]}"#,
                "changes[0]",
                "must have exactly one of write, create, update, delete, rename, copy; has write and delete",
            ),
            (
                r#"{"changes":[{"write":{"text":"a","binary":"AA=="}}]}"#,
                "changes[0].write",
                "must have exactly one of text, binary; has text and binary",
            ),
            (r#"{"changes":[{"write":{},"write":{}}]}"#, "changes[0].write", "must be given once"),
        ];
        for (body, field, description) in rows {
            let fault = refused(body);
            assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", field), "{body}");
            assert_eq!(fault.violations[0].description, description, "{body}");
        }
    }

    #[test]
    fn null_is_an_absent_field() {
        let nulls = r#"{"projectId":null,"changes":null,"replace":null,"requestId":null,"onConflict":null}"#;
        assert_eq!(parse::<SaveProjectRequest>(nulls.as_bytes()).unwrap(), SaveProjectRequest::default());
        let nested = r#"{"changes":[{"path":"a","etag":null,"write":null,"delete":{}},{"path":"b","write":{"text":null,"binary":null}}]}"#;
        let plain = r#"{"changes":[{"path":"a","delete":{}},{"path":"b","write":{}}]}"#;
        assert_eq!(parse::<SaveProjectRequest>(nested.as_bytes()).unwrap(), parse::<SaveProjectRequest>(plain.as_bytes()).unwrap());
        let page = parse::<ListMessagesRequest>(br#"{"pageSize":null,"order":null,"pageToken":null}"#).unwrap();
        assert_eq!(page, ListMessagesRequest::default());
        let rows =
            [(r#"{"changes":[null]}"#, "changes[0]"), (r#"{"nothing":null}"#, "nothing"), (r#"{"message":null,"message":"a"}"#, "message")];
        for (body, field) in rows {
            assert_eq!(refused(body).violations[0].field, field, "{body}");
        }
    }

    #[test]
    fn a_body_that_is_not_an_object_is_refused() {
        for (body, got) in
            [("null", "null"), ("[]", "an array"), (" [1]\n", "an array"), ("-7", "a number"), ("\"x\"", "a string"), ("true", "a boolean")]
        {
            let fault = refused(body);
            assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", ""), "{body}");
            assert_eq!(fault.message, format!("the body must be a JSON object; got {got}"), "{body}");
        }
    }

    #[test]
    fn a_body_that_is_not_json_is_refused_with_its_position() {
        let rows = [
            ("", "it ends where a value is expected (line 1, column 0)"),
            ("{", "it ends inside an object (line 1, column 1)"),
            ("nonsense", "a value is expected"),
            ("{}{}", "something follows the value (line 1, column 3)"),
            ("{\"message\":\"\u{1}\"}", "a string contains a control character"),
            ("{\n  \"message\": \"a\",\n}", "a comma has nothing after it (line 3, column 1)"),
            ("{message:1}", "the name of a field must be a string in double quotes (line 1, column 2)"),
            ("{\"message\" 1}", "a colon is expected after the name of a field (line 1, column 12)"),
            ("{\"message\":\"a\" \"b\"}", "a comma or } is expected (line 1, column 16)"),
            ("{\"message\":\"a", "it ends inside a string"),
            ("{\"message\":\"\\x\"}", "a string has an escape that is not valid in JSON"),
        ];
        for (body, words) in rows {
            let fault = refused(body);
            assert_eq!(fault.reason, "INVALID_JSON", "{body}");
            let text = format!("the body cannot be read as JSON: {words}");
            assert!(fault.message.starts_with(&text), "{body}: {}", fault.message);
        }
        let deep = format!("[{}", "[".repeat(200));
        let fault = *parse::<serde_json::Value>(deep.as_bytes()).expect_err("deep").0;
        assert_eq!(fault.message, "the body cannot be read as JSON: it is nested too deeply (line 1, column 128)");
        let invalid = parse::<SaveProjectRequest>(b"{\"message\":\"\xff\"}").expect_err("not UTF-8");
        assert_eq!((invalid.0.reason.as_str(), invalid.0.message.contains("not UTF-8")), ("INVALID_JSON", true), "{}", invalid.0.message);
        assert_eq!(refused(&"[".repeat(200_000)).code, ErrorCode::InvalidArgument);
    }
}
