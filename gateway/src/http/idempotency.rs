//! Idempotency keys (draft-ietf-httpapi-idempotency-key-header): reads them from requests, and marks responses to repeated requests.

use axum::{
    http::{HeaderMap, HeaderValue},
    response::Response,
};

use crate::{
    error::{Failure, invalid},
    http::headers::{IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED},
};

/// The limit of every service.
const MAX_KEY_CHARACTERS: usize = 255;

/// Copies the header `Idempotency-Key` into the field with the same meaning. The draft requires quotes around the key, but many clients send none.
pub(crate) fn read_key(headers: &HeaderMap, field: &mut String, name: &str) -> Result<(), Failure> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(()) };
    let text = value.to_str().map_err(|_| invalid("Idempotency-Key", "must be ASCII"))?.trim();
    let key = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    if !(1..=MAX_KEY_CHARACTERS).contains(&key.chars().count()) {
        return Err(invalid("Idempotency-Key", format!("must be 1 to {MAX_KEY_CHARACTERS} characters")));
    }
    if !field.is_empty() && field != key {
        return Err(invalid(name, "must be absent or the same as Idempotency-Key"));
    }
    key.clone_into(field);
    Ok(())
}

/// Whether a request with the same key was answered before.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Replay(pub(crate) bool);

impl Replay {
    /// Adds `Idempotency-Replayed` to the response of a repeated request.
    pub(crate) fn mark(self, mut response: Response) -> Response {
        if self.0 {
            response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyed(header: &str, field: &str) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", header.parse().unwrap());
        let mut field = field.to_owned();
        read_key(&headers, &mut field, "request_id").map(|()| field).map_err(|f| f.0.violations[0].field.clone())
    }

    #[test]
    fn the_key_is_read_from_the_header() {
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
}
