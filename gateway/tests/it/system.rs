use reqwest::{Client, Method};
use serde_json::Value;

use crate::harness::start;

async fn json(url: String) -> (u16, Value) {
    let answer = Client::new().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn health_and_readiness_are_different() {
    let gateway = start(&[]).await;
    assert_eq!(json(gateway.url("/healthz")).await.0, 200);
    let (status, body) = json(gateway.url("/readyz")).await;
    assert_eq!((status, &body["ready"], &body["services"]["auth"]), (503, &false.into(), &false.into()));
}

#[tokio::test]
async fn the_openapi_document_is_served() {
    let gateway = start(&[]).await;
    let (status, body) = json(gateway.url("/openapi.json")).await;
    assert_eq!((status, body["openapi"].as_str()), (200, Some("3.1.0")));
    assert_eq!(body["servers"][0]["url"], gateway.url(""));
}

#[tokio::test]
async fn metrics_have_their_own_listener() {
    let gateway = start(&[]).await;
    let client = Client::new();
    for (url, status) in [
        (format!("http://{}/metrics", gateway.metrics), 200),
        (gateway.url("/metrics"), 404),
        (format!("http://{}/metrics", gateway.preview), 404),
        (format!("http://{}/", gateway.metrics), 404),
        (format!("http://{}/healthz", gateway.metrics), 404),
        (format!("http://{}/api/projects", gateway.metrics), 404),
    ] {
        // Prometheus may use any host name.
        let is_own = url.contains(&gateway.metrics.to_string());
        let name = if is_own { "gateway.internal" } else { "localhost" };
        let answer = client.get(&url).header("host", name).send().await.unwrap();
        assert_eq!(answer.status(), status, "{url}");
        if status == 200 {
            assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
        }
    }
    let refused = client.post(format!("http://{}/metrics", gateway.metrics)).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["allow"].to_str().unwrap()), (405, "GET,HEAD"));
}

#[tokio::test]
async fn the_page_has_a_strict_policy() {
    let gateway = start(&[]).await;
    let client = Client::new();
    let page = client.get(gateway.url("/")).send().await.unwrap();
    assert_eq!((page.status().as_u16(), page.headers()["content-type"].to_str().unwrap()), (200, "text/html; charset=utf-8"));
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains(&format!("frame-src http://*.localhost:{}", gateway.preview.port())), "{policy}");
    assert!(policy.starts_with("default-src 'none';"));
    for (name, value) in [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"), ("cache-control", "no-cache")] {
        assert_eq!(page.headers()[name], value);
    }
    let etag = page.headers()["etag"].clone();
    let repeated = client.get(gateway.url("/")).header("if-none-match", etag).send().await.unwrap();
    assert_eq!(repeated.status(), 304);
}

#[tokio::test]
async fn answers_that_are_no_pages_show_nothing_in_a_browser() {
    let gateway = start(&[]).await;
    for (method, path, status) in [
        (Method::GET, "/api/projects", 401),
        (Method::GET, "/openapi.json", 200),
        (Method::GET, "/healthz", 200),
        (Method::GET, "/absent", 404),
        (Method::POST, "/", 405),
        (Method::GET, "/page/app.js", 200),
    ] {
        let answer = Client::new().request(method, gateway.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        for part in ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
    }
}

#[tokio::test]
async fn json_is_not_cached_and_https_has_hsts() {
    for (subdomains, hsts) in [("0", "max-age=31536000"), ("1", "max-age=31536000; includeSubDomains")] {
        let gateway = start(&[
            ("BACKLOT_PUBLIC_URL", "https://apps.example"),
            ("BACKLOT_PREVIEW_URL", "https://{preview}.apps.example"),
            ("BACKLOT_HSTS_SUBDOMAINS", subdomains),
        ])
        .await;
        let answer = Client::new().get(gateway.url("/api/projects")).send().await.unwrap();
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers()["strict-transport-security"], hsts);
    }
}

#[tokio::test]
async fn the_preview_listener_serves_only_previews() {
    for (setting, policy, resource) in [
        (None, "frame-ancestors http://", "same-origin"),
        (Some(("BACKLOT_PREVIEW_URL", "http://127.0.0.1:9")), "sandbox allow-scripts allow-forms; frame-ancestors http://", "cross-origin"),
    ] {
        let gateway = start(setting.as_slice()).await;
        let client = Client::new();
        for path in ["/", "/healthz", "/api/projects", "/page/app.js", "/p/abcdefghijklmnopqrstuvwx2/"] {
            let answer = client.get(format!("http://{}{path}", gateway.preview)).send().await.unwrap();
            assert_eq!(answer.status(), 404, "{path}");
            let policy_sent = answer.headers()["content-security-policy"].to_str().unwrap();
            assert!(policy_sent.starts_with(policy) && policy_sent.contains("http://localhost:"), "{policy_sent}");
            assert_eq!(answer.headers()["cross-origin-resource-policy"], resource);
            assert_eq!(answer.headers()["cache-control"], "private, no-cache");
            assert_eq!(answer.headers().contains_key("access-control-allow-origin"), setting.is_some());
            assert_eq!(
                (&answer.headers()["x-content-type-options"], &answer.headers()["referrer-policy"]),
                (&"nosniff".parse().unwrap(), &"no-referrer".parse().unwrap())
            );
            assert_eq!(answer.headers()["permissions-policy"], "publickey-credentials-create=(), publickey-credentials-get=()");
            assert!(!answer.headers().contains_key("set-cookie"));
        }
        let answer = client.request(Method::POST, format!("http://{}/", gateway.preview)).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()), (405, "GET,HEAD"));
    }
}
