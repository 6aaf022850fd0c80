//! The first page: the files of `gateway/page`, built into the executable.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use proto::error::ErrorCode;

use crate::{
    app::App,
    error::fault,
    http::etag::{has_version, precondition, put_etag},
    json::{params::PathParam, reply::Reply},
};

/// Each file's name and bytes.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// The placeholder of the heartbeat in the page.
const HEARTBEAT: &str = "{heartbeat_ms}";

pub(crate) async fn index(State(app): State<Arc<App>>, headers: HeaderMap) -> Reply {
    reply_with_file(&app, &headers, "index.html")
}

pub(crate) async fn file(State(app): State<Arc<App>>, headers: HeaderMap, PathParam(name): PathParam) -> Reply {
    reply_with_file(&app, &headers, &name)
}

fn reply_with_file(app: &App, headers: &HeaderMap, name: &str) -> Reply {
    let Some((_, bytes)) = FILES.iter().find(|(known, _)| *known == name) else {
        return Err(fault(ErrorCode::NotFound, "ROUTE_NOT_FOUND", "there is no such file").into());
    };
    let bytes = if name.ends_with(".html") { Cow::Owned(with_heartbeat(bytes, app.config.heartbeat)) } else { Cow::Borrowed(*bytes) };
    let etag = etag(&bytes);
    precondition(headers, &etag)?;
    let mut response: Response = if has_version(headers, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, HeaderValue::from_static(media_type(name)))], bytes).into_response()
    };
    let headers = response.headers_mut();
    put_etag(headers, &etag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if name.ends_with(".html") {
        let policy =
            HeaderValue::try_from(policy(&app.origins.preview.frame_source())).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    }
    Ok(response)
}

/// Tells the page how often an event stream sends something, so that it notices a lost connection.
fn with_heartbeat(page: &[u8], heartbeat: Duration) -> Vec<u8> {
    String::from_utf8_lossy(page).replace(HEARTBEAT, &heartbeat.as_millis().to_string()).into_bytes()
}

/// The page loads its own files, calls its own origin and frames previews. No page may frame it.
fn policy(previews: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src {previews}; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        "png" => "image/png",
        _ => "application/octet-stream",
    }
}

/// A hash of the bytes.
fn etag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{edge::rate_limit, stream::limits, web::openapi::own_reasons};

    #[test]
    fn the_page_is_built_in() {
        for name in ["index.html", "app.js", "workspace.css", "styles.css"] {
            assert!(FILES.iter().any(|(known, bytes)| *known == name && !bytes.is_empty()), "{name}");
        }
    }

    #[test]
    fn the_etag_depends_on_the_bytes() {
        assert_eq!(etag(b"a"), etag(b"a"));
        assert_ne!(etag(b"a"), etag(b"b"));
    }

    #[test]
    fn the_page_has_the_heartbeat() {
        let (_, page) = FILES.iter().find(|(name, _)| *name == "index.html").expect("built in");
        let page = String::from_utf8(with_heartbeat(page, Duration::from_secs(15))).expect("text");
        assert!(page.contains(r#"<meta name="heartbeat" content="15000" />"#) && !page.contains(HEARTBEAT));
    }

    /// The names of a table of `words.js`.
    fn known_to_words(table: &str) -> Vec<String> {
        let (_, words) = FILES.iter().find(|(name, _)| *name == "words.js").expect("built in");
        let words = String::from_utf8_lossy(words);
        let (_, rows) = words.split_once(&format!("const {table} = {{\n")).expect("the table");
        let (rows, _) = rows.split_once("\n};").expect("its end");
        rows.lines().filter_map(|line| Some(line.trim().split_once(": ")?.0.trim_matches('"').to_owned())).collect()
    }

    /// The text of a weak password is that of its violation, and that of a challenge depends on the wait.
    #[test]
    fn the_page_has_a_text_for_every_refusal_of_a_sign_in_and_a_sign_up() {
        let known = known_to_words("BY_REASON");
        let reasons = || ["SignIn", "SignUp"].into_iter().flat_map(own_reasons);
        assert!(reasons().count() > 6);
        let missing: Vec<_> = reasons()
            .filter(|reason| !["WEAK_PASSWORD", "CHALLENGE_REQUIRED"].contains(reason) && !known.iter().any(|name| name == reason))
            .collect();
        assert!(missing.is_empty(), "words.js has no sentence for {missing:?}");
    }

    #[test]
    fn the_page_has_a_text_for_every_policy() {
        let known = known_to_words("REFUSALS");
        let shipped =
            include_str!("../../../services/rate-limit/policies.yaml").lines().filter_map(|line| line.trim().strip_prefix("- name: "));
        let mut policies: Vec<_> = shipped.chain([rate_limit::EDGE, limits::STREAMS, limits::OPENINGS]).collect();
        assert!(policies.len() > 3, "{policies:?}");
        policies.retain(|policy| !known.iter().any(|name| name == policy));
        assert!(policies.is_empty(), "words.js has no sentence for {policies:?}");
    }

    #[test]
    fn only_previews_are_framed() {
        let policy = policy("http://*.localhost:8081");
        assert!(policy.contains("frame-src http://*.localhost:8081;") && !policy.contains("unsafe"));
    }
}
