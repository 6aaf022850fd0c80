//! A second factor: an authenticator app is added, completes sign-ins and proves who the person is, and is removed by the person, by an
//! operator, or by the link of the mail about it. No code works twice, and no link of an app that is removed.

use std::path::Path;

use auth::testing::totp_code;
use rand::RngExt as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{Person, canary::Stopwatch, person::PASSWORD};
use time::OffsetDateTime;
use tokio::time::sleep;

use super::{Editor, PAUSE, POLL, mail_links};
use crate::{
    client::{ApiCall, Client, Outcome},
    deployment::timeline,
    outbox::WantedLink,
};

const STEP_SECONDS: i64 = 30;
/// The page of the link that removes a new factor.
const REMOVE_FACTOR: &str = "/account/remove-factor";

/// An authenticator app, and the recovery codes that were not tried.
struct AuthenticatorApp {
    secret: String,
    /// The step of the last code that was tried.
    last_step: i64,
    recovery_codes: Vec<String>,
}

impl AuthenticatorApp {
    /// A code of the app that was not tried. The clock may differ by a step, so three of them are valid at a time; `None` if all were tried.
    fn code(&mut self) -> Option<String> {
        let now = chassis::clock::now().unix_timestamp().div_euclid(STEP_SECONDS);
        let step = (self.last_step + 1).max(now - 1);
        if step > now + 1 {
            return None;
        }
        self.last_step = step;
        Some(totp_code(&self.secret, OffsetDateTime::from_unix_timestamp(step * STEP_SECONDS).ok()?))
    }

    /// A code that was not tried.
    fn any_code(&mut self) -> Option<String> {
        self.recovery_codes.pop().or_else(|| self.code())
    }
}

/// A sign-in that a code has completed.
struct CompletedSignIn {
    session: String,
    /// The token of the first step.
    token: String,
    code: String,
}

impl Editor {
    /// Adds an authenticator app to a new account, signs in with it, and removes it, mostly.
    pub(super) async fn use_second_factor(&mut self, outbox: &Path) -> Option<()> {
        let mut owner = self.newcomer().await?;
        let mut known = owner.known_account();
        let wanted = WantedLink { to: known.email.clone(), page: REMOVE_FACTOR, since: timeline::now() };
        let mut app = owner.add_app().await?;
        let session = owner.step_up_by_code(&mut app).await?;
        let mut proved = owner.with_session(&session);
        let renewed = proved.send("renew recovery codes", Method::POST, "/api/auth/recovery-codes", json!({})).await?;
        app.recovery_codes = texts(&renewed["recoveryCodes"]);
        let begun = owner.sign_in_by_code(&mut app).await?;
        owner.use_code_again(&begun).await?;
        let mut proved = owner.with_session(&begun.session);
        let factors = proved.get("get the factors", "/api/auth/factors").await?;
        if !factors["totpCreateTime"].is_string() {
            return self.wrong(format!("account {} has the factors {factors}", known.user));
        }
        let link = mail_links::token_in_time(outbox, &wanted).await;
        match (self.client.rng.random_range(0..5), &link) {
            (0, _) => known.has_app = true,
            // A refusal: an earlier attempt without an answer has used it.
            (1, Some(token)) => owner.use_factor_link(token).await.map(drop)?,
            (1 | 2, _) => {
                let Client { operator, record, turn_limit, .. } = &self.client;
                operator.reset_second_factor(&known.user, record, *turn_limit).await?;
            }
            // 404: an earlier attempt without an answer has removed it.
            _ => proved.call_or_not_found("remove an app", Method::DELETE, "/api/auth/totp", json!({})).await?,
        }
        if !known.has_app {
            owner.sign_in(PASSWORD).await?;
            if let Some(token) = &link {
                let refusal = owner.use_factor_link(token).await?;
                owner.record_use("the link of a removed app", false, refusal);
            }
        }
        self.client.record.credentials(|credentials| credentials.accounts.push(known));
        sleep(PAUSE).await;
        Some(())
    }

    async fn add_app(&mut self) -> Option<AuthenticatorApp> {
        let clock = Stopwatch::start();
        loop {
            let started = self.send("start an app", Method::POST, "/api/auth/totp", json!({})).await?;
            let mut app = AuthenticatorApp { secret: self.text_at(&started, "/secret")?, last_step: 0, recovery_codes: Vec::new() };
            let (what, body) = ("confirm an app", json!({ "code": app.code()? }));
            match self.client.call(ApiCall { what, method: Method::POST, path: "/api/auth/totp:confirm", body, key: None }).await? {
                Ok(answer) => {
                    app.recovery_codes = texts(&answer["recoveryCodes"]);
                    return Some(app);
                }
                // An earlier attempt without an answer has added it. Its recovery codes are lost.
                Err((StatusCode::FORBIDDEN, problem)) if problem["reason"] == "STEP_UP_REQUIRED" => return Some(app),
                // The step of the code has ended, or an earlier attempt to start was carried out late.
                Err((StatusCode::UNAUTHORIZED, _)) if clock.elapsed() < self.client.turn_limit => sleep(POLL).await,
                Err(refused) => return self.refused(what, refused),
            }
        }
    }

    /// Shows a code of the app. Returns the secret of the session that replaces the one of the account.
    async fn step_up_by_code(&mut self, app: &mut AuthenticatorApp) -> Option<String> {
        let Some(code) = app.code().or_else(|| app.recovery_codes.pop()) else {
            return Some(self.sign_in_by_code(app).await?.session);
        };
        let (what, body) = ("step up by a code", json!({ "code": code, "tokenInAnswer": true }));
        match self.client.call(ApiCall { what, method: Method::POST, path: "/api/auth/step-up", body, key: None }).await? {
            Ok(answer) => self.text_at(&answer, "/sessionToken"),
            // An earlier attempt without an answer has replaced the session, or the step of the code has ended.
            Err((StatusCode::UNAUTHORIZED, _)) => Some(self.sign_in_by_code(app).await?.session),
            Err(refused) => self.refused(what, refused),
        }
    }

    /// Signs in with the password and codes until one is accepted. One whose answer was lost is used.
    async fn sign_in_by_code(&mut self, app: &mut AuthenticatorApp) -> Option<CompletedSignIn> {
        let clock = Stopwatch::start();
        while clock.elapsed() < self.client.turn_limit {
            let Some(code) = app.any_code() else {
                sleep(POLL).await;
                continue;
            };
            let token = self.first_step().await?;
            match self.complete_sign_in(&token, &code).await? {
                Ok(answer) => return Some(CompletedSignIn { session: self.text_at(&answer, "/sessionToken")?, token, code }),
                Err((StatusCode::UNAUTHORIZED, _)) => {}
                Err(refused) => return self.refused("complete a sign-in", refused),
            }
        }
        self.wrong(format!("account {} accepted no code within {:?}", self.client.people[0].user_id, self.client.turn_limit))
    }

    /// The token of a sign-in that waits for a code.
    pub(super) async fn first_step(&mut self) -> Option<String> {
        match self.try_sign_in(PASSWORD).await? {
            Err((StatusCode::UNAUTHORIZED, problem)) if problem["reason"] == "SECOND_FACTOR_REQUIRED" => {
                self.text_at(&problem, "/metadata/sign_in_token")
            }
            answer => self.wrong(format!("a sign-in with a second factor is answered with {answer:?}")),
        }
    }

    async fn complete_sign_in(&mut self, token: &str, code: &str) -> Option<Outcome> {
        let body = json!({ "signInToken": token, "code": code, "tokenInAnswer": true });
        let path = "/api/auth/signin:verify";
        self.client.call(ApiCall { what: "complete a sign-in", method: Method::POST, path, body, key: None }).await
    }

    /// Uses the token and the code of a completed sign-in again.
    async fn use_code_again(&mut self, begun: &CompletedSignIn) -> Option<()> {
        let refused = self.complete_sign_in(&begun.token, &begun.code).await?;
        self.used("the token of a completed sign-in", false, &refused)?;
        let token = self.first_step().await?;
        let refused = self.complete_sign_in(&token, &begun.code).await?;
        self.used("a used code", false, &refused)
    }

    /// Uses the link of the mail about a new factor in a browser without a session. Returns the reason of a refusal.
    async fn use_factor_link(&mut self, token: &str) -> Option<Option<String>> {
        let (what, person) = ("use the link of a new factor", self.client.people[0].clone());
        let mut browser = self.of_person(Person { cookie: String::new(), ..person });
        match browser.client.form(what, REMOVE_FACTOR, &[("token", token)]).await? {
            Ok(_) => Some(None),
            Err((StatusCode::BAD_REQUEST, _)) => Some(Some("LINK_INVALID".to_owned())),
            Err(refused) => self.refused(what, refused),
        }
    }
}

/// The texts of a list.
fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_is_tried_twice() {
        let mut app =
            AuthenticatorApp { secret: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".to_owned(), last_step: 0, recovery_codes: texts(&json!(["r"])) };
        assert_eq!(app.any_code().as_deref(), Some("r"), "a recovery code comes first");
        let mut last = 0;
        for _ in 0..2 {
            assert!(app.code().is_some_and(|code| code.len() == 6) && app.last_step > last);
            last = app.last_step;
        }
        app.last_step += 10;
        assert_eq!(app.any_code(), None, "until the next steps");
    }
}
