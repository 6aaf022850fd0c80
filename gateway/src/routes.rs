//! The handlers: read the request, call one RPC, write the answer.

pub(crate) mod agents;
pub(crate) mod agui;
pub(crate) mod auth;
pub(crate) mod chat;
pub(crate) mod conflicts;
pub(crate) mod projects;
pub(crate) mod system;
pub(crate) mod turns;
mod whole;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use proto::error::ErrorCode;

use crate::{
    coding,
    error::{Failure, fault, invalid},
};

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// As every service has it.
const KEY_CHARACTERS: usize = 255;

/// Puts the header `Idempotency-Key` into the field that does the same. The draft quotes it; many clients do not.
fn idempotency(headers: &HeaderMap, field: &mut String, name: &str) -> Result<(), Failure> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(()) };
    let text = value.to_str().map_err(|_| invalid("Idempotency-Key", "must be ASCII"))?.trim();
    let key = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    if !(1..=KEY_CHARACTERS).contains(&key.chars().count()) {
        return Err(invalid("Idempotency-Key", format!("must be 1 to {KEY_CHARACTERS} characters")));
    }
    if !field.is_empty() && field != key {
        return Err(invalid(name, "must be absent or the same as Idempotency-Key"));
    }
    key.clone_into(field);
    Ok(())
}

/// Whether a request with the same key was answered before.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Replayed(pub(crate) bool);

impl Replayed {
    /// Says so in the answer, if it is so.
    fn tell(self, mut response: Response) -> Response {
        if self.0 {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

/// Whether the client has this version already (RFC 9110, weak comparison).
pub(crate) fn has_version(headers: &HeaderMap, etag: &str) -> bool {
    let known = |part: &str| part == "*" || part.strip_prefix("W/").unwrap_or(part) == etag.strip_prefix("W/").unwrap_or(etag);
    !etag.is_empty()
        && headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','))
            .any(|part| known(part.trim()))
}

/// Puts the header `If-Match` into the field that does the same.
fn if_match(headers: &HeaderMap, field: &mut String) -> Result<(), Failure> {
    let Some(list) = listed(headers)? else {
        *field = coding::plain(field);
        return Ok(());
    };
    if !field.is_empty() && coding::plain(field) != list {
        return Err(invalid("if_match", "must be absent or the same as If-Match"));
    }
    *field = list;
    Ok(())
}

/// `If-Match` of a request for something that has this ETag, or none (RFC 9110, strong comparison).
pub(crate) fn precondition(headers: &HeaderMap, etag: &str) -> Result<(), Failure> {
    let Some(list) = listed(headers)? else { return Ok(()) };
    let names = |part: &str| part == "*" || (!etag.is_empty() && !etag.starts_with("W/") && part == etag);
    if list.split(',').map(str::trim).any(names) {
        return Ok(());
    }
    let text = if etag.is_empty() { "what this changes has no ETag, so none can match" } else { "it is not as If-Match says" };
    Err(fault(ErrorCode::Conflict, "ETAG_MISMATCH", text).with("current", etag).into())
}

/// All of `If-Match` as one list; several lines of it are one.
fn listed(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let lines = headers.get_all(header::IF_MATCH).iter().map(HeaderValue::to_str).collect::<Result<Vec<_>, _>>();
    let lines = lines.map_err(|_| invalid("If-Match", "must be ASCII"))?;
    Ok((!lines.is_empty()).then(|| lines.join(", ")).map(|list| if list.trim().is_empty() { "\"\"".to_owned() } else { list }))
}

/// `If-Match` on a route whose handler does not look at it: nothing there has an ETag.
pub(crate) async fn unversioned(request: Request, next: Next) -> Result<Response, Failure> {
    precondition(request.headers(), "")?;
    Ok(next.run(request).await)
}

/// `ETag`, where there is one.
pub(crate) fn put_etag(headers: &mut HeaderMap, etag: &str) {
    if !etag.is_empty()
        && let Ok(value) = HeaderValue::from_str(etag)
    {
        headers.insert(header::ETAG, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyed(header: &str, field: &str) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", header.parse().unwrap());
        let mut field = field.to_owned();
        idempotency(&headers, &mut field, "request_id").map(|()| field).map_err(|f| f.0.violations[0].field.clone())
    }

    #[test]
    fn the_key_is_taken_from_the_header() {
        assert_eq!(keyed("abc", ""), Ok("abc".into()));
        assert_eq!(keyed("\"abc\"", ""), Ok("abc".into()));
        assert_eq!(keyed("abc", "abc"), Ok("abc".into()));
        assert_eq!(keyed("abc", "xyz"), Err("request_id".into()));
        assert_eq!(keyed("\"\"", ""), Err("Idempotency-Key".into()));
        let longest = "k".repeat(255);
        assert_eq!(keyed(&longest, ""), Ok(longest.clone()));
        assert_eq!(keyed(&format!("\"{longest}\""), ""), Ok(longest.clone()));
        assert_eq!(keyed(&format!("{longest}k"), ""), Err("Idempotency-Key".into()));
    }

    #[test]
    fn a_condition_is_compared_strongly() {
        let holds = |lines: &[&str], etag: &str| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::IF_MATCH, line.parse().unwrap());
            }
            precondition(&headers, etag).map_err(|failure| failure.0.reason).is_ok()
        };
        for (lines, etag, wanted) in [
            (&[][..], "\"b\"", true),
            (&[], "", true),
            (&["\"b\""], "\"b\"", true),
            (&["\"a\"", "\"b\""], "\"b\"", true),
            (&["\"a\", \"b\""], "\"b\"", true),
            (&["*"], "\"b\"", true),
            (&["*"], "", true),
            (&["\"a\""], "\"b\"", false),
            (&["W/\"b\""], "\"b\"", false),
            (&["W/\"b\""], "W/\"b\"", false),
            (&["b"], "\"b\"", false),
            (&[""], "\"b\"", false),
            (&["\"b\""], "", false),
        ] {
            assert_eq!(holds(lines, etag), wanted, "{lines:?} {etag}");
        }
    }

    #[test]
    fn versions_are_compared_as_the_protocol_says() {
        let has = |sent: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, sent.parse().unwrap());
            has_version(&headers, "\"b\"")
        };
        assert!(has("\"b\"") && has("\"a\", W/\"b\"") && has("*"));
        assert!(!has("\"a\"") && !has("b"));
        assert!(!has_version(&HeaderMap::new(), "\"b\""));
    }
}
