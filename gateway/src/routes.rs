//! The handlers: read the request, call one RPC, write the answer.

pub(crate) mod agents;
pub(crate) mod agui;
pub(crate) mod auth;
pub(crate) mod chat;
pub(crate) mod conflicts;
pub(crate) mod projects;
pub(crate) mod system;
pub(crate) mod turns;

use axum::http::{HeaderMap, HeaderValue, header};

use crate::error::{Failure, invalid};

/// Puts the header `Idempotency-Key` into the field that does the same. The draft quotes it; many clients do not.
fn idempotency(headers: &HeaderMap, field: &mut String, name: &str) -> Result<(), Failure> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(()) };
    let text = value.to_str().map_err(|_| invalid("Idempotency-Key", "must be ASCII"))?.trim();
    let key = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    if key.is_empty() {
        return Err(invalid("Idempotency-Key", "must not be empty"));
    }
    if !field.is_empty() && field != key {
        return Err(invalid(name, "must be absent or the same as Idempotency-Key"));
    }
    key.clone_into(field);
    Ok(())
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
