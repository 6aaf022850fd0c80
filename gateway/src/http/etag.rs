//! ETags and conditional requests (RFC 9110, section 13).

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use proto::error::ErrorCode;

use crate::{
    error::{Failure, fault, invalid},
    http::coding,
};

/// The routes whose resource has an ETag. Their handlers check `If-Match`.
pub(crate) const VERSIONED: [(&str, &str); 23] = [
    ("GET", "/api/projects/{project_id}"),
    ("PATCH", "/api/projects/{project_id}"),
    ("DELETE", "/api/projects/{project_id}"),
    ("POST", "/api/projects/save"),
    ("POST", "/api/projects/{project_id}/changes"),
    ("GET", "/api/projects/{project_id}/files/{path=**}"),
    ("GET", "/api/turns/{turn_id}/files/{path=**}"),
    ("GET", "/api/projects/{project_id}/export"),
    ("GET", "/api/projects/{project_id}/deployments/{number}/export"),
    ("PUT", "/api/projects/{project_id}/files/{path=**}"),
    ("DELETE", "/api/projects/{project_id}/files/{path=**}"),
    ("GET", "/api/projects/{project_id}/raw/{path=**}"),
    ("POST", "/api/projects/{project_id}/conflicts/{turn_id}/resolve"),
    ("POST", "/api/projects/{project_id}/revisions/{revision}/restore"),
    ("POST", "/api/projects/{project_id}/revisions/{revision}/revert"),
    ("POST", "/api/projects/{project_id}/turns/{turn_id}/revert"),
    ("POST", "/api/projects/{project_id}/undo"),
    ("POST", "/api/projects/{project_id}/redo"),
    ("POST", "/api/projects/import"),
    ("POST", "/api/projects/{project_id}/import"),
    ("POST", "/api/projects/{project_id}/merge"),
    ("GET", "/"),
    ("GET", "/page/{path=**}"),
];

/// Whether `If-None-Match` names this ETag (RFC 9110, weak comparison).
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

/// Copies the header `If-Match` into the field with the same meaning.
pub(crate) fn if_match(headers: &HeaderMap, field: &mut String) -> Result<(), Failure> {
    let Some(list) = if_match_list(headers)? else {
        *field = coding::plain_etags(field);
        return Ok(());
    };
    if !field.is_empty() && coding::plain_etags(field) != list {
        return Err(invalid("if_match", "must be absent or the same as If-Match"));
    }
    *field = list;
    Ok(())
}

/// Checks `If-Match` against an ETag, which may be empty (RFC 9110, strong comparison).
pub(crate) fn precondition(headers: &HeaderMap, etag: &str) -> Result<(), Failure> {
    let Some(list) = if_match_list(headers)? else { return Ok(()) };
    let names = |part: &str| part == "*" || (!etag.is_empty() && !etag.starts_with("W/") && part == etag);
    if list.split(',').map(str::trim).any(names) {
        return Ok(());
    }
    let text = if etag.is_empty() {
        "this resource has no ETag, so no If-Match can match"
    } else {
        "the current ETag of the resource does not match If-Match"
    };
    Err(fault(ErrorCode::Conflict, "ETAG_MISMATCH", text).with("current", etag).into())
}

/// All lines of `If-Match` as one list.
fn if_match_list(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let lines = headers.get_all(header::IF_MATCH).iter().map(HeaderValue::to_str).collect::<Result<Vec<_>, _>>();
    let lines = lines.map_err(|_| invalid("If-Match", "must be ASCII"))?;
    Ok((!lines.is_empty()).then(|| lines.join(", ")).map(|list| if list.trim().is_empty() { "\"\"".to_owned() } else { list }))
}

/// The middleware of routes without an ETag, where no `If-Match` can match.
pub(crate) async fn refuse_if_match(request: Request, next: Next) -> Result<Response, Failure> {
    precondition(request.headers(), "")?;
    Ok(next.run(request).await)
}

/// Sets `ETag`, unless it is empty.
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

    #[test]
    fn if_match_uses_the_strong_comparison() {
        let holds = |lines: &[&str], etag: &str| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::IF_MATCH, line.parse().unwrap());
            }
            precondition(&headers, etag).map_err(|failure| failure.0.reason).is_ok()
        };
        for (lines, etag, expected) in [
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
            assert_eq!(holds(lines, etag), expected, "{lines:?} {etag}");
        }
    }

    #[test]
    fn if_none_match_uses_the_weak_comparison() {
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
