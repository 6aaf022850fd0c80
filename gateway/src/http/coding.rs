//! Content codings of responses (RFC 9110, section 8.4): which one a client gets, and the ETags of compressed responses. `tower_http`
//! compresses.
//!
//! A compressed response is another representation, so it has another ETag: `"v"` becomes `"v-gzip"`. Handlers do not see this: `If-Match`
//! and `If-None-Match` are changed back to `"v"` before they run. These responses are not compressed: small ones, types that are already
//! compressed, parts, and responses with secrets, because the compressed length could reveal them (BREACH). All browsers offer codings, so
//! event streams are compressed, with gzip, only for clients that refuse the plain form (`identity;q=0`). The library flushes when no event
//! is ready.

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn},
    response::Response,
};
use http_body::Body;
use tower_http::compression::{CompressionLayer, predicate::Predicate};

use crate::http::media::thousandths;

/// The codings of responses. Of those with equal weights the first is used.
const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];
/// Shorter responses fit into one packet anyway.
const MIN_SIZE: u64 = 1024;
/// The coding of event streams. An encoder exists as long as its stream, and that of gzip needs the least memory.
const STREAM_CODING: &str = "gzip";
/// The media types of event streams.
const STREAMS: [&str; 2] = ["text/event-stream", "application/x-ndjson"];
/// Types of text that do not begin with `text/`.
const TEXTS: [&str; 12] = [
    "application/json",
    "application/javascript",
    "application/xml",
    "application/wasm",
    "application/x-javascript",
    "application/manifest+json",
    "application/geo+json",
    "application/ld+json",
    "application/rss+xml",
    "application/atom+xml",
    "application/xhtml+xml",
    "image/svg+xml",
];

/// Compresses responses as clients ask for it.
pub(crate) fn compress(router: Router) -> Router {
    router.layer(from_fn(copy_mark)).layer(CompressionLayer::new().compress_when(CompressionPolicy)).layer(from_fn(negotiate))
}

/// The client accepts gzip and refuses a plain response; an extension of the request, then of its response.
#[derive(Debug, Clone, Copy)]
struct GzipRequired;

async fn copy_mark(request: Request, next: Next) -> Response {
    let refused = request.extensions().get::<GzipRequired>().copied();
    let mut response = next.run(request).await;
    if let Some(refused) = refused {
        response.extensions_mut().insert(refused);
    }
    response
}

async fn negotiate(mut request: Request, next: Next) -> Response {
    let may_compress = !is_secret(request.method(), request.uri().path());
    let refuses_plain = refuses_plain(request.headers());
    if refuses_plain {
        request.extensions_mut().insert(GzipRequired);
    }
    let headers = request.headers_mut();
    let coding = if refuses_plain { Some(STREAM_CODING) } else { preferred(headers) };
    let coding = coding.filter(|_| may_compress);
    // Pass on exactly one coding or none. The layer would answer 406 to a client that accepts none of them, after the handler has run.
    match coding {
        Some(coding) => headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding)),
        None => headers.remove(header::ACCEPT_ENCODING),
    };
    let matched = remove_suffixes(headers, &header::IF_NONE_MATCH);
    remove_suffixes(headers, &header::IF_MATCH);
    let mut response = next.run(request).await;
    let used = response.headers().get(header::CONTENT_ENCODING).and_then(|coding| CODINGS.into_iter().find(|name| coding == *name));
    let is_not_modified = response.status() == StatusCode::NOT_MODIFIED;
    if let Some(coding) = used.or(matched.filter(|_| is_not_modified)) {
        add_suffix(response.headers_mut(), coding);
    }
    if is_not_modified && may_compress {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    response
}

/// Whether the response contains a session, a token or a preview capability, and may contain values of the request.
fn is_secret(method: &Method, path: &str) -> bool {
    path.starts_with("/api/auth/") || path.starts_with("/account/") || (method == Method::POST && path.ends_with("/previews"))
}

/// The coding that `Accept-Encoding` prefers; `None` for a plain response.
fn preferred(headers: &HeaderMap) -> Option<&'static str> {
    let weights = weights(headers);
    // `identity` is acceptable unless it is refused. At an equal weight a coding is preferred.
    let plain = weights.iter().find(|(name, _)| name.eq_ignore_ascii_case("identity")).map_or(0, |(_, weight)| *weight);
    let weight = |coding: &'static str| weight_of(&weights, coding).filter(|weight| *weight > 0).map(|weight| (weight, coding));
    let best = CODINGS.into_iter().filter_map(weight).reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.filter(|(weight, _)| *weight >= plain).map(|(_, coding)| coding)
}

/// Whether the client accepts gzip and refuses the plain form.
fn refuses_plain(headers: &HeaderMap) -> bool {
    let weights = weights(headers);
    weight_of(&weights, "identity") == Some(0) && weight_of(&weights, STREAM_CODING).is_some_and(|weight| weight > 0)
}

/// The weight of a coding, by its name or by `*`.
fn weight_of(weights: &[(&str, u16)], coding: &str) -> Option<u16> {
    let named = |coding: &str| weights.iter().find(|(name, _)| name.eq_ignore_ascii_case(coding)).map(|(_, weight)| *weight);
    // The old name of gzip.
    let old = if coding == "gzip" { named("x-gzip") } else { None };
    named(coding).or(old).or_else(|| named("*"))
}

/// The codings of `Accept-Encoding`, each with its weight in thousandths.
fn weights(headers: &HeaderMap) -> Vec<(&str, u16)> {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).filter_map(parse_item).collect()
}

fn parse_item(item: &str) -> Option<(&str, u16)> {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let weight = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    Some((name, weight.map_or(1000, |(_, text)| thousandths(text.trim()))))
}

/// Adds the coding to the ETag of a compressed response.
fn add_suffix(headers: &mut HeaderMap, coding: &str) {
    let plain = headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).and_then(|etag| etag.strip_suffix('"'));
    if let Some(tagged) = plain.and_then(|etag| HeaderValue::try_from(format!("{etag}-{coding}\"")).ok()) {
        headers.insert(header::ETAG, tagged);
    }
}

/// Changes the ETags of compressed responses to those of the plain responses. Returns the first coding found.
fn remove_suffixes(headers: &mut HeaderMap, name: &HeaderName) -> Option<&'static str> {
    let lines: Vec<String> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).map(str::to_owned).collect();
    let found = CODINGS.into_iter().find(|coding| lines.iter().any(|line| line.contains(&format!("-{coding}\""))))?;
    headers.remove(name);
    for line in lines {
        headers.extend(HeaderValue::try_from(plain_etags(&line)).ok().map(|value| (name.clone(), value)));
    }
    Some(found)
}

/// A list of ETags, changed to those of the plain responses.
pub(crate) fn plain_etags(etags: &str) -> String {
    CODINGS.into_iter().fold(etags.to_owned(), |etags, coding| etags.replace(&format!("-{coding}\""), "\""))
}

/// Whether a response should be compressed.
#[derive(Debug, Clone, Copy)]
struct CompressionPolicy;

impl Predicate for CompressionPolicy {
    fn should_compress<B: Body>(&self, response: &axum::http::Response<B>) -> bool {
        let text = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        let kind = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if STREAMS.contains(&kind.as_str()) {
            return response.extensions().get::<GzipRequired>().is_some();
        }
        let is_text = kind.starts_with("text/") || TEXTS.contains(&kind.as_str()) || kind.starts_with("font/ttf") || kind == "font/otf";
        let length = response.body().size_hint().exact().or_else(|| text(header::CONTENT_LENGTH).parse().ok());
        is_text && length.is_none_or(|length| length >= MIN_SIZE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_coding_is_chosen() {
        let rows = [
            ("", None),
            ("gzip", Some("gzip")),
            ("x-gzip", Some("gzip")),
            ("GZIP", Some("gzip")),
            ("br", Some("br")),
            ("zstd", Some("zstd")),
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("gzip, deflate, br", Some("br")),
            ("gzip;q=1.0, br;q=0.5", Some("gzip")),
            ("gzip;q=0", None),
            ("*", Some("zstd")),
            ("*;q=0.1, zstd;q=0", Some("br")),
            ("*;q=0", None),
            ("identity", None),
            ("identity;q=0", None),
            ("identity;q=0, gzip", Some("gzip")),
            ("gzip;q=0.5, identity", None),
            ("gzip;q=0.5, identity;q=0.5", Some("gzip")),
            ("deflate", None),
            ("compress, lzma", None),
            ("br ; q=0.8 , gzip ; q=0.8", Some("br")),
            (",,;q=1,gzip", Some("gzip")),
        ];
        for (sent, coding) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, sent.parse().unwrap());
            assert_eq!(preferred(&headers), coding, "{sent}");
        }
        assert_eq!(preferred(&HeaderMap::new()), None);
    }

    #[test]
    fn a_stream_is_compressed_for_clients_that_refuse_the_plain_form() {
        for (sent, refused) in [
            ("gzip, identity;q=0", true),
            ("gzip, br, *;q=0", true),
            ("x-gzip, IDENTITY ; q=0.0", true),
            ("br, identity;q=0", false),
            ("*", false),
            ("gzip, br, zstd", false),
            ("gzip, identity;q=0.1", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, sent.parse().unwrap());
            assert_eq!(refuses_plain(&headers), refused, "{sent}");
            for kind in STREAMS {
                let mut response = axum::http::Response::new(axum::body::Body::from("data: {}"));
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
                if refused {
                    response.extensions_mut().insert(GzipRequired);
                }
                assert_eq!(CompressionPolicy.should_compress(&response), refused, "{kind}");
            }
        }
    }

    #[test]
    fn etags_of_all_codings_become_that_of_the_plain_answer() {
        let rows = [
            ("\"v\"", "\"v\"", None),
            ("\"v-gzip\"", "\"v\"", Some("gzip")),
            ("W/\"v-br\", \"w\"", "W/\"v\", \"w\"", Some("br")),
            ("\"a-zstd\", \"b-gzip\"", "\"a\", \"b\"", Some("zstd")),
            ("\"gzip\"", "\"gzip\"", None),
            ("*", "*", None),
        ];
        for (sent, left, coding) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, sent.parse().unwrap());
            assert_eq!(remove_suffixes(&mut headers, &header::IF_MATCH), coding, "{sent}");
            assert_eq!(headers[header::IF_MATCH], left);
        }
    }

    #[test]
    fn only_large_texts_are_compressed() {
        let is_compressed = |kind: &str, length: usize| {
            let response = axum::http::Response::builder().header(header::CONTENT_TYPE, kind).body(axum::body::Body::from(vec![0; length]));
            CompressionPolicy.should_compress(&response.unwrap())
        };
        let long = 1024;
        for kind in ["application/json", "text/html; charset=utf-8", "text/css", "image/svg+xml", "Text/JavaScript", "application/wasm"] {
            assert!(is_compressed(kind, long) && !is_compressed(kind, long - 1), "{kind}");
        }
        for kind in [
            "image/png",
            "video/mp4",
            "font/woff2",
            "application/zip",
            "application/octet-stream",
            "text/event-stream",
            "application/x-ndjson",
            "",
        ] {
            assert!(!is_compressed(kind, long), "{kind}");
        }
    }

    #[test]
    fn answers_with_secrets_are_not_compressed() {
        for (method, path, secret) in [
            (Method::POST, "/api/auth/signin", true),
            (Method::POST, "/api/auth/token", true),
            (Method::GET, "/api/auth/session", true),
            (Method::POST, "/account/reset/confirm", true),
            (Method::POST, "/api/projects/x/previews", true),
            (Method::GET, "/api/projects", false),
            (Method::GET, "/.well-known/jwks.json", false),
        ] {
            assert_eq!(is_secret(&method, path), secret, "{path}");
        }
    }
}
