//! Uses the links of mails, invites, devices and providers. What they have in common: their secrets are in addresses and forms.

use anyhow::{Context as _, Result, ensure};
use reqwest::{StatusCode, header, redirect::Policy};
use serde_json::{Value, json};
use test_support::{
    Person,
    person::PASSWORD,
    process::{Launch, Process},
};
use url::{Url, form_urlencoded::Serializer};

use crate::{canary::Canary, mail_server::MailServer};

const NEW_PASSWORD: &str = "another horse, battery and staple 8";
const SMTP_PASSWORD: &str = "canary-smtp-6a0e93d1b7";
const GITHUB_SECRET: &str = "canary-github-5d20c81f94";
const OIDC_SECRET: &str = "canary-oidc-e37b06a2c9";
/// A code of a provider, which nobody exchanges.
const CODE: &str = "canary-code-04c9d7e1a8b2";
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

/// The settings of mails and of providers. `address` is that of the mail server.
pub(crate) fn configured(launch: Launch, address: &str) -> Result<Launch> {
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let issuer = json!([{ "name": "corp", "issuer": NOWHERE, "clientId": "an app", "clientSecret": OIDC_SECRET }]);
    Ok(launch
        .set("BACKLOT_LISTEN", &free.to_string())
        .set("BACKLOT_PUBLIC_URL", &format!("http://{free}"))
        .set("BACKLOT_SIGNUP", "open")
        .set("BACKLOT_SMTP_URL", &format!("smtp://mailer:{SMTP_PASSWORD}@{address}"))
        .set("BACKLOT_MAIL_FROM", "Backlot <no-reply@apps.example>")
        .set("BACKLOT_GITHUB_CLIENT_ID", "an app")
        .set("BACKLOT_GITHUB_CLIENT_SECRET", GITHUB_SECRET)
        .set("BACKLOT_GITHUB_URL", NOWHERE)
        .set("BACKLOT_OIDC_PROVIDERS", &issuer.to_string()))
}

/// Uses one secret of each kind. Returns the secrets.
pub(crate) async fn used(launch: &Launch, process: &Process, person: &Person, mails: &MailServer) -> Result<Vec<Canary>> {
    let mut all = vec![
        Canary::new("the password of the mail server", SMTP_PASSWORD),
        Canary::new("the client secret of GitHub", GITHUB_SECRET),
        Canary::new("the client secret of an issuer", OIDC_SECRET),
    ];
    all.extend(of_mails(process, person, mails).await?);
    all.push(invite(launch, person).await?);
    all.extend(device(person).await?);
    all.extend(provider(person).await?);
    Ok(all)
}

async fn of_mails(process: &Process, person: &Person, mails: &MailServer) -> Result<Vec<Canary>> {
    let anybody = Person { cookie: String::new(), token: None, ..person.clone() };
    person.post("/api/auth/verify/send", json!({})).await?;
    let verify = opened(person, mails.link(&person.email, "verify").await).await?;
    person.post("/api/auth/verify", json!({ "token": verify })).await?;

    let forgetful = Person::sign_up(&process.url).await?;
    anybody.post("/api/auth/reset", json!({ "email": forgetful.email })).await?;
    let reset = opened(person, mails.link(&forgetful.email, "reset").await).await?;
    anybody.post("/api/auth/reset/confirm", json!({ "token": reset, "password": NEW_PASSWORD })).await?;

    let moving = Person::sign_up(&process.url).await?;
    let new = format!("new-{}", moving.email);
    moving.post("/api/auth/email", json!({ "newEmail": new })).await?;
    let change = opened(person, mails.link(&new, "new-email").await).await?;
    moving.post("/api/auth/email/confirm", json!({ "token": change })).await?;
    Ok(vec![
        Canary::new("the token of a verification", verify),
        Canary::new("the token of a reset", reset),
        Canary::new("the token of a new address", change),
        Canary::new("a new password", NEW_PASSWORD),
    ])
}

/// Opens a link, as whoever reads the mail does. Returns its token.
async fn opened(person: &Person, link: String) -> Result<String> {
    let status = person.http.get(&link).send().await?.status();
    ensure!(!status.is_server_error(), "{status}");
    Ok(link.split_once("?token=").context("a token")?.1.to_owned())
}

async fn invite(launch: &Launch, person: &Person) -> Result<Canary> {
    let mut command = launch.command(&["admin", "invites", "create", "--expires", "1d", "--json"]);
    let output = command.env("USER", "grace").output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout)?;
    let token = opened(person, printed["url"].as_str().context("a link")?.to_owned()).await?;
    let anybody = Person { cookie: String::new(), token: None, ..person.clone() };
    let guest = json!({ "email": format!("guest-{}", person.email), "password": PASSWORD, "inviteToken": token });
    anybody.post("/api/auth/signup", guest).await?;
    Ok(Canary::new("an invite", token))
}

async fn device(person: &Person) -> Result<Vec<Canary>> {
    let post = async |path: &str, fields: &[(&str, &str)]| -> Result<(StatusCode, Value)> {
        let body = Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = person.http.post(format!("{}{path}", person.url)).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = request.body(body).send().await?;
        Ok((answer.status(), answer.json().await?))
    };
    let client = ("client_id", "a command line");
    let started = post("/api/auth/device", &[client]).await?.1;
    let text = |field: &str| started[field].as_str().map(str::to_owned).with_context(|| format!("no {field}"));
    let (device, user) = (text("device_code")?, text("user_code")?);
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let (status, answer) = post("/api/auth/device/token", &[grant, client, ("device_code", device.as_str())]).await?;
    ensure!(status == StatusCode::BAD_REQUEST && answer["error"] == "authorization_pending", "{status} {answer}");
    Ok(vec![Canary::new("the code of a device", device), Canary::new("the code that a person types", user)])
}

/// Begins a sign-in at each provider, and comes back from one of them with a code. Neither provider answers.
async fn provider(person: &Person) -> Result<Vec<Canary>> {
    let browser = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build()?;
    let begin = async |name: &str| browser.get(format!("{}/account/oauth/{name}", person.url)).send().await;
    begin("corp").await?;
    let begun = begin("github").await?;
    let text = |name: header::HeaderName| begun.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (location, cookie) = (Url::parse(text(header::LOCATION))?, text(header::SET_COOKIE).split(';').next().unwrap_or_default());
    let state = location.query_pairs().find(|(name, _)| name == "state").context("a state")?.1.into_owned();
    let secret = cookie.split_once('=').context("a cookie")?.1.to_owned();
    let back = format!("{}/account/oauth/github/callback?code={CODE}&state={state}", person.url);
    let answer = browser.get(back).header(header::COOKIE, cookie).send().await?;
    ensure!(answer.status() != StatusCode::NOT_FOUND, "the page is not there");
    Ok(vec![
        Canary::new("the state of a sign-in at a provider", state),
        Canary::new("the cookie of a sign-in at a provider", secret),
        Canary::new("the code of a provider", CODE),
    ])
}
