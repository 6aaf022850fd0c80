//! Heads that are too long. Other calls of the same client still succeed.

use reqwest::{Client, StatusCode};
use serde_json::Value;

use crate::harness::start;

const LONG: usize = 60_000;

#[tokio::test]
async fn a_head_that_is_too_long_is_refused_before_any_call() {
    let gateway = start(&[]).await;
    let client = Client::new();
    let letters = "a".repeat(LONG);
    let preview = format!("http://{}/{letters}", gateway.preview);
    let rows = [
        (preview, None, 414, "URI_TOO_LONG", "path"),
        (gateway.url(&format!("/{letters}")), None, 414, "URI_TOO_LONG", "path"),
        (gateway.url(&format!("/api/projects/x/files/{letters}")), None, 414, "URI_TOO_LONG", "path"),
        (gateway.url(&format!("/api/projects?pageToken={letters}")), None, 414, "URI_TOO_LONG", "query"),
        (gateway.url("/api/projects"), Some("cookie"), 431, "HEADER_TOO_LARGE", "cookie"),
        (gateway.url("/api/projects"), Some("authorization"), 431, "HEADER_TOO_LARGE", "authorization"),
        (gateway.url("/api/projects"), Some("tracestate"), 431, "HEADER_TOO_LARGE", "tracestate"),
        (gateway.url("/api/projects"), Some("baggage"), 431, "HEADER_TOO_LARGE", "baggage"),
        (gateway.url("/api/projects"), Some("idempotency-key"), 431, "HEADER_TOO_LARGE", "idempotency-key"),
    ];
    for (url, header, status, reason, field) in rows {
        let request = client.get(&url);
        let request = if let Some(name) = header { request.header(name, &letters) } else { request };
        let problem: Value = request.send().await.expect("an answer").json().await.expect("a problem");
        assert_eq!((problem["status"].as_u64(), problem["reason"].as_str()), (Some(status), Some(reason)), "{field} {problem}");
        assert_eq!(problem["errors"][0]["field"], field);
        assert!(problem.to_string().len() < 4096, "the document does not repeat the long value");
        assert_eq!(client.get(gateway.url("/healthz")).send().await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_long_head_fails_only_its_own_request() {
    let gateway = start(&[]).await;
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    let letters = "a".repeat(LONG);
    for (length, status) in [(5000, 414), (LONG, 431)] {
        let url = gateway.url(&format!("/{}", &letters[..length]));
        let answers = futures::future::join(client.get(url).send(), client.get(gateway.url("/openapi.json")).send()).await;
        assert_eq!(answers.0.expect("an answer").status(), status, "{length}");
        assert_eq!(answers.1.expect("the other call succeeds").status(), 200);
    }
}
