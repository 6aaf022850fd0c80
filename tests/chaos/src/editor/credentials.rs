//! The credentials of a person: refresh tokens of programs, which rotate also in two tabs at once, an API key, further sessions, and the
//! password. Each is used while it is valid and after its end.

use std::sync::Arc;

use rand::RngExt as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{Person, person::PASSWORD};
use tokio::time::sleep;

use super::{Editor, PAUSE};
use crate::{
    client::{ApiCall, Client, Outcome},
    record::{CredentialUse, KnownAccount, Program},
};

pub(super) const NEW_PASSWORD: &str = "violet engine under a quiet bridge 5";
/// Rotations of a program that stays signed in.
const ROTATIONS: usize = 4;

/// The reasons for which what works once is refused afterwards, besides a status of 401.
const USED: [&str; 2] = ["LINK_INVALID", "CEREMONY_INVALID"];

/// A program and the refresh token that it has.
struct SignedIn {
    session: String,
    token: String,
}

impl Editor {
    /// Uses and ends the credentials of a new account. In the end one program is signed in.
    pub(super) async fn use_credentials(&mut self) -> Option<()> {
        let mut owner = self.newcomer().await?;
        owner.use_api_key().await?;
        owner.replay_refresh_token().await?;
        owner.end_other_sessions().await?;
        let session = owner.change_password().await?;
        let session = owner.step_up(session).await?;
        let access = owner.access_token(&session).await?;
        let mut program = owner.with_token(&access).start_program().await?;
        for _ in 0..ROTATIONS {
            owner.rotate(&mut program).await?;
        }
        owner.send("sign out", Method::POST, "/api/auth/signout", json!({ "sessionToken": session })).await?;
        owner.exchange_ended("the session of a sign-out", json!({ "sessionToken": session })).await?;
        owner.rotate(&mut program).await?;
        owner.record_program(program, false);
        sleep(PAUSE).await;
        Some(())
    }

    async fn use_api_key(&mut self) -> Option<()> {
        let body = json!({ "displayName": "chaos", "scope": "API_KEY_SCOPE_READ" });
        let created = self.send("create an API key", Method::POST, "/api/auth/keys", body).await?;
        let (id, secret) = (self.text_at(&created, "/apiKey/id")?, self.text_at(&created, "/secret")?);
        self.list_projects("an API key", &secret).await?;
        let listed = self.get("list API keys", "/api/auth/keys").await?;
        if !listed.to_string().contains(&id) {
            self.client.record.violation(format!("the API key {id} is not listed: {listed}"));
        }
        self.call_or_not_found("delete an API key", Method::DELETE, &format!("/api/auth/keys/{id}"), json!({})).await?;
        self.with_token(&secret).wait_until_refused("a deleted API key").await
    }

    /// Replays a token after its successor was used, which ends the program.
    async fn replay_refresh_token(&mut self) -> Option<()> {
        let mut program = self.start_program().await?;
        let old = program.token.clone();
        self.rotate(&mut program).await?;
        self.rotate(&mut program).await?;
        self.exchange_ended("a replayed refresh token", json!({ "refreshToken": old })).await?;
        self.exchange_ended("the refresh token of a program after a replay", json!({ "refreshToken": program.token })).await?;
        self.record_program(program, true);
        Some(())
    }

    /// Signs in once more, starts a program, and ends both from the first session.
    async fn end_other_sessions(&mut self) -> Option<()> {
        let other = self.sign_in(PASSWORD).await?;
        self.access_token(&other).await?;
        let mut program = self.start_program().await?;
        self.rotate(&mut program).await?;
        let listed = self.get("list sessions", "/api/auth/sessions").await?;
        if !listed.to_string().contains(&program.session) {
            self.client.record.violation(format!("the session {} of a program is not listed: {listed}", program.session));
        }
        self.send("end other sessions", Method::POST, "/api/auth/sessions:revoke", json!({})).await?;
        self.exchange_ended("an ended session", json!({ "sessionToken": other })).await?;
        self.exchange_ended("the refresh token of an ended program", json!({ "refreshToken": program.token })).await?;
        self.record_program(program, true);
        Some(())
    }

    /// Changes the password, which ends the session. Returns the secret of a new one.
    async fn change_password(&mut self) -> Option<String> {
        let body = json!({ "currentPassword": PASSWORD, "password": NEW_PASSWORD, "tokenInAnswer": true });
        let change = ApiCall { what: "change the password", method: Method::POST, path: "/api/auth/password", body, key: None };
        match self.client.call(change).await? {
            // An earlier attempt without an answer has changed it.
            Ok(_) | Err((StatusCode::UNAUTHORIZED, _)) => {}
            Err(refused) => return self.refused("change the password", refused),
        }
        self.wait_until_refused("a session from before a new password").await?;
        let refused = self.try_sign_in(PASSWORD).await?;
        self.used("the old password", false, &refused)?;
        self.sign_in(NEW_PASSWORD).await
    }

    /// Proves the password in a session, which gets another secret.
    async fn step_up(&mut self, session: String) -> Option<String> {
        let access = self.access_token(&session).await?;
        let body = json!({ "password": NEW_PASSWORD, "tokenInAnswer": true });
        let step_up = ApiCall { what: "step up", method: Method::POST, path: "/api/auth/step-up", body, key: None };
        let next = match self.with_token(&access).client.call(step_up).await? {
            Ok(answer) => self.text_at(&answer, "/sessionToken")?,
            // An earlier attempt without an answer has replaced the session.
            Err((StatusCode::UNAUTHORIZED, _)) => self.sign_in(NEW_PASSWORD).await?,
            Err(refused) => return self.refused("step up", refused),
        };
        self.exchange_ended("the session from before a step-up", json!({ "sessionToken": session })).await?;
        Some(next)
    }

    async fn start_program(&mut self) -> Option<SignedIn> {
        let created =
            self.send("create a refresh token", Method::POST, "/api/auth/refresh-tokens", json!({ "displayName": "chaos" })).await?;
        Some(SignedIn { session: self.text_at(&created, "/session/id")?, token: self.text_at(&created, "/refreshToken")? })
    }

    /// Exchanges the token of a program, sometimes in two tabs at once, which must get the same token, and uses the access token.
    async fn rotate(&mut self, program: &mut SignedIn) -> Option<()> {
        let body = json!({ "refreshToken": program.token });
        let answer = if self.client.rng.random() {
            let mut tab = Self { client: self.client.second_client(), draft: String::new(), project: String::new() };
            let both = tokio::join!(self.exchange_valid("a refresh token", body.clone()), tab.exchange_valid("a refresh token", body));
            let (answer, other) = (both.0?, both.1?);
            if answer["refreshToken"] != other["refreshToken"] {
                self.client.record.violation(format!("two tabs of program {} got different refresh tokens", program.session));
            }
            other
        } else {
            self.exchange_valid("a refresh token", body).await?
        };
        program.token = self.text_at(&answer, "/refreshToken")?;
        let access = self.text_at(&answer, "/accessToken")?;
        self.list_projects("the access token of a program", &access).await
    }

    fn record_program(&self, SignedIn { session, .. }: SignedIn, has_ended: bool) {
        self.client.record.credentials(|credentials| credentials.programs.push(Program { session, has_ended }));
    }

    /// Signs in. Returns the secret of the session.
    pub(super) async fn sign_in(&mut self, password: &str) -> Option<String> {
        let outcome = self.try_sign_in(password).await?;
        self.used("the password", true, &outcome)?;
        self.text_at(&outcome.ok()?, "/sessionToken")
    }

    pub(super) async fn try_sign_in(&mut self, password: &str) -> Option<Outcome> {
        let body = json!({ "email": self.client.people[0].email, "password": password, "tokenInAnswer": true });
        self.client.call(ApiCall { what: "sign in", method: Method::POST, path: "/api/auth/signin", body, key: None }).await
    }

    /// The access token of a valid session.
    pub(super) async fn access_token(&mut self, session: &str) -> Option<String> {
        let answer = self.exchange_valid("the secret of a session", json!({ "sessionToken": session })).await?;
        self.text_at(&answer, "/accessToken")
    }

    pub(super) async fn exchange_valid(&mut self, what: &str, body: Value) -> Option<Value> {
        let outcome = self.exchange(body).await?;
        self.used(what, true, &outcome)?;
        outcome.ok()
    }

    pub(super) async fn exchange_ended(&mut self, what: &str, body: Value) -> Option<()> {
        let outcome = self.exchange(body).await?;
        self.used(what, false, &outcome)
    }

    async fn exchange(&mut self, body: Value) -> Option<Outcome> {
        self.client.call(ApiCall { what: "exchange a credential", method: Method::POST, path: "/api/auth/token", body, key: None }).await
    }

    /// Uses a valid API key or access token.
    pub(super) async fn list_projects(&mut self, what: &str, token: &str) -> Option<()> {
        let list = ApiCall { what: "list with a credential", method: Method::GET, path: "/api/projects", body: Value::Null, key: None };
        let outcome = self.with_token(token).client.call(list).await?;
        self.used(what, true, &outcome)?;
        outcome.ok().map(drop)
    }

    /// Records the use of a credential. Only 401 refuses it, and for what works once the reason of one that was used.
    pub(super) fn used(&self, what: &str, is_valid: bool, outcome: &Outcome) -> Option<()> {
        let refusal = match outcome {
            Ok(_) => None,
            Err((status, problem)) if *status == StatusCode::UNAUTHORIZED || USED.iter().any(|reason| problem["reason"] == *reason) => {
                Some(problem["reason"].as_str().unwrap_or_default().to_owned())
            }
            Err((_, problem)) if problem["error"] == "invalid_grant" => Some("invalid_grant".to_owned()),
            Err((status, problem)) => return self.wrong(format!("{what} is answered with {status} {problem}")),
        };
        self.record_use(what, is_valid, refusal);
        Some(())
    }

    pub(super) fn record_use(&self, what: &str, is_valid: bool, refusal: Option<String>) {
        let account = &self.client.people[0].user_id;
        let used = CredentialUse { what: format!("{what} of account {account}"), is_valid, refusal };
        self.client.record.credentials(|credentials| credentials.uses.push(used));
    }

    /// An editor with an API key or an access token of the same person.
    pub(super) fn with_token(&mut self, token: &str) -> Self {
        let person = Person { token: Some(token.to_owned()), ..self.client.people[0].clone() };
        self.of_person(person)
    }

    /// An editor with the cookie of another session of the same person.
    pub(super) fn with_session(&mut self, secret: &str) -> Self {
        let person = self.client.people[0].clone();
        let name = person.cookie.split('=').next().unwrap_or_default();
        self.of_person(Person { cookie: format!("{name}={secret}"), ..person.clone() })
    }

    /// An editor with another address of the same person.
    pub(super) fn with_email(&mut self, email: &str) -> Self {
        let person = Person { email: email.to_owned(), ..self.client.people[0].clone() };
        self.of_person(person)
    }

    /// An editor of another person, or of the same person in another browser.
    pub(super) fn of_person(&mut self, person: Person) -> Self {
        let client = Client { people: Arc::new(vec![person]), person: 0, ..self.client.second_client() };
        Self { client, draft: self.draft.clone(), project: String::new() }
    }

    /// What the person of a new account knows of it.
    pub(super) fn known_account(&self) -> KnownAccount {
        let person = &self.client.people[0];
        KnownAccount { user: person.user_id.clone(), email: person.email.clone(), is_verified: false, has_app: false, has_passkey: false }
    }
}
