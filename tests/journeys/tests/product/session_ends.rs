//! The ways in which a session ends, each as a person, an operator or a thief causes it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use auth::testing::totp_code;
use chassis::{
    clock::now,
    testing::{Authenticator, eventually},
};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use test_support::{Cluster, Person, person::PASSWORD};
use tokio::process::Command;

use crate::identities::{self, GitHub, LOCAL_SITE};

const MAIL_ARRIVES_WITHIN: Duration = Duration::from_secs(60);
pub(crate) const NEW_PASSWORD: &str = "another horse, another battery 8";

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    SignOut,
    SignInAgain,
    Revoke,
    RevokeOthers,
    RevokeAll,
    ChangePassword,
    StepUp,
    Reset,
    ChangeAddress,
    ByOperator,
    Disable,
    DeleteAccount,
    RemoveApp,
    /// The link of the mail about a new factor.
    RemoveByLink,
    RemovePasskey,
    UnlinkIdentity,
    /// Another account proves the address, which nobody has verified.
    YieldAddress,
    /// Of a program.
    ReplayRefreshToken,
}

pub(crate) const ENDS: [End; 18] = [
    End::SignOut,
    End::SignInAgain,
    End::Revoke,
    End::RevokeOthers,
    End::RevokeAll,
    End::ChangePassword,
    End::StepUp,
    End::Reset,
    End::ChangeAddress,
    End::ByOperator,
    End::Disable,
    End::DeleteAccount,
    End::RemoveApp,
    End::RemoveByLink,
    End::RemovePasskey,
    End::UnlinkIdentity,
    End::YieldAddress,
    End::ReplayRefreshToken,
];

pub(crate) fn cookie_of(response: &reqwest::Response) -> Result<String> {
    let line = response.headers().get(header::SET_COOKIE).context("no cookie")?.to_str()?;
    Ok(line.split(';').next().unwrap_or_default().to_owned())
}

/// The same person with the cookie of a sign-in, for which the request has this cookie.
pub(crate) async fn sign_in(person: &Person, cookie: Option<&str>) -> Result<Person> {
    let body = json!({ "email": person.email, "password": PASSWORD });
    let mut request = person.http.post(format!("{}/api/auth/signin", person.url)).json(&body);
    if let Some(cookie) = cookie {
        request = request.header(header::COOKIE, cookie);
    }
    let response = request.send().await?.error_for_status()?;
    Ok(Person { cookie: cookie_of(&response)?, ..person.clone() })
}

pub(crate) async fn session_id(person: &Person) -> Result<String> {
    Ok(person.get("/api/auth/session").await?["session"]["id"].as_str().context("an id")?.to_owned())
}

/// The token of the link to a page in the mail to this address.
pub(crate) async fn link_token(cluster: &Cluster, email: &str, page: &str) -> String {
    let link = format!("{page}?token=");
    let token = |mail: String| Some(mail.split_once(&link)?.1.split_whitespace().next()?.to_owned());
    eventually(MAIL_ARRIVES_WITHIN, || async { cluster.mails().into_iter().filter(|mail| mail.contains(email)).find_map(token) }).await
}

async fn administer(cluster: &Cluster, arguments: [&str; 3]) -> Result<()> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backlot-under-test"));
    command.arg("admin").args(arguments).env_clear().env("USER", "grace").env("BACKLOT_DATA_DIR", cluster.data_dir());
    let output = command.output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// What the ways of ending a session need.
pub(crate) struct Site<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) github: &'a GitHub,
}

/// A session that will end.
pub(crate) struct Ending {
    pub(crate) person: Person,
    /// The token that it began with, if it is that of a program. The next one has replaced it.
    refresh_token: String,
}

impl Ending {
    /// Another session of the person.
    pub(crate) async fn begin(how: End, other: &Person) -> Result<Self> {
        if how != End::ReplayRefreshToken {
            return Ok(Self { person: sign_in(other, None).await?, refresh_token: String::new() });
        }
        let created = other.post("/api/auth/refresh-tokens", json!({})).await?;
        let refresh_token = created["refreshToken"].as_str().context("a token")?.to_owned();
        let (_, next) = refresh(other, &refresh_token).await?;
        let token = next["accessToken"].as_str().context("an access token")?.to_owned();
        Ok(Self { person: Person { cookie: String::new(), token: Some(token), ..other.clone() }, refresh_token })
    }
}

/// The status and the answer of an exchange of a refresh token.
pub(crate) async fn refresh(person: &Person, token: &str) -> Result<(StatusCode, Value)> {
    let body = json!({ "refreshToken": token });
    let response = person.http.post(format!("{}/api/auth/token", person.url)).json(&body).send().await?;
    Ok((response.status(), response.json().await?))
}

/// Adds an authenticator app. Returns a recovery code.
async fn add_app(person: &Person) -> Result<String> {
    let started = person.post("/api/auth/totp", json!({})).await?;
    let code = totp_code(started["secret"].as_str().context("a secret")?, now());
    let added = person.post("/api/auth/totp:confirm", json!({ "code": code })).await?;
    Ok(added["recoveryCodes"][0].as_str().context("a code")?.to_owned())
}

/// Removes an authenticator app that the person has just added.
async fn remove_app(person: &Person) -> Result<()> {
    let code = add_app(person).await?;
    remove_factor(person, &code, "/api/auth/totp").await
}

/// Removes a passkey that the person has just added.
async fn remove_passkey(person: &Person) -> Result<()> {
    let asked = person.post("/api/auth/passkeys:start", json!({ "purpose": "PASSKEY_PURPOSE_REGISTRATION" })).await?;
    let credential = Authenticator::at(LOCAL_SITE).create(asked["options"].as_str().context("no options")?);
    let answer = json!({ "ceremonyToken": asked["ceremonyToken"], "credential": credential, "displayName": "Phone" });
    let added = person.post("/api/auth/passkeys", answer).await?;
    let code = added["recoveryCodes"][0].as_str().context("a code")?;
    let id = added["passkey"]["id"].as_str().context("an id")?;
    remove_factor(person, code, &format!("/api/auth/passkeys/{id}")).await
}

/// Removes a factor after the proof that it needs: a recovery code.
async fn remove_factor(person: &Person, code: &str, path: &str) -> Result<()> {
    let proof = json!({ "code": code });
    let renewed = person.request(Method::POST, "/api/auth/step-up").json(&proof).send().await?.error_for_status()?;
    let renewed = Person { cookie: cookie_of(&renewed)?, ..person.clone() };
    renewed.request(Method::DELETE, path).send().await?.error_for_status()?;
    Ok(())
}

/// Removes an authenticator app that the person has just added, without a session, by the page of the link in the mail about it.
async fn remove_app_by_link(cluster: &Cluster, person: &Person) -> Result<()> {
    add_app(person).await?;
    let page = "/account/remove-factor";
    let token = link_token(cluster, &person.email, page).await;
    let request = person.http.post(format!("{}{page}", cluster.url)).header(header::ORIGIN, &cluster.url);
    let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(format!("token={token}"));
    request.send().await?.error_for_status()?;
    Ok(())
}

/// Gives an account the address by the link of a mail.
async fn move_to(cluster: &Cluster, person: &Person, address: &str) -> Result<()> {
    person.post("/api/auth/email", json!({ "newEmail": address })).await?;
    let token = link_token(cluster, address, "/account/new-email").await;
    person.post("/api/auth/email/confirm", json!({ "token": token })).await?;
    Ok(())
}

/// Ends the session at its gateway, in the given way. `other` is another session of the same person.
pub(crate) async fn end(how: End, site: &Site<'_>, ending: &Ending, other: &Person) -> Result<()> {
    let (cluster, ended) = (site.cluster, &ending.person);
    let body = json!({ "currentPassword": PASSWORD, "password": NEW_PASSWORD });
    let answer = match how {
        End::SignOut => ended.post("/api/auth/signout", json!({})).await,
        End::SignInAgain => sign_in(ended, Some(&ended.cookie)).await.map(|_| Value::Null),
        End::Revoke => {
            let path = format!("/api/auth/sessions/{}", session_id(ended).await?);
            other.request(Method::DELETE, &path).send().await?.error_for_status()?;
            Ok(Value::Null)
        }
        End::RevokeOthers => other.post("/api/auth/sessions:revoke", json!({})).await,
        End::RevokeAll => other.post("/api/auth/sessions:revoke", json!({ "includeCurrent": true })).await,
        End::ChangePassword => other.post("/api/auth/password", body).await,
        End::StepUp => ended.post("/api/auth/step-up", json!({ "password": PASSWORD })).await,
        End::Reset => {
            other.post("/api/auth/reset", json!({ "email": ended.email })).await?;
            let token = link_token(cluster, &ended.email, "/account/reset/confirm").await;
            other.post("/api/auth/reset/confirm", json!({ "token": token, "password": NEW_PASSWORD })).await
        }
        End::ChangeAddress => move_to(cluster, other, &format!("new-{}", ended.email)).await.map(|()| Value::Null),
        End::ByOperator => administer(cluster, ["sessions", "end", &ended.email]).await.map(|()| Value::Null),
        End::Disable => administer(cluster, ["users", "disable", &ended.email]).await.map(|()| Value::Null),
        End::DeleteAccount => other.post("/api/auth/account:delete", json!({ "email": ended.email })).await,
        End::RemoveApp => remove_app(other).await.map(|()| Value::Null),
        End::RemoveByLink => remove_app_by_link(cluster, other).await.map(|()| Value::Null),
        End::RemovePasskey => remove_passkey(other).await.map(|()| Value::Null),
        End::UnlinkIdentity => identities::link_and_unlink(cluster, site.github, other).await.map(|()| Value::Null),
        End::YieldAddress => move_to(cluster, &Person::sign_up(&ended.url).await?, &ended.email).await.map(|()| Value::Null),
        End::ReplayRefreshToken => {
            let (status, problem) = refresh(other, &ending.refresh_token).await?;
            ensure!((status, problem["reason"].as_str()) == (StatusCode::UNAUTHORIZED, Some("TOKEN_REUSED")), "{problem}");
            Ok(Value::Null)
        }
    };
    answer.map(drop)
}
