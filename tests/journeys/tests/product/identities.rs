//! Sign-in with an account at a provider, over HTTP as a browser without scripts does it: from the button to the session, the linked accounts,
//! and invites. The provider is a GitHub that the test starts.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use reqwest::{Client, StatusCode, header, redirect::Policy};
use serde_json::{Value, json};
use test_support::{Cluster, Person};
use tokio::{net::TcpListener, process::Command, sync::Mutex};
use url::{Url, form_urlencoded};

const PASSWORD: &str = "correct horse battery staple 7";
/// The public URL of a cluster with passkeys, which work on localhost, and not on an address. The browser resolves this name to the listener.
pub(crate) const LOCAL_SITE: &str = "http://localhost:4711";

/// Codes with the id of the person and the challenge.
type Codes = Arc<Mutex<BTreeMap<String, (u64, String)>>>;

/// A GitHub. A token is the id of the person.
pub(crate) struct GitHub {
    url: String,
    codes: Codes,
}

impl GitHub {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (url, codes) = (format!("http://{}", listener.local_addr()?), Codes::default());
        let router = Router::new()
            .route("/login/oauth/access_token", post(token))
            .route("/api/v3/user", get(user))
            .route("/api/v3/user/emails", get(emails))
            .with_state(Arc::clone(&codes));
        chassis::task::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, codes })
    }

    /// The person agrees. Returns where the browser goes then.
    async fn authorize(&self, location: &str, id: u64) -> Result<String> {
        let url: Url = location.parse()?;
        ensure!(location.starts_with(&format!("{}/login/oauth/authorize?", self.url)), "{location}");
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let code = uuid::Uuid::new_v4().simple().to_string();
        self.codes.lock().await.insert(code.clone(), (id, query["code_challenge"].clone()));
        Ok(format!("{}?code={code}&state={}", query["redirect_uri"], query["state"]))
    }
}

fn as_json(value: &Value) -> Response {
    ([("content-type", "application/json")], value.to_string()).into_response()
}

async fn token(State(codes): State<Codes>, body: Bytes) -> Response {
    let form: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    match codes.lock().await.remove(&form["code"]) {
        Some((id, _)) if form["code_verifier"].len() == 43 => as_json(&json!({ "access_token": id.to_string(), "token_type": "bearer" })),
        _ => as_json(&json!({ "error": "bad_verification_code" })),
    }
}

fn id_of(headers: &HeaderMap) -> u64 {
    let sent = headers["authorization"].to_str().unwrap_or_default();
    sent.trim_start_matches("Bearer ").parse().unwrap_or_default()
}

async fn user(headers: HeaderMap) -> Response {
    let id = id_of(&headers);
    as_json(&json!({ "id": id, "login": format!("person-{id}"), "name": format!("Person {id}") }))
}

async fn emails(headers: HeaderMap) -> Response {
    as_json(&json!([{ "email": format!("person-{}@example.com", id_of(&headers)), "primary": true, "verified": true }]))
}

/// A browser without scripts, with its cookies.
struct Browser<'a> {
    cluster: &'a Cluster,
    http: Client,
    cookies: BTreeMap<String, String>,
}

struct Page {
    status: StatusCode,
    location: String,
    refresh: String,
    html: String,
}

impl<'a> Browser<'a> {
    fn new(cluster: &'a Cluster) -> Result<Self> {
        Ok(Self { cluster, http: Client::builder().no_proxy().redirect(Policy::none()).build()?, cookies: BTreeMap::new() })
    }

    async fn get(&mut self, path: &str) -> Result<Page> {
        let path = path.strip_prefix(LOCAL_SITE).unwrap_or(path);
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.cluster.url) };
        self.send(self.http.get(url)).await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Page> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request =
            self.http.post(format!("{}{path}", self.cluster.url)).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.header(header::ORIGIN, &self.cluster.url).body(body)).await
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Result<Page> {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let response = request.header(header::COOKIE, cookies.join("; ")).send().await?;
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let (status, location, refresh) = (response.status(), text("location"), text("refresh"));
        for line in response.headers().get_all(header::SET_COOKIE) {
            let (name, rest) = line.to_str()?.split_once('=').context("a cookie")?;
            let value = rest.split(';').next().unwrap_or_default();
            if value.is_empty() {
                self.cookies.remove(name)
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned())
            };
        }
        Ok(Page { status, location, refresh, html: response.text().await? })
    }

    /// From the button to the end.
    async fn sign_in(&mut self, github: &GitHub, id: u64, start: &str) -> Result<Page> {
        let there = self.get(start).await?;
        ensure!(there.status == StatusCode::SEE_OTHER, "{} {}", there.status, there.html);
        let back = github.authorize(&there.location, id).await?;
        self.get(&back).await
    }

    /// Links the account of a person at the provider.
    async fn link(&mut self, github: &GitHub, id: u64) -> Result<()> {
        let there = self.post("/account/identities", &[("action", "link"), ("provider", "github")]).await?;
        let to = there.refresh.strip_prefix("0;url=").with_context(|| format!("no refresh: {}", there.html))?;
        let back = github.authorize(to, id).await?;
        let linked = self.get(&back).await?;
        ensure!(linked.location == "/account/identities?done=linked", "{} {}", linked.status, linked.html);
        Ok(())
    }

    async fn unlink(&mut self, identity: &str) -> Result<()> {
        let unlinked = self.post("/account/identities", &[("action", "unlink"), ("identity", identity)]).await?;
        ensure!(unlinked.location == "/account/identities?done=unlinked", "{} {}", unlinked.status, unlinked.html);
        Ok(())
    }

    async fn session(&mut self) -> Result<Value> {
        Ok(serde_json::from_str(&self.get("/api/auth/session").await?.html)?)
    }
}

fn hidden<'a>(html: &'a str, name: &str) -> Result<&'a str> {
    let (_, rest) = html.split_once(&format!("name=\"{name}\" value=\"")).with_context(|| format!("no {name} in {html}"))?;
    rest.split('"').next().context("no end")
}

/// Links a new account at the provider to the account of the person, and unlinks it.
pub(crate) async fn link_and_unlink(cluster: &Cluster, github: &GitHub, person: &Person) -> Result<()> {
    let (name, secret) = person.cookie.split_once('=').context("a cookie")?;
    let mut browser = Browser::new(cluster)?;
    browser.cookies.insert(name.to_owned(), secret.to_owned());
    browser.link(github, uuid::Uuid::new_v4().as_u64_pair().0 >> 32).await?;
    let listed = browser.get("/account/identities").await?;
    browser.unlink(hidden(&listed.html, "identity")?).await
}

pub(crate) async fn cluster(github: &GitHub, more: &[(&str, &str)]) -> Result<Cluster> {
    let settings = [
        ("BACKLOT_GITHUB_CLIENT_ID", "test"),
        ("BACKLOT_GITHUB_CLIENT_SECRET", "a client secret of the test"),
        ("BACKLOT_GITHUB_URL", github.url.as_str()),
    ];
    Cluster::with(&[&settings[..], more].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_with_a_provider_and_links_another_account() -> Result<()> {
    let github = GitHub::start().await?;
    let cluster = cluster(&github, &[]).await?;
    let mut browser = Browser::new(&cluster)?;
    let page = browser.get("/account/sign-in?next=identities").await?;
    ensure!(page.html.contains("<a href=\"/account/oauth/github?next=identities\">Sign in with GitHub</a>"), "{}", page.html);
    ensure!(browser.get("/account/sign-up").await?.html.contains("Sign in with GitHub"));

    let done = browser.sign_in(&github, 1, "/account/oauth/github?next=identities").await?;
    ensure!((done.status, done.location.as_str()) == (StatusCode::SEE_OTHER, "/account/identities"), "{} {}", done.status, done.html);
    ensure!(browser.cookies.len() == 1, "the cookie of the sign-in is used up: {:?}", browser.cookies.keys());
    let session = browser.session().await?;
    ensure!(session["user"]["email"] == "person-1@example.com" && session["user"]["displayName"] == "Person 1", "{session}");

    let listed = browser.get("/account/identities").await?;
    ensure!(listed.html.contains("person-1@example.com") && listed.html.contains("<th scope=\"row\">GitHub</th>"), "{}", listed.html);
    let own = hidden(&listed.html, "identity")?.to_owned();
    let last = browser.post("/account/identities", &[("action", "unlink"), ("identity", &own)]).await?;
    ensure!(
        last.status == StatusCode::CONFLICT && last.html.contains("Set a password, link another account or add another passkey first."),
        "{}",
        last.html
    );
    browser.link(&github, 2).await?;
    browser.unlink(&own).await?;

    // The linked account leads to the same person, and the unlinked one is refused, because its address has an account.
    let mut other = Browser::new(&cluster)?;
    ensure!(other.sign_in(&github, 2, "/account/oauth/github").await?.location == "/");
    ensure!(other.session().await?["user"]["id"] == session["user"]["id"]);
    let taken = Browser::new(&cluster)?.sign_in(&github, 1, "/account/oauth/github").await?;
    ensure!(taken.status == StatusCode::CONFLICT && taken.html.contains("This e-mail address already has an account."), "{}", taken.html);
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_no_browser_waits_for_signs_nobody_in() -> Result<()> {
    let github = GitHub::start().await?;
    let cluster = cluster(&github, &[]).await?;
    let (mut attacker, mut victim) = (Browser::new(&cluster)?, Browser::new(&cluster)?);
    let there = attacker.get("/account/oauth/github").await?;
    let back = github.authorize(&there.location, 66).await?;
    // Login CSRF: the victim's browser opens the attacker's answer, without and with a sign-in of its own in progress.
    for with_own in [false, true] {
        if with_own {
            victim.get("/account/oauth/github").await?;
        }
        let refused = victim.get(&back).await?;
        ensure!(
            refused.status == StatusCode::BAD_REQUEST && refused.html.contains("This browser has not started this sign-in"),
            "{}",
            refused.html
        );
        ensure!(victim.cookies.is_empty(), "{:?}", victim.cookies);
    }
    let unknown = victim.get("/account/oauth/gitlab").await?;
    ensure!(unknown.status == StatusCode::NOT_FOUND && unknown.html.contains("This site does not offer sign-in with this provider."));
    let there = victim.get("/account/oauth/github").await?;
    let state = Url::parse(&there.location)?.query_pairs().find(|(name, _)| name == "state").context("a state")?.1.into_owned();
    let denied = victim.get(&format!("/account/oauth/github/callback?error=access_denied&state={state}")).await?;
    ensure!(denied.status == StatusCode::FORBIDDEN && denied.html.contains("cancelled at the provider"), "{}", denied.html);
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_opens_the_sign_up_on_the_page_and_at_a_provider() -> Result<()> {
    let github = GitHub::start().await?;
    let cluster = cluster(&github, &[("BACKLOT_SIGNUP", "invite")]).await?;
    let mut browser = Browser::new(&cluster)?;
    let page = browser.get("/account/sign-up").await?;
    ensure!(page.html.contains("You need an invite to sign up here.") && !page.html.contains("<form"), "{}", page.html);
    let refused = browser.sign_in(&github, 5, "/account/oauth/github").await?;
    ensure!(refused.status == StatusCode::FORBIDDEN && refused.html.contains("You need an invite"), "{}", refused.html);

    let (with_password, at_provider) = (invite(&cluster).await?, invite(&cluster).await?);
    let first = browser.get(&with_password).await?;
    ensure!(first.status == StatusCode::SEE_OTHER && first.location == "/account/sign-up", "{} {}", first.status, first.location);
    let page = browser.get(&first.location).await?;
    let token = hidden(&page.html, "token")?.to_owned();
    let done = browser.post("/account/sign-up", &[("email", "ada@example.com"), ("password", PASSWORD), ("token", &token)]).await?;
    ensure!((done.status, done.location.as_str()) == (StatusCode::SEE_OTHER, "/"), "{} {}", done.status, done.html);
    let mut second = Browser::new(&cluster)?;
    let used = second.post("/account/sign-up", &[("email", "eve@example.com"), ("password", PASSWORD), ("token", &token)]).await?;
    ensure!(used.status == StatusCode::BAD_REQUEST && used.html.contains("The invite has been used"), "{}", used.html);
    ensure!(!used.html.contains("<form") && used.html.contains("Enter another e-mail address"), "{}", used.html);

    let first = second.get(&at_provider).await?;
    let page = second.get(&first.location).await?;
    let token = hidden(&page.html, "token")?.to_owned();
    let there = second.post("/account/sign-up", &[("action", "provider"), ("provider", "github"), ("token", &token)]).await?;
    let to = there.refresh.strip_prefix("0;url=").with_context(|| format!("no refresh: {}", there.html))?;
    let back = github.authorize(to, 5).await?;
    ensure!(second.get(&back).await?.location == "/");
    ensure!(second.session().await?["user"]["email"] == "person-5@example.com");
    cluster.stop().await
}

/// The link of a new invite, as `backlot admin` prints it.
async fn invite(cluster: &Cluster) -> Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backlot-under-test"));
    command.args(["admin", "invites", "create", "--expires", "1d", "--json"]).env_clear();
    let output = command.env("USER", "grace").env("BACKLOT_DATA_DIR", cluster.data_dir()).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout)?;
    Ok(printed["url"].as_str().context("a link")?.to_owned())
}
