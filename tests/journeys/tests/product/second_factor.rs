//! A second factor on the pages without scripts, and over the API: it is added, signs in, proves who the person is, and is removed.

use anyhow::{Context as _, Result, ensure};
use auth::testing::totp_code;
use chassis::clock::now;
use futures::future::try_join_all;
use reqwest::{Client, Method, StatusCode, header, redirect::Policy};
use serde_json::{Value, json};
use test_support::{Cluster, Person, canary::Stopwatch, person::PASSWORD};

use crate::{
    access_ends::{SecondGateway, refused},
    session_ends::link_token,
};

/// A page, and the cookie that came with it.
struct Page {
    status: StatusCode,
    html: String,
    cookie: Option<String>,
    location: String,
}

/// Sends a form as a browser does; without fields it gets the page.
async fn page(person: &Person, path: &str, fields: &[(&str, &str)]) -> Result<Page> {
    let http = Client::builder().no_proxy().redirect(Policy::none()).build()?;
    let (method, body) = if fields.is_empty() { (Method::GET, String::new()) } else { (Method::POST, encoded(fields)) };
    let request = http.request(method, format!("{}{path}", person.url)).header(header::COOKIE, &person.cookie);
    let request = request.header("sec-fetch-site", "same-origin").header(header::ORIGIN, &person.url);
    let response = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body).send().await?;
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let cookie = text(header::SET_COOKIE).map(|line| line.split(';').next().unwrap_or_default().to_owned());
    let (status, location) = (response.status(), text(header::LOCATION).unwrap_or_default());
    Ok(Page { status, cookie, location, html: response.text().await? })
}

fn encoded(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

impl Page {
    /// The texts that are shown once.
    fn secrets(&self) -> Vec<String> {
        let parts = self.html.split("<li><code>").skip(1);
        parts.filter_map(|part| part.split_once("</code>")).map(|(text, _)| text.to_owned()).collect()
    }

    fn hidden(&self, name: &str) -> Result<String> {
        let (_, rest) = self.html.split_once(&format!("name=\"{name}\" value=\"")).with_context(|| format!("no {name}"))?;
        Ok(rest.split('"').next().unwrap_or_default().to_owned())
    }
}

/// The code that the app shows now.
fn code(secret: &str) -> String {
    totp_code(secret, now())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_adds_a_second_factor_and_signs_in_with_it_without_scripts() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let path = "/account/second-factor";
    let started = page(&person, path, &[("action", "start")]).await?;
    ensure!(started.status == StatusCode::OK && started.html.contains("<img src=\"data:image/svg+xml;base64,"), "{}", started.status);
    let secret = started.secrets().first().context("a key")?.replace(' ', "");
    let wrong = page(&person, path, &[("action", "confirm"), ("code", "000000")]).await?;
    ensure!(wrong.status == StatusCode::UNAUTHORIZED && wrong.html.contains("role=\"alert\""), "{}", wrong.status);
    let added = page(&person, path, &[("action", "confirm"), ("code", &code(&secret))]).await?;
    let codes = added.secrets();
    ensure!(added.status == StatusCode::OK && codes.len() == 10, "{} {}", added.status, codes.len());
    ensure!(!page(&person, path, &[]).await?.html.contains(&codes[0]), "they are shown once");

    // Two steps on the page.
    let stranger = Person { cookie: String::new(), ..person.clone() };
    let first = page(&stranger, "/account/sign-in", &[("email", &person.email), ("password", PASSWORD), ("next", "sessions")]).await?;
    ensure!(first.status == StatusCode::OK && first.cookie.is_none(), "{}", first.status);
    let token = first.hidden("sign_in_token")?;
    let wrong = page(&stranger, "/account/sign-in", &[("sign_in_token", &token), ("code", "000000")]).await?;
    ensure!(wrong.status == StatusCode::UNAUTHORIZED && wrong.cookie.is_none() && wrong.hidden("sign_in_token")? == token);
    let fields = [("sign_in_token", token.as_str()), ("code", codes[0].as_str()), ("next", "sessions")];
    let done = page(&stranger, "/account/sign-in", &fields).await?;
    ensure!(done.status == StatusCode::SEE_OTHER && done.location == "/account/sessions", "{} {}", done.status, done.location);
    ensure!(page(&stranger, "/account/sign-in", &fields).await?.html.contains("Sign in again"), "once");

    // The first session never showed the factor.
    let asked = page(&person, path, &[("action", "remove")]).await?;
    ensure!(asked.status == StatusCode::SEE_OTHER && asked.location == "/account/confirm?next=second-factor", "{}", asked.location);
    let confirmed = page(&person, "/account/confirm", &[("code", &codes[1]), ("next", "second-factor")]).await?;
    ensure!(confirmed.status == StatusCode::SEE_OTHER && confirmed.location == path, "{} {}", confirmed.status, confirmed.location);
    let person = Person { cookie: confirmed.cookie.context("a new session")?, ..person };
    let removed = page(&person, path, &[("action", "remove")]).await?;
    ensure!(removed.location == "/account/second-factor?done=removed", "{} {}", removed.status, removed.location);
    cluster.stop().await
}

/// Somebody else has added it, so the owner has neither the factor nor a session.
#[tokio::test(flavor = "multi_thread")]
async fn the_owner_removes_a_new_factor_with_the_link_of_its_mail() -> Result<()> {
    let cluster = Cluster::start().await?;
    let (thief, factors, path) = (cluster.person().await?, "/account/second-factor", "/account/remove-factor");
    let secret = page(&thief, factors, &[("action", "start")]).await?.secrets().first().context("a key")?.replace(' ', "");
    page(&thief, factors, &[("action", "confirm"), ("code", &code(&secret))]).await?;
    let token = link_token(&cluster, &thief.email, path).await;
    let owner = Person { cookie: String::new(), ..thief.clone() };
    let opened = page(&owner, &format!("{path}?token={token}"), &[]).await?;
    ensure!(opened.status == StatusCode::SEE_OTHER && opened.location == path, "{} {}", opened.status, opened.location);
    let owner = Person { cookie: opened.cookie.context("the token")?, ..owner };
    ensure!(page(&owner, path, &[]).await?.hidden("token")? == token, "opening the page changes nothing");
    let removed = page(&owner, path, &[("token", &token)]).await?;
    ensure!(removed.status == StatusCode::OK && removed.html.contains("The second factor is removed"), "{}", removed.html);
    let again = page(&owner, path, &[("token", &token)]).await?;
    ensure!(again.status == StatusCode::BAD_REQUEST && again.html.contains("The link is no longer valid"), "{}", again.html);
    let signed_in = page(&owner, "/account/sign-in", &[("email", &owner.email), ("password", PASSWORD)]).await?;
    ensure!(signed_in.status == StatusCode::SEE_OTHER && signed_in.location == "/", "{} {}", signed_in.status, signed_in.location);
    cluster.stop().await
}

/// Over the pages, and then in each service that the person uses. A session that began before, perhaps with a stolen password, ends in a second at
/// two gateways. It has no streams.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_adds_the_second_factor_that_a_site_requires() -> Result<()> {
    let cluster = Cluster::with(&[("BACKLOT_SECOND_FACTOR", "required")]).await?;
    let second = SecondGateway::start(&cluster).await?;
    let person = cluster.person().await?;
    let missing = |(status, problem): (StatusCode, Value)| (status, problem["reason"].as_str() == Some("SECOND_FACTOR_MISSING"));
    for url in ["/api/projects", "/api/auth/sessions", "/api/agents"] {
        ensure!(missing(person.refused(Method::GET, url, json!({})).await?) == (StatusCode::FORBIDDEN, true), "{url}");
    }
    let stranger = Person { cookie: String::new(), ..person.clone() };
    let fields = [("email", person.email.as_str()), ("password", PASSWORD), ("next", "sessions")];
    let signed_in = page(&stranger, "/account/sign-in", &fields).await?;
    ensure!(signed_in.location == "/account/second-factor?required=yes&next=sessions", "{} {}", signed_in.status, signed_in.location);
    let far = Person { url: second.url.clone(), ..person.clone() };
    let earlier = [person.clone(), far.clone(), far.with_token().await?];
    for session in &earlier {
        let refusal = session.refused(Method::GET, "/api/projects", json!({})).await?;
        ensure!(missing(refusal) == (StatusCode::FORBIDDEN, true), "{}", session.url);
    }
    let person = Person { cookie: signed_in.cookie.context("a session")?, ..person };
    let asked = page(&person, "/account/sessions", &[]).await?;
    ensure!(asked.location == signed_in.location, "{} {}", asked.status, asked.location);
    let why = page(&person, &asked.location, &[]).await?;
    ensure!(why.status == StatusCode::OK && why.html.contains("This site requires a second factor."), "{}", why.status);

    let secret = page(&person, &asked.location, &[("action", "start")]).await?.secrets().first().context("a key")?.replace(' ', "");
    let added = page(&person, &asked.location, &[("action", "confirm"), ("code", &code(&secret))]).await?;
    let since = Stopwatch::start();
    try_join_all(earlier.iter().map(|session| refused(session, since))).await?;
    ensure!(added.secrets().len() == 10, "{} {}", added.status, added.html);
    ensure!(added.html.contains("<a href=\"/account/sessions\">Continue</a>"), "{}", added.html);
    for url in ["/api/projects", "/api/auth/sessions", "/api/agents"] {
        person.get(url).await?;
    }
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_completes_a_sign_in_over_the_api() -> Result<()> {
    let cluster = Cluster::start().await?;
    let person = cluster.person().await?;
    let secret = person.post("/api/auth/totp", json!({})).await?["secret"].as_str().context("a secret")?.to_owned();
    let added = person.post("/api/auth/totp:confirm", json!({ "code": code(&secret) })).await?;
    let codes: Vec<String> = serde_json::from_value(added["recoveryCodes"].clone())?;
    let factors = person.get("/api/auth/factors").await?;
    ensure!(factors["recoveryCodes"] == 10 && factors["totpCreateTime"].is_string(), "{factors}");

    let stranger = Person { cookie: String::new(), ..person.clone() };
    let sign_in = json!({ "email": person.email, "password": PASSWORD, "tokenInAnswer": true });
    let (status, problem) = stranger.refused(Method::POST, "/api/auth/signin", sign_in).await?;
    ensure!((status, problem["reason"].as_str()) == (StatusCode::UNAUTHORIZED, Some("SECOND_FACTOR_REQUIRED")), "{problem}");
    let token = problem["metadata"]["sign_in_token"].as_str().context("a token")?;
    let (status, problem) = stranger.refused(Method::POST, "/api/auth/token", json!({ "sessionToken": token })).await?;
    ensure!((status, problem["reason"].as_str()) == (StatusCode::UNAUTHORIZED, Some("SESSION_ENDED")), "no session yet: {problem}");
    let complete = |code: &str| json!({ "signInToken": token, "code": code, "tokenInAnswer": true });
    let (status, problem) = stranger.refused(Method::POST, "/api/auth/signin:verify", complete("000000")).await?;
    ensure!((status, problem["reason"].as_str()) == (StatusCode::UNAUTHORIZED, Some("BAD_SECOND_FACTOR")), "{problem}");
    let begun = stranger.post("/api/auth/signin:verify", complete(&codes[0])).await?;
    let session = begun["sessionToken"].as_str().context("a session")?;
    let access: Value = stranger.post("/api/auth/token", json!({ "sessionToken": session })).await?;
    ensure!(access["accessToken"].is_string(), "{access}");

    let (status, problem) = person.refused(Method::POST, "/api/auth/recovery-codes", json!({})).await?;
    ensure!((status, problem["reason"].as_str()) == (StatusCode::FORBIDDEN, Some("STEP_UP_REQUIRED")), "{problem}");
    let renewed =
        person.request(Method::POST, "/api/auth/step-up").json(&json!({ "code": codes[1], "tokenInAnswer": true })).send().await?;
    ensure!(renewed.status() == StatusCode::OK, "{}", renewed.status());
    cluster.stop().await
}
