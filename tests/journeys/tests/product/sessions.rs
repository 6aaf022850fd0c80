//! Session cookies of browsers, also with additional cookies that a sibling host has set.

use anyhow::{Context as _, Result, ensure};
use chassis::testing::eventually;
use reqwest::{Client, Response, StatusCode, header};
use serde_json::{Value, json};
use test_support::Cluster;

const ENDS_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

struct Browser<'a> {
    cluster: &'a Cluster,
    http: Client,
}

impl Browser<'_> {
    /// Signs up or in with these cookies. Returns the new session cookie.
    async fn sign(&self, route: &str, email: &str, cookies: &[&str]) -> Result<String> {
        let body = json!({ "email": email, "password": "a long enough password" });
        let request = self.http.post(format!("{}/api/auth/{route}", self.cluster.url)).json(&body);
        let answer = with(request, cookies).send().await?.error_for_status()?;
        let set = answer.headers()[header::SET_COOKIE].to_str()?;
        Ok(set.split(';').next().context("a cookie")?.to_owned())
    }

    async fn session(&self, cookies: &[&str]) -> Result<Response> {
        Ok(with(self.http.get(format!("{}/api/auth/session", self.cluster.url)), cookies).send().await?)
    }

    /// The e-mail address of the user of these cookies.
    async fn who(&self, cookies: &[&str]) -> Result<String> {
        let answer: Value = self.session(cookies).await?.error_for_status()?.json().await?;
        Ok(answer["session"]["user"]["email"].as_str().or(answer["user"]["email"].as_str()).context("an address")?.to_owned())
    }
}

fn with(request: reqwest::RequestBuilder, cookies: &[&str]) -> reqwest::RequestBuilder {
    if cookies.is_empty() { request } else { request.header(header::COOKIE, cookies.join("; ")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_cookies_are_ignored_and_cookies_of_two_users_are_refused() -> Result<()> {
    let cluster = Cluster::start().await?;
    let browser = Browser { cluster: &cluster, http: Client::new() };
    let mine = browser.sign("signup", "me@example.com", &[]).await?;
    let theirs = browser.sign("signup", "them@example.com", &[]).await?;
    let name = mine.split('=').next().context("a name")?;
    let junk = format!("{name}=tossed");
    for cookies in [&[mine.as_str()][..], &[&junk, &mine], &[&mine, &junk], &[&junk, &mine, &junk], &[&mine, &mine]] {
        assert_eq!(browser.who(cookies).await?, "me@example.com", "{cookies:?}");
    }
    assert_eq!(browser.session(&[&junk]).await?.status(), StatusCode::UNAUTHORIZED);
    for cookies in [[mine.as_str(), theirs.as_str()], [theirs.as_str(), mine.as_str()]] {
        let refused = browser.session(&cookies).await?;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(refused.json::<Value>().await?["reason"], "SESSION_AMBIGUOUS");
    }
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_ends_the_session_of_its_cookie() -> Result<()> {
    let cluster = Cluster::start().await?;
    let browser = Browser { cluster: &cluster, http: Client::new() };
    let first = browser.sign("signup", "me@example.com", &[]).await?;
    let elsewhere = browser.sign("signin", "me@example.com", &[]).await?;
    let second = browser.sign("signin", "me@example.com", &[&first]).await?;
    eventually(ENDS_WITHIN, || async { (browser.session(&[&first]).await.ok()?.status() == StatusCode::UNAUTHORIZED).then_some(()) }).await;
    for cookie in [&elsewhere, &second] {
        assert_eq!(browser.who(&[cookie]).await?, "me@example.com");
    }
    let other = browser.sign("signup", "them@example.com", &[&second]).await?;
    eventually(ENDS_WITHIN, || async { (browser.session(&[&second]).await.ok()?.status() == StatusCode::UNAUTHORIZED).then_some(()) })
        .await;
    ensure!(browser.who(&[&other]).await? == "them@example.com");
    cluster.stop().await
}
