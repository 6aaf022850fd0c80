//! Accounts by mail, over HTTP: the pages that a person uses without scripts, and what a stranger can learn from the answers.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chassis::testing::eventually;
use reqwest::{Client, Response, StatusCode, header, redirect::Policy};
use serde_json::{Value, json};
use test_support::Cluster;

const LIMIT: Duration = Duration::from_secs(60);
const PASSWORD: &str = "correct horse battery staple 7";
const NEW_PASSWORD: &str = "another horse battery staple 8";
const BY_MAIL: [(&str, &str); 1] = [("BACKLOT_SIGNUP", "verify")];

/// A browser without scripts.
struct Browser<'a> {
    cluster: &'a Cluster,
    http: Client,
}

/// A page with its form.
struct Page {
    status: StatusCode,
    html: String,
    cookies: Vec<String>,
    location: String,
}

impl Page {
    async fn read(response: Response) -> Result<Self> {
        let headers = response.headers().clone();
        let text = |name: header::HeaderName| headers.get_all(name).iter().filter_map(|v| v.to_str().ok().map(str::to_owned)).collect();
        let (cookies, location): (Vec<String>, Vec<String>) = (text(header::SET_COOKIE), text(header::LOCATION));
        Ok(Self { status: response.status(), cookies, location: location.concat(), html: response.text().await? })
    }

    fn token(&self) -> Result<&str> {
        let (_, rest) = self.html.split_once("name=\"token\" value=\"").context("no token")?;
        rest.split('"').next().context("no end")
    }
}

impl<'a> Browser<'a> {
    fn new(cluster: &'a Cluster) -> Result<Self> {
        Ok(Self { cluster, http: Client::builder().no_proxy().redirect(Policy::none()).build()? })
    }

    async fn get(&self, path: &str, cookie: &str) -> Result<Page> {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.cluster.url) };
        Page::read(self.http.get(url).header(header::COOKIE, cookie).send().await?).await
    }

    /// Sends a form as browsers do.
    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Result<Page> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request =
            self.http.post(format!("{}{path}", self.cluster.url)).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.header("sec-fetch-site", "same-origin").header(header::ORIGIN, &self.cluster.url);
        Page::read(request.body(body).send().await?).await
    }

    /// Opens the link of a mail: the redirect, then the page.
    async fn open(&self, link: &str) -> Result<Page> {
        let first = self.get(link, "").await?;
        ensure!(first.status == StatusCode::SEE_OTHER && !first.location.contains("token"), "{} {}", first.status, first.location);
        let cookie = first.cookies.first().context("a cookie")?.split(';').next().unwrap_or_default().to_owned();
        self.get(&first.location, &cookie).await
    }

    async fn api(&self, path: &str, body: Value) -> Result<Response> {
        Ok(self.http.post(format!("{}/api/auth/{path}", self.cluster.url)).json(&body).send().await?)
    }

    /// The subjects and links of all mails, once there are so many.
    async fn mails(&self, count: usize) -> Vec<(String, String)> {
        let outbox = self.cluster.data_dir().join("outbox");
        eventually(LIMIT, || async {
            let paths = fs::read_dir(&outbox).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
            let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "eml")).collect();
            paths.sort();
            let all: Vec<_> = paths.iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
            (all.len() >= count).then_some(all)
        })
        .await
        .into_iter()
        .map(|mail| {
            let line = |start: &str| mail.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
            (line("Subject: ").replace("Subject: ", ""), line("http"))
        })
        .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_up_and_sets_a_new_password_without_scripts() -> Result<()> {
    let cluster = Cluster::with(&BY_MAIL).await?;
    let browser = Browser::new(&cluster)?;
    let fields = [("email", "ada@example.com"), ("password", "password")];
    let weak = browser.post("/account/sign-up", &fields).await?;
    ensure!(
        weak.status == StatusCode::BAD_REQUEST && weak.html.contains("role=\"alert\"") && weak.html.contains("value=\"ada@example.com\"")
    );
    ensure!(!weak.html.contains("value=\"password\""), "a password is never written back");
    let asked = browser.post("/account/sign-up", &[fields[0], ("password", PASSWORD)]).await?;
    ensure!(asked.status == StatusCode::OK && asked.cookies.is_empty() && asked.html.contains("Look into your mail"), "{}", asked.html);

    let (subject, link) = browser.mails(1).await.remove(0);
    ensure!(
        subject == "Confirm your e-mail address" && link.starts_with(&format!("{}/account/verify?token=", cluster.url)),
        "{subject} {link}"
    );
    let page = browser.open(&link).await?;
    // Scanners open links; only the button confirms.
    browser.open(&link).await?;
    let refused = browser.post("/account/sign-in", &[fields[0], ("password", PASSWORD)]).await?;
    ensure!(refused.status == StatusCode::UNAUTHORIZED && refused.html.contains("role=\"alert\""), "opening the page changes nothing");
    let confirmed = browser.post("/account/verify", &[("token", page.token()?)]).await?;
    ensure!(confirmed.status == StatusCode::OK && confirmed.html.contains("ada@example.com is confirmed"), "{}", confirmed.html);
    ensure!(confirmed.cookies.iter().all(|cookie| cookie.starts_with("backlot_link=;")), "nobody is signed in");
    let again = browser.post("/account/verify", &[("token", page.token()?)]).await?;
    ensure!(again.status == StatusCode::BAD_REQUEST && again.html.contains("The link has been used"), "{}", again.html);

    let signed_in = browser.post("/account/sign-in", &[fields[0], ("password", PASSWORD)]).await?;
    ensure!(signed_in.status == StatusCode::SEE_OTHER && signed_in.location == "/", "{}", signed_in.status);
    let session = signed_in.cookies.first().context("a cookie")?.split(';').next().unwrap_or_default().to_owned();
    ensure!(browser.get("/api/auth/session", &session).await?.status == StatusCode::OK);

    let asked = browser.post("/account/reset", &[("email", "ADA@example.com")]).await?;
    ensure!(asked.status == StatusCode::OK && asked.html.contains("Look into your mail"));
    let (_, link) = browser.mails(2).await.remove(1);
    let page = browser.open(&link).await?;
    let weak = browser.post("/account/reset/confirm", &[("token", page.token()?), ("password", "password")]).await?;
    ensure!(weak.status == StatusCode::BAD_REQUEST && weak.token()? == page.token()?, "the page can be sent again");
    let changed = browser.post("/account/reset/confirm", &[("token", page.token()?), ("password", NEW_PASSWORD)]).await?;
    ensure!(changed.status == StatusCode::OK && changed.html.contains("Your password is changed"), "{}", changed.html);
    let ended = || async { (browser.get("/api/auth/session", &session).await.ok()?.status == StatusCode::UNAUTHORIZED).then_some(()) };
    eventually(LIMIT, ended).await;
    let signed_in = browser.post("/account/sign-in", &[fields[0], ("password", NEW_PASSWORD)]).await?;
    ensure!(signed_in.status == StatusCode::SEE_OTHER);
    ensure!(browser.mails(3).await[2].0 == "Your password was changed");
    cluster.stop().await
}

/// What a stranger sees: the status, the headers without those that differ in every answer, and the body.
async fn seen(response: Response) -> Result<(u16, BTreeMap<String, String>, String)> {
    let status = response.status().as_u16();
    let per_request = ["date", "x-request-id", "traceresponse", "ratelimit"];
    let headers = response.headers().iter().filter(|(name, _)| !per_request.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect();
    let mut body: Value = match response.text().await? {
        text if text.starts_with('{') => serde_json::from_str(&text)?,
        text => text.into(),
    };
    for member in ["requestId", "traceId"] {
        body.as_object_mut().and_then(|document| document.remove(member));
    }
    Ok((status, headers, body.to_string()))
}

/// Row A6 of the reference over HTTP; the work behind the answers is counted in the tests of auth.
#[tokio::test(flavor = "multi_thread")]
async fn a6_the_answers_for_known_and_unknown_addresses_are_the_same() -> Result<()> {
    let cluster = Cluster::with(&BY_MAIL).await?;
    let browser = Browser::new(&cluster)?;
    ensure!(browser.api("signup", json!({ "email": "ada@example.com", "password": PASSWORD })).await?.status() == StatusCode::ACCEPTED);
    let (_, link) = browser.mails(1).await.remove(0);
    let token = link.split_once("?token=").context("a token")?.1.to_owned();
    let verified = browser.api("verify", json!({ "token": token })).await?;
    ensure!(verified.status() == StatusCode::OK && verified.json::<Value>().await? == json!({ "email": "ada@example.com" }));
    for (path, body) in [
        ("signup", json!({ "password": NEW_PASSWORD })),
        ("signup", json!({ "password": NEW_PASSWORD, "tokenInAnswer": true })),
        ("reset", json!({})),
        ("signin", json!({ "password": NEW_PASSWORD })),
    ] {
        let mut answers = Vec::new();
        for email in ["ada@example.com", "eve@example.com"] {
            let mut body = body.clone();
            body["email"] = email.into();
            answers.push(seen(browser.api(path, body).await?).await?);
        }
        ensure!(answers[0] == answers[1], "{path}: {answers:#?}");
        ensure!(path == "signin" || answers[0].0 == 202, "{path}: {answers:#?}");
    }
    for path in ["/account/sign-up", "/account/reset"] {
        let mut pages = Vec::new();
        for email in ["ada@example.com", "eve@example.com"] {
            let page = browser.post(path, &[("email", email), ("password", NEW_PASSWORD)]).await?;
            pages.push((page.status, page.html, page.cookies));
        }
        ensure!(pages[0] == pages[1], "{path}: {pages:#?}");
    }
    cluster.stop().await
}
