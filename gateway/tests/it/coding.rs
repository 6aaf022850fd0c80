use std::{convert::Infallible, pin::pin};

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::BodyExt as _;
use reqwest::{Client, Method, Response, StatusCode, header};
use tower::{ServiceExt as _, service_fn};
use tower_http::decompression::Decompression;

use crate::{
    harness::{WAIT_LIMIT, start},
    script::Step,
    stream::setup,
};

/// The decompressed body, as a browser reads it.
async fn plain(response: Response) -> impl HttpBody<Data = Bytes, Error: std::fmt::Debug> {
    let mut answer = Some(axum::http::Response::from(response));
    let service = service_fn(move |_: axum::http::Request<Body>| std::future::ready(Ok::<_, Infallible>(answer.take().unwrap())));
    Decompression::new(service).oneshot(axum::http::Request::new(Body::empty())).await.unwrap().into_body()
}

async fn decoded(response: Response) -> Bytes {
    plain(response).await.collect().await.unwrap().to_bytes()
}

fn header_text(response: &Response, name: &str) -> String {
    response.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn answers_have_the_coding_that_clients_prefer() {
    let gateway = start(&[]).await;
    let rows = [
        ("/openapi.json", "gzip", "gzip"),
        ("/openapi.json", "br", "br"),
        ("/openapi.json", "zstd", "zstd"),
        ("/openapi.json", "gzip, deflate, br, zstd", "zstd"),
        ("/openapi.json", "identity", ""),
        ("/openapi.json", "identity;q=0", ""),
        ("/openapi.json", "*;q=0", ""),
        ("/openapi.json", "nonsense", ""),
        ("/", "gzip", "gzip"),
        ("/page/app.js", "br", "br"),
        ("/page/styles.css", "zstd", "zstd"),
        // Short answers, refusals and answers with secrets.
        ("/healthz", "gzip", ""),
        ("/nothing", "gzip", ""),
        ("/api/auth/session", "gzip", ""),
    ];
    for (path, accepted, coding) in rows {
        let get = |accepted: &str| Client::new().get(gateway.url(path)).header(header::ACCEPT_ENCODING, accepted).send();
        let (answer, plain) = (get(accepted).await.unwrap(), Client::new().get(gateway.url(path)).send().await.unwrap());
        let at = format!("{path} {accepted}");
        assert_eq!(header_text(&answer, "content-encoding"), coding, "{at}");
        assert_eq!((header_text(&plain, "content-encoding"), plain.status()), (String::new(), answer.status()), "{at}");
        if coding.is_empty() {
            continue;
        }
        for answer in [&answer, &plain] {
            assert!(header_text(answer, "vary").contains("accept-encoding"), "{at}: {}", header_text(answer, "vary"));
        }
        let length = answer.headers().get(header::CONTENT_LENGTH).cloned();
        assert_eq!(length, None, "{at}: it would be the length of the plain answer");
        let (coded, plain) = (decoded(answer).await, plain.bytes().await.unwrap());
        assert!(coded == plain && plain.len() > 1000, "{at}");
    }
}

#[tokio::test]
async fn a_stream_is_compressed_on_request_and_without_a_delay() {
    // The first message has a few events. Then the stream stays open without more.
    let steps = || vec![Step::Events(1..=3), Step::Hang];
    let rows = [("gzip, br, zstd", ""), ("gzip, identity;q=0", "gzip"), ("zstd, gzip, *;q=0", "gzip"), ("br, identity;q=0", "")];
    for (accepted, coding) in rows {
        let setup = setup(vec![steps()], &[]).await;
        let answer = setup.events("").header(header::ACCEPT_ENCODING, accepted).send().await.unwrap();
        assert_eq!(header_text(&answer, "content-encoding"), coding, "{accepted}");
        let (mut body, mut text) = (pin!(plain(answer).await), String::new());
        while !text.contains("id: 3") {
            let frame =
                tokio::time::timeout(WAIT_LIMIT, body.frame()).await.unwrap_or_else(|_| panic!("{accepted}: no event after {text}"));
            text.push_str(std::str::from_utf8(&frame.unwrap().unwrap().into_data().unwrap()).unwrap());
        }
    }
}

#[tokio::test]
async fn compressed_answers_have_their_own_etags() {
    let gateway = start(&[]).await;
    let send = |method: Method, accepted: &str, condition: Option<(&str, &str)>| {
        let request = Client::new().request(method, gateway.url("/page/app.js")).header(header::ACCEPT_ENCODING, accepted);
        condition
            .map(|(name, etag)| (name.to_owned(), etag.to_owned()))
            .into_iter()
            .fold(request, |r, (name, etag)| r.header(name, etag))
            .send()
    };
    let plain = header_text(&send(Method::GET, "identity", None).await.unwrap(), "etag");
    for coding in ["gzip", "br", "zstd"] {
        let etag = header_text(&send(Method::GET, coding, None).await.unwrap(), "etag");
        assert_eq!(etag, format!("{}-{coding}\"", plain.trim_end_matches('"')));
        let head = send(Method::HEAD, coding, None).await.unwrap();
        assert_eq!(
            (header_text(&head, "etag"), header_text(&head, "content-encoding")),
            (etag.clone(), coding.to_owned()),
            "HEAD answers like GET"
        );
        let known = send(Method::GET, coding, Some(("if-none-match", &etag))).await.unwrap();
        assert_eq!((known.status(), header_text(&known, "etag")), (StatusCode::NOT_MODIFIED, etag.clone()), "{coding}");
        assert!(header_text(&known, "vary").contains("accept-encoding") && header_text(&known, "content-encoding").is_empty());
        for (condition, status) in [(etag.as_str(), 200), (plain.as_str(), 200), ("*", 200), ("\"other-gzip\"", 412)] {
            assert_eq!(send(Method::GET, coding, Some(("if-match", condition))).await.unwrap().status(), status, "{condition}");
        }
    }
    let known = send(Method::GET, "identity", Some(("if-none-match", &plain))).await.unwrap();
    assert_eq!((known.status(), header_text(&known, "etag")), (StatusCode::NOT_MODIFIED, plain));
}
