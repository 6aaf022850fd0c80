//! Content codings of answers (RFC 9110, section 8.4): which one a client gets, and how the versions of what is coded are told apart.
//! The coding itself is `tower_http`'s.
//!
//! A coded answer is another representation, so its ETag is another: `"v"` becomes `"v-gzip"`. Handlers know nothing of it: what comes
//! back in `If-Match` and `If-None-Match` is `"v"` again when it gets to them. Not coded are: what is small or compressed already, parts,
//! and answers with secrets in them, whose length would tell of them (BREACH). Event streams are coded, with gzip, only for clients that
//! refuse the plain form (`identity;q=0`), since all browsers offer codings; the library hands on what it has whenever no event is ready.

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn},
    response::Response,
};
use http_body::Body;
use tower_http::compression::{CompressionLayer, predicate::Predicate};

use crate::media::thousandths;

/// Those that answers can have; of equally welcome ones the first.
const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];
/// What is shorter fits into one packet anyway.
const SHORTEST: u64 = 1024;
/// The one coding of event streams: an encoder lives as long as its stream, and this one is the smallest.
const STREAM_CODING: &str = "gzip";
/// The forms of an event stream.
const STREAMS: [&str; 2] = ["text/event-stream", "application/x-ndjson"];
/// Types that are text, whatever they are called.
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

/// Has answers coded as clients want them.
pub(crate) fn coded(router: Router) -> Router {
    router.layer(from_fn(mark)).layer(CompressionLayer::new().compress_when(Worth)).layer(from_fn(negotiate))
}

/// The client takes gzip and no plain answer; an extension of the request, then of its answer.
#[derive(Debug, Clone, Copy)]
struct PlainRefused;

async fn mark(request: Request, next: Next) -> Response {
    let refused = request.extensions().get::<PlainRefused>().copied();
    let mut response = next.run(request).await;
    if let Some(refused) = refused {
        response.extensions_mut().insert(refused);
    }
    response
}

async fn negotiate(mut request: Request, next: Next) -> Response {
    let may_be_coded = !is_secret(request.method(), request.uri().path());
    let refuses_plain = refuses_plain(request.headers());
    if refuses_plain {
        request.extensions_mut().insert(PlainRefused);
    }
    let headers = request.headers_mut();
    let coding = if refuses_plain { Some(STREAM_CODING) } else { wanted(headers) };
    let coding = coding.filter(|_| may_be_coded);
    // One or none: the layer would answer 406 to a client that takes nothing, after the handler has done its work.
    match coding {
        Some(coding) => headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding)),
        None => headers.remove(header::ACCEPT_ENCODING),
    };
    let known = uncode(headers, &header::IF_NONE_MATCH);
    uncode(headers, &header::IF_MATCH);
    let mut response = next.run(request).await;
    let shown = response.headers().get(header::CONTENT_ENCODING).and_then(|coding| CODINGS.into_iter().find(|name| coding == *name));
    let is_known = response.status() == StatusCode::NOT_MODIFIED;
    if let Some(coding) = shown.or(known.filter(|_| is_known)) {
        tag(response.headers_mut(), coding);
    }
    if is_known && may_be_coded {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    response
}

/// Sessions, tokens and preview capabilities are in these answers, and what a request says may be as well.
fn is_secret(method: &Method, path: &str) -> bool {
    path.starts_with("/api/auth/") || (method == Method::POST && path.ends_with("/previews"))
}

/// What `Accept-Encoding` likes best of what there is; none if that is the plain answer.
fn wanted(headers: &HeaderMap) -> Option<&'static str> {
    let weights = weights(headers);
    // `identity` is taken unless it is refused; at the same weight it is the last choice.
    let plain = weights.iter().find(|(name, _)| name.eq_ignore_ascii_case("identity")).map_or(0, |(_, weight)| *weight);
    let weight = |coding: &'static str| weight_of(&weights, coding).filter(|weight| *weight > 0).map(|weight| (weight, coding));
    let best = CODINGS.into_iter().filter_map(weight).reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.filter(|(weight, _)| *weight >= plain).map(|(_, coding)| coding)
}

/// Whether the client takes gzip and refuses the plain form.
fn refuses_plain(headers: &HeaderMap) -> bool {
    let weights = weights(headers);
    weight_of(&weights, "identity") == Some(0) && weight_of(&weights, STREAM_CODING).is_some_and(|weight| weight > 0)
}

/// The weight of a coding, by its name or by `*`.
fn weight_of(weights: &[(&str, u16)], coding: &str) -> Option<u16> {
    let named = |wanted: &str| weights.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, weight)| *weight);
    // An old name of the same.
    let old = if coding == "gzip" { named("x-gzip") } else { None };
    named(coding).or(old).or_else(|| named("*"))
}

/// The codings of `Accept-Encoding`, each with its weight in thousandths.
fn weights(headers: &HeaderMap) -> Vec<(&str, u16)> {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).filter_map(weighed).collect()
}

fn weighed(item: &str) -> Option<(&str, u16)> {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let weight = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    Some((name, weight.map_or(1000, |(_, text)| thousandths(text.trim()))))
}

/// Names the version of a coded answer apart from that of the plain one.
fn tag(headers: &mut HeaderMap, coding: &str) {
    let plain = headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).and_then(|etag| etag.strip_suffix('"'));
    if let Some(tagged) = plain.and_then(|etag| HeaderValue::try_from(format!("{etag}-{coding}\"")).ok()) {
        headers.insert(header::ETAG, tagged);
    }
}

/// Makes the versions of coded answers those of the plain ones. The first coding that was among them comes back.
fn uncode(headers: &mut HeaderMap, name: &HeaderName) -> Option<&'static str> {
    let lines: Vec<String> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).map(str::to_owned).collect();
    let found = CODINGS.into_iter().find(|coding| lines.iter().any(|line| line.contains(&format!("-{coding}\""))))?;
    headers.remove(name);
    for line in lines {
        headers.extend(HeaderValue::try_from(plain(&line)).ok().map(|value| (name.clone(), value)));
    }
    Some(found)
}

/// A list of ETags, each as the plain answer has it.
pub(crate) fn plain(etags: &str) -> String {
    CODINGS.into_iter().fold(etags.to_owned(), |etags, coding| etags.replace(&format!("-{coding}\""), "\""))
}

/// Whether coding an answer is worth the work.
#[derive(Debug, Clone, Copy)]
struct Worth;

impl Predicate for Worth {
    fn should_compress<B: Body>(&self, response: &axum::http::Response<B>) -> bool {
        let text = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        let kind = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if STREAMS.contains(&kind.as_str()) {
            return response.extensions().get::<PlainRefused>().is_some();
        }
        let is_text = kind.starts_with("text/") || TEXTS.contains(&kind.as_str()) || kind.starts_with("font/ttf") || kind == "font/otf";
        let length = response.body().size_hint().exact().or_else(|| text(header::CONTENT_LENGTH).parse().ok());
        is_text && length.is_none_or(|length| length >= SHORTEST)
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
            assert_eq!(wanted(&headers), coding, "{sent}");
        }
        assert_eq!(wanted(&HeaderMap::new()), None);
    }

    #[test]
    fn a_stream_is_coded_for_who_takes_no_plain_one() {
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
                    response.extensions_mut().insert(PlainRefused);
                }
                assert_eq!(Worth.should_compress(&response), refused, "{kind}");
            }
        }
    }

    #[test]
    fn a_version_is_one_whatever_its_coding() {
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
            assert_eq!(uncode(&mut headers, &header::IF_MATCH), coding, "{sent}");
            assert_eq!(headers[header::IF_MATCH], left);
        }
    }

    #[test]
    fn only_what_gets_shorter_is_coded() {
        let is_worth = |kind: &str, length: usize| {
            let response = axum::http::Response::builder().header(header::CONTENT_TYPE, kind).body(axum::body::Body::from(vec![0; length]));
            Worth.should_compress(&response.unwrap())
        };
        let long = 1024;
        for kind in ["application/json", "text/html; charset=utf-8", "text/css", "image/svg+xml", "Text/JavaScript", "application/wasm"] {
            assert!(is_worth(kind, long) && !is_worth(kind, long - 1), "{kind}");
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
            assert!(!is_worth(kind, long), "{kind}");
        }
    }

    #[test]
    fn answers_with_secrets_keep_their_length() {
        for (method, path, secret) in [
            (Method::POST, "/api/auth/signin", true),
            (Method::POST, "/api/auth/token", true),
            (Method::GET, "/api/auth/session", true),
            (Method::POST, "/api/projects/x/previews", true),
            (Method::GET, "/api/projects", false),
            (Method::GET, "/.well-known/jwks.json", false),
        ] {
            assert_eq!(is_secret(&method, path), secret, "{path}");
        }
    }
}
