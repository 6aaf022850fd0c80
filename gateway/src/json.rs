//! ProtoJSON in and out: a message from path and query, a message from a body, a message as an answer. What cannot be read
//! names the field and the limit. Unknown and repeated fields are refused.

mod arriving;
mod text;
mod weight;

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
use proto::error::{ErrorCode, FieldViolation};
use serde::{Serialize, de::DeserializeOwned};
use serde_path_to_error::{Path, Segment};
use tokio::sync::Semaphore;

use self::arriving::Arriving;
use crate::{
    app::App,
    error::{Failure, SERVICE, fault, invalid},
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
        serde_path_to_error::deserialize(source).map(Self).map_err(|e| violation(e.path(), &e.inner().to_string()).into())
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
    let mut source = serde_json::Deserializer::from_slice(bytes);
    let message = serde_path_to_error::deserialize(&mut source).map_err(|e| {
        let inner = e.inner();
        if inner.is_data() { violation(e.path(), &inner.to_string()).into() } else { not_json(inner) }
    })?;
    source.end().map_err(|e| not_json(&e))?;
    Ok(message)
}

fn not_json(error: &serde_json::Error) -> Failure {
    let mut fault = fault(ErrorCode::InvalidArgument, "INVALID_JSON", format!("the body is not JSON: {error}"));
    fault.violations = vec![FieldViolation { field: String::new(), description: error.to_string() }];
    fault.into()
}

/// What is wrong with which field, from the words of serde.
fn violation(path: &Path, text: &str) -> proto::error::Fault {
    let text = text.rsplit_once(" at line ").map_or(text, |(text, _)| text);
    let mut field = spelled(path);
    let named = ["unknown field", "duplicate field", "missing field"].iter().find_map(|kind| {
        let name = text.strip_prefix(kind)?.strip_prefix(" `")?.split('`').next()?;
        Some((*kind, name))
    });
    let description = match named {
        Some((kind, name)) => {
            // The path ends at the field or at what holds it, depending on how far serde had come.
            if field != name && !field.ends_with(&format!(".{name}")) {
                field = if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
            }
            match kind {
                "unknown field" => "is not a field of this request".to_owned(),
                "duplicate field" => "must be given once".to_owned(),
                _ => "must be given".to_owned(),
            }
        }
        None if text.contains("untagged enum") => "must be a number".to_owned(),
        None => text.to_owned(),
    };
    proto::error::Fault::invalid(SERVICE, vec![FieldViolation { field, description }])
}

/// `changes[3].write`; a part that serde could not name is left out.
fn spelled(path: &Path) -> String {
    let mut field = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => field.push_str(&format!("[{index}]")),
            Segment::Map { key } => {
                if !field.is_empty() {
                    field.push('.');
                }
                field.push_str(key);
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    field
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
            (r#"{"changes":[{"path":5}]}"#, "changes[0].path", "invalid type: integer `5`, expected a string"),
            (r#"{"replace":"yes"}"#, "replace", "invalid type: string \"yes\", expected a boolean"),
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
    fn what_is_not_json_is_called_so() {
        for body in ["", "{", "nonsense", "{}{}", "{\"message\":\"\u{1}\"}"] {
            assert_eq!(refused(body).reason, "INVALID_JSON", "{body}");
        }
        let invalid = parse::<SaveProjectRequest>(b"{\"message\":\"\xff\"}").expect_err("not UTF-8");
        assert_eq!(invalid.0.reason, "INVALID_JSON");
        assert_eq!(refused(&"[".repeat(200_000)).code, ErrorCode::InvalidArgument);
    }

    async fn params(uri: &str) -> Result<ListMessagesRequest, Fault> {
        let (mut parts, ()) = axum::http::Request::get(uri).body(()).unwrap().into_parts();
        Params::from_request_parts(&mut parts, &()).await.map(|p| p.0).map_err(|f| *f.0)
    }

    #[tokio::test]
    async fn a_message_comes_from_the_query() {
        let request = params("/x?projectId=p%201&pageSize=7&order=MESSAGE_ORDER_OLDEST_FIRST").await.unwrap();
        assert_eq!((request.project_id.as_str(), request.page_size, request.order), ("p 1", 7, 2));
        assert_eq!(params("/x?page_size=7").await.unwrap().page_size, 7);
    }

    #[tokio::test]
    async fn a_bad_query_names_the_parameter() {
        let rows = [
            ("pageSize=x", "pageSize"),
            ("pagesize=1", "pagesize"),
            ("order=NEWEST", "order"),
            ("pageToken=%ff", "pageToken"),
            ("pageSize=1&page_size=2", "page_size"),
            ("pageSize=", "pageSize"),
            ("pageSize=2147483648", "pageSize"),
        ];
        for (query, field) in rows {
            let fault = params(&format!("/x?{query}")).await.expect_err(query);
            assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", field), "{query}");
        }
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
