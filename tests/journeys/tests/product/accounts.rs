//! Accounts by mail, over HTTP: the pages that a person uses without scripts, and what a stranger can learn from the answers.

use std::{collections::BTreeMap, time::Duration};

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
pub(crate) struct Browser<'a> {
    cluster: &'a Cluster,
    http: Client,
}

/// A page with its form.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) html: String,
    cookies: Vec<String>,
    pub(crate) location: String,
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
    pub(crate) fn new(cluster: &'a Cluster) -> Result<Self> {
        Ok(Self { cluster, http: Client::builder().no_proxy().redirect(Policy::none()).build()? })
    }

    pub(crate) async fn get(&self, path: &str, cookie: &str) -> Result<Page> {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.cluster.url) };
        Page::read(self.http.get(url).header(header::COOKIE, cookie).send().await?).await
    }

    /// Sends a form as browsers do.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Result<Page> {
        self.post_as("", path, fields).await
    }

    /// The same with the cookie of a session.
    pub(crate) async fn post_as(&self, cookie: &str, path: &str, fields: &[(&str, &str)]) -> Result<Page> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request =
            self.http.post(format!("{}{path}", self.cluster.url)).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request =
            request.header("sec-fetch-site", "same-origin").header(header::ORIGIN, &self.cluster.url).header(header::COOKIE, cookie);
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
        eventually(LIMIT, || async {
            let all = self.cluster.mails();
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
    let fields = [("email", "ada@example.com"), ("password", "passwordpassword")];
    let weak = browser.post("/account/sign-up", &fields).await?;
    ensure!(
        weak.status == StatusCode::BAD_REQUEST && weak.html.contains("role=\"alert\"") && weak.html.contains("value=\"ada@example.com\"")
    );
    ensure!(!weak.html.contains("value=\"passwordpassword\""), "a password is never written back");
    let asked = browser.post("/account/sign-up", &[fields[0], ("password", PASSWORD)]).await?;
    ensure!(asked.status == StatusCode::OK && asked.cookies.is_empty() && asked.html.contains("Check your mail"), "{}", asked.html);

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
    for (password, text) in [("", "must be the password of the sign-up"), (NEW_PASSWORD, "the password is wrong")] {
        let wrong = browser.post("/account/verify", &[("token", page.token()?), ("password", password)]).await?;
        ensure!(wrong.html.contains("role=\"alert\"") && wrong.token()? == page.token()?, "{text}: {} {}", wrong.status, wrong.html);
    }
    let confirmed = browser.post("/account/verify", &[("token", page.token()?), ("password", PASSWORD)]).await?;
    ensure!(confirmed.status == StatusCode::OK && confirmed.html.contains("ada@example.com is confirmed"), "{}", confirmed.html);
    ensure!(confirmed.cookies.iter().all(|cookie| cookie.starts_with("backlot_link=;")), "nobody is signed in");
    for again in [
        browser.post("/account/verify", &[("token", page.token()?), ("password", PASSWORD)]).await?,
        browser.open(&link).await?,
        browser.open(&format!("{}/account/verify?token={}", cluster.url, "x".repeat(43))).await?,
    ] {
        ensure!(again.status == StatusCode::BAD_REQUEST && again.html.contains("The link has been used"), "{}", again.html);
        ensure!(!again.html.contains("<form") && again.html.contains("create the account again"), "{}", again.html);
    }

    let signed_in = browser.post("/account/sign-in", &[fields[0], ("password", PASSWORD)]).await?;
    ensure!(signed_in.status == StatusCode::SEE_OTHER && signed_in.location == "/", "{}", signed_in.status);
    let session = signed_in.cookies.first().context("a cookie")?.split(';').next().unwrap_or_default().to_owned();
    ensure!(browser.get("/api/auth/session", &session).await?.status == StatusCode::OK);

    let asked = browser.post("/account/reset", &[("email", "ADA@example.com")]).await?;
    ensure!(asked.status == StatusCode::OK && asked.html.contains("Check your mail"));
    let (_, link) = browser.mails(2).await.remove(1);
    let page = browser.open(&link).await?;
    let weak = browser.post("/account/reset/confirm", &[("token", page.token()?), ("password", "passwordpassword")]).await?;
    ensure!(weak.status == StatusCode::BAD_REQUEST && weak.token()? == page.token()?, "the page can be sent again");
    let changed = browser.post("/account/reset/confirm", &[("token", page.token()?), ("password", NEW_PASSWORD)]).await?;
    ensure!(changed.status == StatusCode::OK && changed.html.contains("Your password is changed"), "{}", changed.html);
    for again in
        [browser.post("/account/reset/confirm", &[("token", page.token()?), ("password", NEW_PASSWORD)]).await?, browser.open(&link).await?]
    {
        ensure!(again.status == StatusCode::BAD_REQUEST && again.html.contains("The link has been used"), "{}", again.html);
        ensure!(!again.html.contains("<form") && again.html.contains("Otherwise ask for a new link."), "{}", again.html);
    }
    let ended = || async { (browser.get("/api/auth/session", &session).await.ok()?.status == StatusCode::UNAUTHORIZED).then_some(()) };
    eventually(LIMIT, ended).await;
    let signed_in = browser.post("/account/sign-in", &[fields[0], ("password", NEW_PASSWORD)]).await?;
    ensure!(signed_in.status == StatusCode::SEE_OTHER);
    ensure!(browser.mails(3).await[2].0 == "Your password was changed");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_verifies_the_address_of_the_own_account_only() -> Result<()> {
    let cluster = Cluster::start().await?;
    let browser = Browser::new(&cluster)?;
    let mine = browser.post("/account/sign-up", &[("email", "ada@example.com"), ("password", PASSWORD)]).await?.session()?;
    let send = browser.http.post(format!("{}/api/auth/verify/send", cluster.url)).header(header::COOKIE, &mine).json(&json!({}));
    ensure!(send.send().await?.status() == StatusCode::ACCEPTED);
    let (_, link) = browser.mails(1).await.remove(0);
    ensure!(link.starts_with(&format!("{}/account/verify-email?token=", cluster.url)), "{link}");
    let stranger = browser.open(&link).await?;
    ensure!(
        stranger.html.contains("Sign in to confirm your e-mail address")
            && stranger.token().is_err()
            && stranger.html.contains("/account/reset"),
        "{}",
        stranger.html
    );
    let first = browser.get(&link, &mine).await?;
    let token = first.cookies.first().context("a cookie")?.split(';').next().unwrap_or_default().to_owned();
    let page = browser.get(&first.location, &format!("{token}; {mine}")).await?;
    // The page of a sign-up, to which mails of the release before lead, leads on.
    let other = browser.post("/account/verify", &[("token", page.token()?), ("password", PASSWORD)]).await?;
    ensure!((other.status, other.location.as_str()) == (StatusCode::SEE_OTHER, "/account/verify-email"), "{}", other.status);
    let confirmed = browser.post_as(&mine, "/account/verify-email", &[("token", page.token()?)]).await?;
    ensure!(confirmed.status == StatusCode::OK && confirmed.html.contains("ada@example.com is confirmed"), "{}", confirmed.html);
    for again in [
        browser.post_as(&mine, "/account/verify-email", &[("token", page.token()?)]).await?,
        browser.get("/account/verify-email", &format!("{token}; {mine}")).await?,
    ] {
        ensure!(again.status == StatusCode::BAD_REQUEST && again.html.contains("The link has been used"), "{}", again.html);
        ensure!(again.token().is_err() && again.html.contains("name=\"action\" value=\"send\""), "{}", again.html);
    }
    let sent = browser.post_as(&mine, "/account/verify-email", &[("action", "send")]).await?;
    ensure!(sent.location == "/account/verify-email?done=sent", "{} {}", sent.status, sent.html);
    let sent = browser.get(&sent.location, &mine).await?;
    ensure!(sent.html.contains("A mail is on its way") && !sent.html.contains("value=\"send\""), "{}", sent.html);
    cluster.stop().await
}

impl Page {
    /// The cookie of a new session.
    pub(crate) fn session(&self) -> Result<String> {
        Ok(self.cookies.first().context("a cookie")?.split(';').next().unwrap_or_default().to_owned())
    }

    /// The value of the hidden field after a text.
    pub(crate) fn hidden_after(&self, text: &str, name: &str) -> Result<&str> {
        let (_, rest) = self.html.split_once(text).with_context(|| format!("no {text} in {}", self.html))?;
        let (_, rest) = rest.split_once(&format!("name=\"{name}\" value=\"")).context("no field")?;
        rest.split('"').next().context("no end")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_and_ends_sessions_and_changes_the_password_without_scripts() -> Result<()> {
    let cluster = Cluster::start().await?;
    let browser = Browser::new(&cluster)?;
    let who = ("email", "ada@example.com");
    ensure!(browser.post("/account/sign-up", &[who, ("password", PASSWORD)]).await?.status == StatusCode::SEE_OTHER);

    let asked = browser.get("/account/sessions", "").await?;
    ensure!(asked.location == "/account/sign-in?next=sessions", "{}", asked.location);
    let fields = [who, ("password", PASSWORD), ("next", "sessions")];
    let signed_in = browser.post("/account/sign-in", &fields).await?;
    ensure!(signed_in.location == "/account/sessions", "{}", signed_in.location);
    let mine = signed_in.session()?;
    let away = browser.post("/account/sign-in", &[who, ("password", PASSWORD), ("next", "//evil.example")]).await?;
    ensure!(away.location == "/", "{}", away.location);
    let other = away.session()?;

    let list = browser.get("/account/sessions", &mine).await?;
    ensure!(list.html.matches("<th scope=\"row\">").count() == 3 && list.html.matches("(this session)").count() == 1, "{}", list.html);
    let current = list.hidden_after("(this session)", "session")?.to_owned();
    let ids: Vec<&str> = list.html.split("name=\"session\" value=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let theirs = ids.iter().find(|id| **id != current).context("another session")?;
    let end = [("action", "end"), ("session", theirs)];
    let ended = browser.post_as(&mine, "/account/sessions", &end).await?;
    ensure!((ended.status, ended.location.as_str()) == (StatusCode::SEE_OTHER, "/account/sessions?done=ended"));
    ensure!(browser.get(&ended.location, &mine).await?.html.contains("The session has ended."));
    let again = browser.post_as(&mine, "/account/sessions", &end).await?;
    ensure!(again.status == StatusCode::NOT_FOUND && again.html.contains("This session has already ended."), "{}", again.html);
    ensure!(browser.post_as(&mine, "/account/sessions", &[("action", "x")]).await?.status == StatusCode::BAD_REQUEST);
    browser.post_as(&mine, "/account/sessions", &[("action", "others")]).await?;
    let out = || async { (browser.get("/account/sessions", &other).await.ok()?.status == StatusCode::SEE_OTHER).then_some(()) };
    eventually(LIMIT, out).await;

    let wrong = [("current_password", "no"), ("password", NEW_PASSWORD)];
    let refused = browser.post_as(&mine, "/account/password", &wrong).await?;
    ensure!(refused.status == StatusCode::UNAUTHORIZED && refused.html.contains("The current password is wrong."), "{}", refused.html);
    let changed = browser.post_as(&mine, "/account/password", &[("current_password", PASSWORD), wrong[1]]).await?;
    ensure!(changed.location == "/account/password?done=changed", "{} {}", changed.status, changed.html);
    let mut next = changed.session()?;
    ensure!(browser.get("/account/sessions", &mine).await?.status == StatusCode::SEE_OTHER, "the session before has ended");
    let refused = browser.post_as(&next, "/account/confirm", &[("password", PASSWORD), ("next", "keys")]).await?;
    ensure!(refused.status == StatusCode::UNAUTHORIZED && refused.hidden_after("role=\"alert\"", "next")? == "keys", "{}", refused.html);
    let confirmed = browser.post_as(&next, "/account/confirm", &[("password", NEW_PASSWORD), ("next", "keys")]).await?;
    ensure!(confirmed.location == "/account/keys", "{} {}", confirmed.status, confirmed.html);
    let before = std::mem::replace(&mut next, confirmed.session()?);
    ensure!(browser.get("/account/keys", &before).await?.status == StatusCode::SEE_OTHER, "the proof begins another session");
    let key = [("action", "create"), ("name", "ci"), ("scope", "read"), ("projects", ""), ("days", "30")];
    let made = browser.post_as(&next, "/account/keys", &key).await?;
    ensure!(made.status == StatusCode::OK && made.html.contains("<code>blt_pat_"), "{}", made.html);
    let listed = browser.get("/account/keys", &next).await?;
    ensure!(listed.html.contains("<th scope=\"row\">ci</th>") && !listed.html.contains("blt_pat_"), "shown once: {}", listed.html);
    let id = listed.hidden_after("<th scope=\"row\">ci</th>", "key")?;
    let deleted = browser.post_as(&next, "/account/keys", &[("action", "delete"), ("key", id)]).await?;
    ensure!(deleted.location == "/account/keys?done=deleted", "{}", deleted.html);
    let wrong_key = browser.post_as(&next, "/account/keys", &[key[0], ("name", " "), ("scope", "all"), ("days", "x")]).await?;
    ensure!(wrong_key.status == StatusCode::BAD_REQUEST && wrong_key.html.contains("role=\"alert\""), "{}", wrong_key.html);

    let all = browser.post_as(&next, "/account/sessions", &[("action", "all")]).await?;
    ensure!(all.location == "/account/sign-in" && all.session()?.ends_with('='), "{:?}", all.cookies);

    let back = browser.post("/account/sign-in", &[who, wrong[1]]).await?.session()?;
    let out = browser.post_as(&back, "/account/sign-out", &[]).await?;
    ensure!(out.location == "/account/sign-in" && out.session()?.ends_with('='), "{:?}", out.cookies);
    ensure!(browser.get("/account/sessions", &back).await?.status == StatusCode::SEE_OTHER, "the session has ended");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_changes_the_e_mail_address_without_scripts() -> Result<()> {
    let cluster = Cluster::start().await?;
    let browser = Browser::new(&cluster)?;
    browser.post("/account/sign-up", &[("email", "ada@example.com"), ("password", PASSWORD)]).await?;
    let eve = browser.post("/account/sign-up", &[("email", "eve@example.com"), ("password", PASSWORD)]).await?.session()?;
    let mine = browser.post("/account/sign-in", &[("email", "ada@example.com"), ("password", PASSWORD)]).await?.session()?;
    let asked = browser.get("/account/email", &mine).await?.html;
    ensure!(asked.contains("The address of your account is ada@example.com.") && !asked.contains("Open the link in the mail"), "{asked}");
    let wrong = browser.post_as(&mine, "/account/email", &[("new_email", "grace")]).await?;
    ensure!(
        wrong.status == StatusCode::BAD_REQUEST && wrong.html.contains("The new e-mail address must contain exactly one @."),
        "{}",
        wrong.html
    );
    for email in ["eve@example.com", "grace&co@example.com"] {
        let sent = browser.post_as(&mine, "/account/email", &[("new_email", email)]).await?;
        ensure!(sent.location == "/account/email?done=sent", "the same for every address: {} {}", sent.status, sent.html);
        ensure!(browser.get(&sent.location, &mine).await?.html.contains("Open the link in the mail"));
    }
    // Nobody has verified the address of Eve, so both mails have a link.
    let mails = browser.mails(2).await;
    let (mut link, new) = (None, "grace&amp;co@example.com");
    for (subject, address) in &mails {
        ensure!(subject == "Confirm your new e-mail address", "{subject}");
        let token = browser.get(address, "").await?.session()?;
        let page = browser.get("/account/new-email", &format!("{token}; {mine}")).await?;
        link = link.or(Some(address).filter(|_| page.html.contains(new)));
    }
    let link = link.context("a mail to the new address")?;
    ensure!(link.starts_with(&format!("{}/account/new-email?token=", cluster.url)), "{link}");

    // In a browser without a session the link leads to the sign-in and back.
    let first = browser.get(link, "").await?;
    ensure!((first.status, first.location.as_str()) == (StatusCode::SEE_OTHER, "/account/new-email"), "{}", first.location);
    let token = first.session()?;
    let asked = browser.get(&first.location, &token).await?;
    ensure!(asked.location == "/account/sign-in?next=new-email", "{}", asked.location);
    let page = browser.get(&first.location, &format!("{token}; {mine}")).await?;
    ensure!(page.html.contains("Confirm your new e-mail address"), "{}", page.html);
    ensure!(page.html.contains("The address of your account is ada@example.com.") && page.html.contains(new), "{}", page.html);
    let other = browser.get(&first.location, &format!("{token}; {eve}")).await?;
    ensure!(
        other.status == StatusCode::BAD_REQUEST
            && !other.html.contains("grace&amp;co")
            && !other.html.contains("name=\"token\"")
            && other.html.contains("<a href=\"/account/email\">Enter the new address again</a>"),
        "{}",
        other.html
    );
    ensure!(browser.get("/account/email", &mine).await?.html.contains("ada@example.com"), "opening the page changes nothing");
    let changed = browser.post_as(&mine, "/account/new-email", &[("token", page.token()?)]).await?;
    ensure!(changed.location == "/account/email?done=changed", "{} {}", changed.status, changed.html);
    let next = changed.session()?;
    ensure!(next != mine && browser.get(&changed.location, &next).await?.html.contains("grace&amp;co@example.com"));
    ensure!(browser.get("/account/email", &mine).await?.status == StatusCode::SEE_OTHER, "the session before has ended");
    let again = browser.post_as(&next, "/account/new-email", &[("token", page.token()?)]).await?;
    ensure!(again.status == StatusCode::BAD_REQUEST && again.html.contains("The link has been used"), "{}", again.html);
    ensure!(
        browser.post("/account/sign-in", &[("email", "ada@example.com"), ("password", PASSWORD)]).await?.status == StatusCode::UNAUTHORIZED
    );
    let subjects: Vec<_> = browser.mails(3).await.into_iter().map(|(subject, _)| subject).collect();
    ensure!(subjects.contains(&"Your e-mail address was changed".to_owned()), "{subjects:?}");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_lets_a_command_line_sign_in_without_scripts() -> Result<()> {
    let cluster = Cluster::start().await?;
    let browser = Browser::new(&cluster)?;
    let who = ("email", "ada@example.com");
    let mine = browser.post("/account/sign-up", &[who, ("password", PASSWORD)]).await?.session()?;
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let json = |page: &Page| serde_json::from_str::<Value>(&page.html).context("no JSON");
    let started = json(&browser.post("/api/auth/device", &[("client_id", "<b>cli</b>")]).await?)?;
    let (device, code) = (started["device_code"].as_str().context("a code")?, started["user_code"].as_str().context("a code")?);
    let client = ("client_id", "<b>cli</b>");
    let ask = async || browser.post("/api/auth/device/token", &[grant, ("device_code", device), client]).await;
    let pending = ask().await?;
    ensure!(pending.status == StatusCode::BAD_REQUEST && json(&pending)?["error"] == "authorization_pending", "{}", pending.html);
    ensure!(json(&ask().await?)?["error"] == "slow_down");
    refuse_as_oauth_does(&browser, grant, device).await?;

    let complete = started["verification_uri_complete"].as_str().context("an address")?;
    ensure!(complete.starts_with(&format!("{}/account/device?", cluster.url)), "{complete}");
    let asked = browser.get(complete, "").await?.location;
    ensure!(asked == format!("/account/sign-in?next=device.{code}"), "{asked}");
    let next = format!("device.{code}");
    let back = browser.post("/account/sign-in", &[who, ("password", PASSWORD), ("next", &next)]).await?;
    ensure!(back.location == format!("/account/device?user_code={code}"), "the sign-in leads back to the code: {}", back.location);
    let page = browser.get(complete, &mine).await?;
    let shown = page.html.contains("&lt;b&gt;cli&lt;/b&gt;") && page.html.contains("127.0.0.0/24") && page.html.contains(who.1);
    ensure!(shown && page.html.contains(code), "{}", page.html);
    ensure!(json(&ask().await?)?["error"] == "slow_down", "opening the page decides nothing");
    let wrong = browser.post_as(&mine, "/account/device", &[("action", "find"), ("user_code", "BBBB-BBBB")]).await?;
    ensure!(wrong.status == StatusCode::BAD_REQUEST && wrong.html.contains("There is no such code"), "{}", wrong.html);
    let approved = browser.post_as(&mine, "/account/device", &[("action", "approve"), ("user_code", code)]).await?;
    ensure!(approved.location == "/account/device?done=approved", "{} {}", approved.status, approved.html);
    let decided = browser.get(&approved.location, &mine).await?.html;
    ensure!(decided.contains("The device is connected.") && !decided.contains("name=\"user_code\""), "{decided}");
    let done = ask().await?;
    let tokens = json(&done)?;
    ensure!(done.status == StatusCode::OK && tokens["token_type"] == "Bearer", "{}", done.html);
    let access = tokens["access_token"].as_str().context("a token")?;
    let listed = browser.http.get(format!("{}/api/projects", cluster.url)).bearer_auth(access).send().await?;
    ensure!(listed.status() == StatusCode::OK);
    let refreshed = browser.api("token", json!({ "refreshToken": tokens["refresh_token"] })).await?;
    ensure!(refreshed.status() == StatusCode::OK);
    ensure!(json(&ask().await?)?["error"] == "invalid_grant", "one exchange");
    let metadata = json(&browser.get("/.well-known/oauth-authorization-server", "").await?)?;
    ensure!(metadata["issuer"] == cluster.url.as_str(), "{metadata}");
    for (name, path) in [("device_authorization_endpoint", "/api/auth/device"), ("token_endpoint", "/api/auth/device/token")] {
        ensure!(metadata[name] == format!("{}{path}", cluster.url), "{metadata}");
    }
    cluster.stop().await
}

/// The fields of a form.
type Fields<'a> = &'a [(&'a str, &'a str)];

/// Requests to the two endpoints that the RFCs call invalid. `device` is a code that waits for a decision.
async fn refuse_as_oauth_does(browser: &Browser<'_>, grant: (&str, &str), device: &str) -> Result<()> {
    let (code, client, other) = (("device_code", device), ("client_id", "<b>cli</b>"), ("client_id", "other"));
    let long = "a".repeat(81);
    let rows: [(&str, Fields, &str, &str); 9] = [
        ("", &[], "invalid_request", "client_id: must not be empty"),
        ("", &[("client_id", long.as_str())], "invalid_request", "client_id: must be 1 to 80 characters"),
        ("", &[client, client], "invalid_request", "client_id: must occur once"),
        ("/token", &[code, client], "invalid_request", "grant_type: must not be empty"),
        ("/token", &[("grant_type", "password"), code, client], "unsupported_grant_type", "grant_type must be urn:"),
        ("/token", &[grant, client], "invalid_request", "device_code: must not be empty"),
        ("/token", &[grant, code], "invalid_request", "client_id: must not be empty"),
        ("/token", &[grant, code, other], "invalid_grant", "the code does not exist"),
        ("/token", &[grant, ("device_code", "garbage"), client], "invalid_grant", "the code does not exist"),
    ];
    for (path, fields, error, text) in rows {
        let answer = browser.post(&format!("/api/auth/device{path}"), fields).await?;
        let document: Value = serde_json::from_str(&answer.html)?;
        let described = document["error_description"].as_str().is_some_and(|found| found.starts_with(text));
        ensure!(answer.status == StatusCode::BAD_REQUEST && document["error"] == error && described, "{fields:?}: {document}");
    }
    Ok(())
}

/// What a stranger sees: the status, the headers without those that differ in every answer, and the body.
async fn seen(response: Response) -> Result<(u16, BTreeMap<String, String>, String)> {
    let status = response.status().as_u16();
    let per_request = ["date", "x-request-id", "traceresponse"];
    let headers = response.headers().iter().filter(|(name, _)| !per_request.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        // What remains changes with every request. The name of the policy does not, and another header has its limit.
        (name.to_string(), if name == "ratelimit" { value.split(';').next().unwrap_or_default().to_owned() } else { value })
    });
    let headers = headers.collect();
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
    let verified = browser.api("verify", json!({ "token": token, "password": PASSWORD })).await?;
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
    for path in ["/account/sign-up", "/account/reset", "/account/sign-in"] {
        let mut pages = Vec::new();
        for email in ["ada@example.com", "eve@example.com"] {
            let page = browser.post(path, &[("email", email), ("password", NEW_PASSWORD)]).await?;
            // A page that is shown again has the address that was typed.
            pages.push((page.status, page.html.replace(email, "EMAIL"), page.cookies));
        }
        ensure!(pages[0] == pages[1], "{path}: {pages:#?}");
    }
    cluster.stop().await
}
