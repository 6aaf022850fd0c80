//! Front ends on other origins, with the headers of browsers: with a cookie within the same site, with a token from another site.

use std::time::Duration;

use anyhow::{Context, Result};
use chassis::testing::eventually;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use test_support::{Cluster, person::PASSWORD};

const LOCAL: &str = "http://localhost:5173";
const FOREIGN: &str = "https://app.example";
const SEEN_WITHIN: Duration = Duration::from_secs(20);

/// A page in a browser. `name` is the host by which it calls the gateway.
struct Page {
    http: Client,
    url: String,
    name: String,
    origin: &'static str,
    site: &'static str,
}

impl Page {
    fn new(cluster: &Cluster, host: &str, (origin, site): (&'static str, &'static str)) -> Result<Self> {
        let port = cluster.url.rsplit(':').next().context("port")?;
        let http = Client::builder().no_proxy().build()?;
        Ok(Self { http, url: cluster.url.clone(), name: format!("{host}:{port}"), origin, site })
    }

    /// A request of `fetch` in a browser.
    fn fetch(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url)).header("host", &self.name).header("origin", self.origin);
        request.header("sec-fetch-site", self.site).header("sec-fetch-mode", "cors").header("sec-fetch-dest", "empty")
    }

    async fn post(&self, path: &str, body: Value) -> Result<Response> {
        Ok(self.fetch(Method::POST, path).json(&body).send().await?)
    }

    /// The preflight request of a browser.
    async fn preflight(&self, method: &str, headers: &str) -> Result<Response> {
        let request = self.fetch(Method::OPTIONS, "/api/auth/signin");
        Ok(request.header("access-control-request-method", method).header("access-control-request-headers", headers).send().await?)
    }
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

fn account() -> Value {
    json!({ "email": format!("{}@example.com", uuid::Uuid::now_v7().simple()), "password": PASSWORD })
}

fn with_token_request(mut account: Value) -> Value {
    account["tokenInAnswer"] = true.into();
    account
}

async fn cluster() -> Result<Cluster> {
    Cluster::with(&[("BACKLOT_CORS_ORIGINS", &format!("{LOCAL},{FOREIGN}"))]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_same_site_signs_in_with_a_cookie() -> Result<()> {
    let cluster = cluster().await?;
    let page = Page::new(&cluster, "localhost", (LOCAL, "same-site"))?;
    let signed_up = page.post("/api/auth/signup", account()).await?;
    assert_eq!((signed_up.status(), header(&signed_up, "access-control-allow-origin")), (StatusCode::OK, LOCAL.to_owned()));
    assert_eq!(header(&signed_up, "access-control-allow-credentials"), "true");
    let cookie = header(&signed_up, "set-cookie").split(';').next().unwrap_or_default().to_owned();
    let answer: Value = signed_up.json().await?;
    assert!(cookie.starts_with("backlot_session_") && answer.get("sessionToken").is_none(), "{cookie} {answer}");
    for (method, path) in [(Method::GET, "/api/projects"), (Method::POST, "/api/auth/token")] {
        assert_eq!(page.fetch(method, path).header("cookie", &cookie).send().await?.status(), StatusCode::OK, "{path}");
    }
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_signs_in_with_a_token() -> Result<()> {
    let cluster = cluster().await?;
    for (host, page) in [("127.0.0.1", (LOCAL, "cross-site")), ("127.0.0.1", (FOREIGN, "cross-site"))] {
        let page = Page::new(&cluster, host, page)?;
        let preflight = page.preflight("POST", "authorization,content-type").await?;
        assert_eq!((preflight.status(), header(&preflight, "access-control-allow-origin")), (StatusCode::OK, page.origin.to_owned()));
        let allowed = header(&preflight, "access-control-allow-headers").to_ascii_lowercase();
        assert!(allowed.contains("authorization") && allowed.contains("content-type"), "{allowed}");

        let account = account();
        for path in ["/api/auth/signup", "/api/auth/signin"] {
            let signed_in = page.post(path, with_token_request(account.clone())).await?;
            assert_eq!((signed_in.status(), header(&signed_in, "set-cookie")), (StatusCode::OK, String::new()), "{path}");
            let session = signed_in.json::<Value>().await?["sessionToken"].as_str().context("sessionToken")?.to_owned();
            use_tokens(&page, &session).await.with_context(|| format!("{} {path}", page.origin))?;
        }
    }
    cluster.stop().await
}

/// Requests and uses two tokens and signs out, which ends both.
async fn use_tokens(page: &Page, session: &str) -> Result<()> {
    let exchange = async || page.post("/api/auth/token", json!({ "sessionToken": session })).await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let answer: Value = exchange().await?.error_for_status()?.json().await?;
        tokens.push(answer["accessToken"].as_str().context("accessToken")?.to_owned());
    }
    for token in &tokens {
        let listed = page.fetch(Method::GET, "/api/projects").bearer_auth(token).send().await?;
        assert_eq!((listed.status(), header(&listed, "access-control-allow-origin")), (StatusCode::OK, page.origin.to_owned()));
    }
    let turn = page.fetch(Method::POST, "/api/agent/stream").bearer_auth(&tokens[0]);
    let turn = turn.json(&json!({ "draftId": session[..8].to_owned(), "prompt": "a counter" })).send().await?;
    assert!(turn.status() == StatusCode::OK && turn.text().await?.contains("turn.completed"));

    assert_eq!(page.post("/api/auth/signout", json!({ "sessionToken": session })).await?.status(), StatusCode::OK);
    let refused: Value = exchange().await?.json().await?;
    assert_eq!(refused["reason"], "SESSION_ENDED");
    eventually(SEEN_WITHIN, || async {
        let listed = page.fetch(Method::GET, "/api/projects").bearer_auth(&tokens[1]).send().await.ok()?;
        (listed.status() == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requesting_a_token_grants_no_other_access() -> Result<()> {
    let cluster = cluster().await?;
    let foreign_page = Page::new(&cluster, "127.0.0.1", ("https://elsewhere.example", "cross-site"))?;
    let refused = foreign_page.post("/api/auth/signup", with_token_request(account())).await?;
    assert_eq!((refused.status(), header(&refused, "access-control-allow-origin")), (StatusCode::FORBIDDEN, String::new()));
    let refused: Value = refused.json().await?;
    assert_eq!(refused["reason"], "CROSS_ORIGIN");

    // It signs nobody out, and signing out another session does not change the cookie.
    let person = cluster.person().await?;
    let body = with_token_request(json!({ "email": person.email, "password": PASSWORD }));
    let answer = person.post("/api/auth/signin", body).await?;
    let other = person.request(Method::POST, "/api/auth/signout").json(&json!({ "sessionToken": answer["sessionToken"] })).send().await?;
    assert_eq!((other.status(), header(&other, "set-cookie")), (StatusCode::OK, String::new()));
    person.get("/api/auth/session").await.context("the session of the cookie")?;
    for token in ["", "nonsense"] {
        let body = json!({ "sessionToken": token });
        let answer = reqwest::Client::new().post(format!("{}/api/auth/token", cluster.url)).json(&body).send().await?;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{token}");
    }
    cluster.stop().await
}
