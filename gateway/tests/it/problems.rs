use gateway::testing::{contract_routes, own_routes};
use reqwest::{Client, Method, RequestBuilder, Response, header::HeaderValue};
use serde_json::Value;

use crate::harness::{Gateway, start};

const JSON: &str = "application/json";

async fn problem(request: RequestBuilder) -> (Response, Value) {
    read(request.send().await.expect("an answer")).await
}

async fn read(mut answer: Response) -> (Response, Value) {
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        body.extend_from_slice(&chunk);
    }
    let document: Value = serde_json::from_slice(&body).expect("json");
    assert_eq!(document["status"], answer.status().as_u16());
    assert_eq!(document["requestId"], answer.headers()["x-request-id"].to_str().unwrap());
    assert_eq!(document["instance"], answer.url().path());
    for member in ["type", "title", "detail", "code", "reason", "domain", "traceId"] {
        assert!(document[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {document}");
    }
    (answer, document)
}

fn post(gateway: &Gateway, kind: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
    Client::new().post(gateway.url("/api/auth/signin")).header("content-type", kind).body(body)
}

fn summary(document: &Value) -> (u64, &str) {
    (document["status"].as_u64().unwrap(), document["reason"].as_str().unwrap())
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused() {
    let gateway = start(&[]).await;
    let client = Client::new();
    let (_, document) = problem(client.get(gateway.url("/api/nothing"))).await;
    assert_eq!(summary(&document), (404, "ROUTE_NOT_FOUND"));
    let (_, document) = problem(client.get(gateway.url("/page/nothing.js"))).await;
    assert_eq!(summary(&document), (404, "ROUTE_NOT_FOUND"));
    let (answer, document) = problem(client.delete(gateway.url("/api/projects"))).await;
    assert_eq!(summary(&document), (405, "METHOD_NOT_ALLOWED"));
    let mut allowed: Vec<&str> = answer.headers()["allow"].to_str().unwrap().split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    let (_, document) = problem(client.request(Method::from_bytes(b"BREW").unwrap(), gateway.url("/healthz"))).await;
    assert_eq!(summary(&document), (405, "METHOD_NOT_ALLOWED"));
}

#[tokio::test]
async fn every_route_refuses_other_methods() {
    let gateway = start(&[]).await;
    for route in contract_routes().into_iter().chain(own_routes()) {
        let path: String =
            route.template.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/");
        let (answer, document) = problem(Client::new().request(Method::from_bytes(b"BREW").unwrap(), gateway.url(&path))).await;
        assert_eq!(summary(&document), (405, "METHOD_NOT_ALLOWED"), "{path}");
        assert!(answer.headers()["allow"].to_str().unwrap().split(',').any(|method| method.trim() == route.method), "{path}");
    }
}

#[tokio::test]
async fn invalid_bodies_are_refused() {
    let gateway = start(&[]).await;
    let rows: [(&str, Vec<u8>, u64, &str, &str); 8] = [
        ("text/plain", b"{}".to_vec(), 415, "UNSUPPORTED_MEDIA_TYPE", ""),
        ("application/x-www-form-urlencoded", b"email=a".to_vec(), 415, "UNSUPPORTED_MEDIA_TYPE", ""),
        (JSON, b"{".to_vec(), 400, "INVALID_JSON", ""),
        (JSON, b"{\"email\":\"\xff\"}".to_vec(), 400, "INVALID_JSON", ""),
        (JSON, b"[]".to_vec(), 400, "INVALID_FIELD", ""),
        (JSON, br#"{"email":5}"#.to_vec(), 400, "INVALID_FIELD", "email"),
        (JSON, br#"{"emial":"a"}"#.to_vec(), 400, "INVALID_FIELD", "emial"),
        (JSON, vec![b' '; 1024 * 1024 + 1], 413, "TOO_LARGE", ""),
    ];
    for (kind, body, status, reason, field) in rows {
        let (_, document) = problem(post(&gateway, kind, body)).await;
        assert_eq!(summary(&document), (status, reason), "{document}");
        if !field.is_empty() {
            assert_eq!((&document["errors"][0]["field"], &document["errors"][0]["pointer"]), (&field.into(), &format!("#/{field}").into()));
        }
    }
}

#[tokio::test]
async fn a_compressed_body_is_refused_with_the_accepted_coding() {
    let gateway = start(&[]).await;
    for (coding, accepted) in
        [("gzip", false), ("br", false), ("identity, gzip", false), ("identity", true), ("Identity", true), ("", true)]
    {
        let (answer, document) = problem(post(&gateway, JSON, "{").header("content-encoding", coding)).await;
        let expected = if accepted { (400, "INVALID_JSON") } else { (415, "UNSUPPORTED_MEDIA_TYPE") };
        assert_eq!(summary(&document), expected, "{coding}");
        assert_eq!(answer.headers().get("accept-encoding").is_some_and(|value| value == "identity"), !accepted, "{coding}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_with_and_without_its_length() {
    let gateway = start(&[]).await;
    let (_, document) = problem(post(&gateway, JSON, vec![b' '; 3_000_000])).await;
    assert_eq!((summary(&document), &document["metadata"]["limit"]), ((413, "TOO_LARGE"), &"1048576".into()));
    let chunks = (0..30).map(|_| Ok::<_, std::io::Error>(vec![b' '; 100_000]));
    let chunked = reqwest::Body::wrap_stream(tokio_stream::iter(chunks));
    assert_eq!(summary(&problem(post(&gateway, JSON, chunked)).await.1), (413, "TOO_LARGE"));
}

#[tokio::test]
async fn a_401_has_the_authentication_scheme() {
    let gateway = start(&[]).await;
    let (answer, document) = problem(Client::new().get(gateway.url("/api/projects"))).await;
    assert_eq!(summary(&document), (401, "TOKEN_MISSING"));
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    for value in ["Basic YTpi", "Bearer", "Bearer ", "x"] {
        let (_, document) = problem(Client::new().get(gateway.url("/api/projects")).header("authorization", value)).await;
        assert_eq!(summary(&document), (401, "TOKEN_INVALID"), "{value}");
    }
}

#[tokio::test]
async fn an_unreachable_service_is_a_503_without_an_address() {
    let gateway = start(&[]).await;
    let (answer, document) = problem(Client::new().get(gateway.url("/.well-known/jwks.json"))).await;
    assert_eq!(summary(&document), (503, "UNAVAILABLE"));
    assert_eq!(answer.headers()["retry-after"], "1");
    assert!(!document.to_string().contains("127.0.0.1"), "{document}");
}

/// Also what no handler refuses has the form that clients of OAuth expect, and keeps its status and headers.
#[tokio::test]
async fn the_routes_of_oauth_answer_with_its_errors() {
    let gateway = start(&[]).await;
    let form = "application/x-www-form-urlencoded";
    let (device, token) = ("/api/auth/device", "/api/auth/device/token");
    let full = "grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=a&client_id=b";
    for (path, kind, body, status, error) in [
        (device, form, "", 400, "invalid_request"),
        (device, JSON, "{}", 415, "invalid_request"),
        (device, form, "client_id=b", 503, "temporarily_unavailable"),
        (token, form, "grant_type=a&grant_type=b", 400, "invalid_request"),
        (token, form, full, 503, "temporarily_unavailable"),
    ] {
        let answer = Client::new().post(gateway.url(path)).header("content-type", kind).body(body).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (status, &HeaderValue::from_static(JSON)),
            "{path} {body}"
        );
        assert_eq!(answer.headers().contains_key("retry-after"), status == 503, "{path} {body}");
        assert!(answer.headers()["cache-control"] == "no-store" && answer.headers().contains_key("x-request-id"));
        let document: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(document["error"], error, "{path} {body}");
        assert!(!document.to_string().contains("127.0.0.1") && document["error_description"].is_string(), "{document}");
    }
}

#[tokio::test]
async fn requests_from_other_origins_are_refused() {
    let gateway = start(&[("BACKLOT_CORS_ORIGINS", "https://builder.example")]).await;
    let from =
        |headers: &[(&str, &str)]| headers.iter().fold(post(&gateway, JSON, "{"), |request, (name, value)| request.header(*name, *value));
    for refused in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("origin", "https://evil.example")],
        &[("sec-fetch-site", "same-site"), ("origin", "http://x.localhost")],
    ] {
        assert_eq!(summary(&problem(from(refused)).await.1), (403, "CROSS_ORIGIN"), "{refused:?}");
    }
    let own = gateway.url("").trim_end_matches('/').to_owned();
    for allowed in [
        &[("sec-fetch-site", "same-origin")][..],
        &[("origin", own.as_str())],
        &[("origin", "https://builder.example"), ("sec-fetch-site", "cross-site")],
        &[],
    ] {
        assert_eq!(summary(&problem(from(allowed)).await.1), (400, "INVALID_JSON"), "{allowed:?}");
    }
}

#[tokio::test]
async fn listed_origins_may_read_refusals() {
    let gateway = start(&[("BACKLOT_CORS_ORIGINS", "https://builder.example")]).await;
    let client = Client::new();
    let get = |origin: &'static str| client.get(gateway.url("/api/projects")).header("origin", origin);
    let (answer, _) = problem(get("https://builder.example")).await;
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://builder.example");
    assert_eq!(answer.headers()["access-control-allow-credentials"], "true");
    let (answer, _) = problem(get("https://evil.example")).await;
    assert!(answer.headers().get("access-control-allow-origin").is_none());

    let preflight = client
        .request(Method::OPTIONS, gateway.url("/api/turns"))
        .header("origin", "https://builder.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,sentry-trace")
        .send()
        .await
        .unwrap();
    assert!(preflight.headers()["access-control-allow-headers"].to_str().unwrap().contains("sentry-trace"));
    assert_eq!(preflight.headers()["access-control-max-age"], "7200");
}

#[tokio::test]
async fn the_edge_limit_refuses_a_flood() {
    let gateway = start(&[("BACKLOT_EDGE_PER_SECOND", "1"), ("BACKLOT_EDGE_BURST", "2")]).await;
    let client = Client::new();
    assert_eq!(client.get(gateway.url("/healthz")).send().await.unwrap().status(), 200);
    // The requests are concurrent, so that also on a slow machine they exceed the limit.
    let flood = (0..20).map(|n| client.get(gateway.url("/healthz")).header("x-forwarded-for", format!("203.0.113.{n}")).send());
    let answers: Vec<_> = futures::future::join_all(flood).await.into_iter().map(Result::unwrap).collect();
    let refused = answers.into_iter().find(|answer| answer.status() == 429).expect("too many");
    let (answer, document) = read(refused).await;
    assert_eq!((summary(&document), &document["violated-policies"][0]), ((429, "RATE_LIMITED"), &"edge".into()));
    assert_eq!(answer.headers()["ratelimit-policy"], "\"edge\";q=1;w=1");
    assert!(answer.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn the_trace_and_the_request_id_of_the_client_are_kept() {
    let gateway = start(&[]).await;
    let request = Client::new()
        .get(gateway.url("/api/nothing"))
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .header("x-request-id", "mine-1");
    let (_, document) = problem(request).await;
    assert_eq!((&document["traceId"], &document["requestId"]), (&"4bf92f3577b34da6a3ce929d0e0e4736".into(), &"mine-1".into()));
}
