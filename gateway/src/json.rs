//! ProtoJSON in and out: a message from path and query, a message from a body, a message as an answer. What cannot be read
//! names the field and the limit. Unknown and repeated fields are refused.

mod arriving;
mod text;
mod weight;
pub(crate) mod wrong;

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};

use axum::{
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use chassis::share::Share;
use proto::error::ErrorCode;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Semaphore;

use self::{arriving::Arriving, wrong::Source};
use crate::{
    app::App,
    error::{Failure, fault, invalid},
    place::Place,
};

/// Bodies of ordinary requests.
pub(crate) const ORDINARY: usize = 1024 * 1024;
/// A turn's prompt is at most 32 KiB; each byte of it may be written as an escape of six.
pub(crate) const PROMPT: usize = 256 * 1024;
/// A chat whose client sends all of it along, though only its last message is read.
pub(crate) const CHAT: usize = 8 * 1024 * 1024;
/// A save of 50 MiB, the most that a project holds, with room for escapes, base64 and paths.
pub(crate) const SAVE: usize = 72 * 1024 * 1024;

/// Bodies from here on are parsed on a thread of their own.
const PARSE_ELSEWHERE: usize = 256 * 1024;
/// The turns to parse them: half of the processors stay with others.
static PARSING: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2))));

pub(crate) type Reply = Result<Response, Failure>;

/// A request message from the parameters of path and query.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let mut pairs = path_params(parts, state).await?;
        pairs.extend(query_pairs(parts.uri.query().unwrap_or_default())?);
        // The generated code sees a repetition only if both spellings are the same.
        let mut seen = HashSet::new();
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !seen.insert(name.replace('_', "").to_ascii_lowercase())) {
            return Err(invalid(name, "must be given once"));
        }
        let pairs = pairs.into_iter().map(|(name, value)| (name, text::Text(value)));
        let source = serde::de::value::MapDeserializer::<_, serde::de::value::Error>::new(pairs);
        serde_path_to_error::deserialize(source).map(Self).map_err(|e| wrong::field(e.path(), &e.inner().to_string(), Source::Text).into())
    }
}

/// The one parameter of a path, beside a body.
pub(crate) struct Target(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let first = path_params(parts, state).await?.into_iter().next();
        Ok(Self(first.map(|(_, value)| value).unwrap_or_default()))
    }
}

impl Target {
    /// Puts the path's value into the message; a body that says something else is refused.
    pub(crate) fn bind(self, field: &mut String, name: &str) -> Result<(), Failure> {
        if !field.is_empty() && *field != self.0 {
            return Err(invalid(name, "must be absent or the same as in the path"));
        }
        *field = self.0;
        Ok(())
    }
}

/// Several parameters of a path, beside a body.
pub(crate) struct Targets(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Targets {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        path_params(parts, state).await.map(Self)
    }
}

impl Targets {
    /// Puts the parameter of that name into the message, as [`Target::bind`] does.
    pub(crate) fn bind(&self, field: &mut String, name: &str) -> Result<(), Failure> {
        let value = self.0.iter().find(|(parameter, _)| parameter == name);
        Target(value.map(|(_, value)| value.clone()).unwrap_or_default()).bind(field, name)
    }
}

async fn path_params<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Vec<(String, String)>, Failure> {
    match RawPathParams::from_request_parts(parts, state).await {
        Ok(params) => Ok(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()),
        Err(axum::extract::rejection::RawPathParamsRejection::InvalidUtf8InPathParam(_)) => {
            Err(invalid("path", "must be UTF-8, percent-encoded"))
        }
        Err(_) => Ok(Vec::new()),
    }
}

fn query_pairs(query: &str) -> Result<Vec<(String, String)>, Failure> {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    // The parser replaces what is not UTF-8; a replacement character that nobody sent says so.
    let replaced = |text: &str| text.contains('\u{fffd}');
    if !query.to_ascii_lowercase().contains("%ef%bf%bd")
        && let Some((name, _)) = pairs.iter().find(|(name, value)| replaced(name) || replaced(value))
    {
        return Err(invalid(name, "must be UTF-8, percent-encoded"));
    }
    Ok(pairs)
}

/// A request message from a JSON body of at most `LIMIT` bytes. No body at all is the empty message.
pub(crate) struct Json<T, const LIMIT: usize = ORDINARY>(pub(crate) T, pub(crate) Share);

impl<T: DeserializeOwned + Send + 'static, const LIMIT: usize> FromRequest<Arc<App>> for Json<T, LIMIT> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE);
        // A form of another site can send no other type without asking first; so this also guards against forgery.
        if kind.is_some_and(|kind| !is_json(kind)) {
            return Err(fault(ErrorCode::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", "the body must have the type application/json").into());
        }
        plain(&parts.headers)?;
        let (bytes, share) = Arriving::new(app, &parts, LIMIT)?.read(body).await?;
        if let Some(place) = parts.extensions.get::<Place>() {
            place.whole()?;
        }
        if bytes.is_empty() {
            return parse(b"{}").map(|message| Self(message, share));
        }
        if kind.is_none() {
            return Err(fault(ErrorCode::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", "the body needs the type application/json").into());
        }
        if bytes.len() < PARSE_ELSEWHERE {
            return parse(&bytes).map(|message| Self(message, share));
        }
        let most = if LIMIT == CHAT { weight::MOST_PASSED_OVER } else { weight::MOST };
        let check = move || if weight::is_too_much(&bytes, most) { Err(too_much(most)) } else { parse(&bytes) };
        // It is never closed.
        let _turn = PARSING.acquire().await;
        let parsed = chassis::task::blocking(check).await;
        let stopped = |_| Err(fault(ErrorCode::Internal, "INTERNAL", "the parser stopped").into());
        parsed.unwrap_or_else(stopped).map(|message| Self(message, share))
    }
}

fn is_json(kind: &HeaderValue) -> bool {
    let text = kind.to_str().unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// No content coding is taken, so none is undone; taken for plain, a compressed body would be nonsense.
fn plain(headers: &HeaderMap) -> Result<(), Failure> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    if codings.map(<[u8]>::trim_ascii).all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let text = "the body must be sent without a Content-Encoding";
    Err(fault(ErrorCode::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", text).with("accept_encoding", "identity").into())
}

fn too_much(most: usize) -> Failure {
    let text = format!("the body must hold at most {most} values");
    fault(ErrorCode::InvalidArgument, "TOO_LARGE", text).with("limit", most.to_string()).into()
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    if let Some(failure) = wrong::no_object(bytes) {
        return Err(failure);
    }
    let mut source = serde_json::Deserializer::from_slice(bytes);
    let message = serde_path_to_error::deserialize(&mut source).map_err(|e| {
        let inner = e.inner();
        if inner.is_data() { wrong::field(e.path(), &inner.to_string(), Source::Json).into() } else { wrong::syntax(inner) }
    })?;
    source.end().map_err(|e| wrong::syntax(&e))?;
    Ok(message)
}

/// A message as the answer.
pub(crate) fn reply(message: &impl Serialize) -> Reply {
    answer(StatusCode::OK, message)
}

/// A message as the answer to a creation, with the place where it is from now on.
pub(crate) fn created(message: &impl Serialize, location: &str) -> Reply {
    let mut response = answer(StatusCode::CREATED, message)?;
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn answer(status: StatusCode, message: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(message).map_err(|e| fault(ErrorCode::Internal, "INTERNAL", e.to_string()))?;
    Ok((status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

/// The part of an answer that the contract makes the body.
pub(crate) fn present<T>(part: Option<T>) -> Result<T, Failure> {
    part.ok_or_else(|| fault(ErrorCode::Internal, "INTERNAL", "a service left out what it promises").into())
}

#[cfg(test)]
mod tests {
    use proto::{
        agent_streaming::{ListTurnsRequest, StreamTurnEventsRequest},
        error::Fault,
        project_storage::{ListMessagesRequest, ListMessagesResponse, LoadProjectResponse, Revision, SaveProjectRequest},
    };

    use super::*;

    fn refused(body: &str) -> Fault {
        *parse::<SaveProjectRequest>(body.as_bytes()).expect_err(body).0
    }

    #[test]
    fn what_is_wrong_is_named() {
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
                "must have exactly one of write, create, update, delete, rename; has write and delete",
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
    fn null_is_a_field_left_out() {
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
    fn an_empty_list_is_written() {
        let written = |message: &dyn Fn() -> serde_json::Result<serde_json::Value>| message().unwrap();
        let page = written(&|| serde_json::to_value(ListMessagesResponse::default()));
        assert_eq!(page, serde_json::json!({ "messages": [] }));
        let load = written(&|| serde_json::to_value(LoadProjectResponse { revision: Some(Revision::default()), ..Default::default() }));
        assert_eq!(load, serde_json::json!({ "revision": { "parentIds": [] }, "files": [] }));
    }

    #[test]
    fn what_is_no_object_is_called_so() {
        for (body, got) in
            [("null", "null"), ("[]", "an array"), (" [1]\n", "an array"), ("-7", "a number"), ("\"x\"", "a string"), ("true", "a boolean")]
        {
            let fault = refused(body);
            assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", ""), "{body}");
            assert_eq!(fault.message, format!("the body must be a JSON object; got {got}"), "{body}");
        }
    }

    #[test]
    fn what_is_not_json_is_called_so() {
        let rows = [
            ("", "it ends where a value is expected (line 1, column 0)"),
            ("{", "it ends inside an object (line 1, column 1)"),
            ("nonsense", "a value is expected"),
            ("{}{}", "something follows the value (line 1, column 3)"),
            ("{\"message\":\"\u{1}\"}", "a string holds a control character"),
            ("{\n  \"message\": \"a\",\n}", "a comma has nothing after it (line 3, column 1)"),
            ("{message:1}", "the name of a field must be a string in double quotes (line 1, column 2)"),
            ("{\"message\" 1}", "a colon is expected after the name of a field (line 1, column 12)"),
            ("{\"message\":\"a\" \"b\"}", "a comma or } is expected (line 1, column 16)"),
            ("{\"message\":\"a", "it ends inside a string"),
            ("{\"message\":\"\\x\"}", "a string has an escape that JSON does not have"),
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

    async fn params<T: DeserializeOwned>(uri: &str) -> Result<T, Fault> {
        let (mut parts, ()) = axum::http::Request::get(uri).body(()).unwrap().into_parts();
        Params::from_request_parts(&mut parts, &()).await.map(|p| p.0).map_err(|f| *f.0)
    }

    #[tokio::test]
    async fn a_message_comes_from_the_query() {
        let request = params::<ListMessagesRequest>("/x?projectId=p%201&pageSize=7&order=MESSAGE_ORDER_OLDEST_FIRST").await.unwrap();
        assert_eq!((request.project_id.as_str(), request.page_size, request.order), ("p 1", 7, 2));
        assert_eq!(params::<ListMessagesRequest>("/x?page_size=7").await.unwrap().page_size, 7);
    }

    #[tokio::test]
    async fn a_bad_query_names_the_parameter_the_value_and_what_is_expected() {
        let orders = "must be one of MESSAGE_ORDER_NEWEST_FIRST, MESSAGE_ORDER_OLDEST_FIRST";
        let whole = "must be a whole number from 0 to 2147483647";
        let rows = [
            ("pageSize=x", "pageSize", format!("{whole}; got \"x\"")),
            ("pageSize=1.5", "pageSize", format!("{whole}; got 1.5")),
            ("pageSize=", "pageSize", format!("{whole}; got \"\"")),
            ("pageSize=2147483648", "pageSize", format!("{whole}; got 2147483648")),
            ("pagesize=1", "pagesize", "is not a field of this request".to_owned()),
            ("order=NEWEST", "order", format!("{orders}; got \"NEWEST\"")),
            ("pageToken=%ff", "pageToken", "must be UTF-8, percent-encoded".to_owned()),
            ("pageSize=1&page_size=2", "page_size", "must be given once".to_owned()),
        ];
        for (query, field, description) in rows {
            let fault = params::<ListMessagesRequest>(&format!("/x?{query}")).await.expect_err(query);
            assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", field), "{query}");
            assert_eq!(fault.violations[0].description, description, "{query}");
        }
        for (query, message) in [
            ("after=-1", "after: must be a whole number from 0 to 4294967295; got -1"),
            ("after=4294967296", "after: must be a whole number from 0 to 4294967295; got 4294967296"),
            ("compact=1", "compact: must be true or false; got 1"),
            ("compact=a%20at%20line%201", "compact: must be true or false; got \"a at line 1\""),
            ("compact=yes", "compact: must be true or false; got \"yes\""),
        ] {
            let fault = params::<StreamTurnEventsRequest>(&format!("/x?{query}")).await.expect_err(query);
            assert_eq!(fault.message, message, "{query}");
        }
        let long = params::<ListTurnsRequest>(&format!("/x?openOnly={}", "x".repeat(3000))).await.expect_err("long");
        assert_eq!(long.message, format!("openOnly: must be true or false; got \"{}…\"", "x".repeat(40)));
    }

    #[test]
    fn the_path_wins_unless_the_body_differs() {
        let mut field = String::new();
        Target("p1".into()).bind(&mut field, "project_id").unwrap();
        assert_eq!(field, "p1");
        Target("p1".into()).bind(&mut field, "project_id").unwrap();
        assert_eq!(Target("p2".into()).bind(&mut field, "project_id").unwrap_err().0.reason, "INVALID_FIELD");
    }
}
