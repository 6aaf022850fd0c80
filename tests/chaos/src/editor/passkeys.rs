//! Passkeys: a person adds one, renames it, signs in with it, uses it as a second step and as a proof, and removes it, mostly. No answer of an
//! authenticator works twice.

use chassis::testing::Authenticator;
use rand::RngExt as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{canary::Stopwatch, person::PASSWORD};
use tokio::time::sleep;

use super::{Editor, PAUSE};
use crate::client::{ApiCall, Outcome};

const PASSKEYS: &str = "/api/auth/passkeys";

/// A question to an authenticator.
struct Question {
    options: String,
    token: String,
}

/// What a sign-in shows.
#[derive(Clone, Copy)]
enum Shown {
    Passkey,
    PasswordAndPasskey,
}

impl Editor {
    /// Uses a passkey of a new account. `site` is the origin that the authenticator sees.
    pub(super) async fn use_passkeys(&mut self, site: &str) -> Option<()> {
        let mut owner = self.newcomer().await?;
        let mut known = owner.known_account();
        let mut device = Authenticator::at(site);
        owner.add_passkey(&mut device).await?;
        let path = format!("{PASSKEYS}/{}", owner.rename_passkey().await?);
        let session = owner.sign_in_by_passkey(&mut device, Shown::Passkey).await?;
        let session = owner.with_session(&session).step_up_by_passkey(&mut device).await?;
        owner.sign_in_by_passkey(&mut device, Shown::PasswordAndPasskey).await?;
        if self.client.rng.random_ratio(1, 4) {
            known.has_passkey = true;
        } else {
            // 404: an earlier attempt without an answer has removed it.
            owner.with_session(&session).call_or_not_found("remove a passkey", Method::DELETE, &path, json!({})).await?;
            owner.sign_in(PASSWORD).await?;
        }
        self.client.record.credentials(|credentials| credentials.accounts.push(known));
        sleep(PAUSE).await;
        Some(())
    }

    async fn add_passkey(&mut self, device: &mut Authenticator) -> Option<()> {
        let (what, clock) = ("add a passkey", Stopwatch::start());
        loop {
            let outcome = match self.ask_passkey("REGISTRATION", "").await? {
                Ok(Question { options, token }) => {
                    let body = json!({ "ceremonyToken": token, "credential": device.create(&options), "displayName": "chaos" });
                    self.client.call(ApiCall { what, method: Method::POST, path: PASSKEYS, body, key: None }).await?
                }
                Err(refused) => Err(refused),
            };
            match outcome {
                Ok(_) => return Some(()),
                // An earlier attempt without an answer has added it, and the session has not shown it.
                Err((StatusCode::FORBIDDEN, problem)) if problem["reason"] == "STEP_UP_REQUIRED" => return Some(()),
                // An earlier attempt without an answer has used the question.
                Err((_, problem)) if is_used(&problem) && clock.elapsed() < self.client.turn_limit => {}
                Err(refused) => return self.refused(what, refused),
            }
        }
    }

    /// Renames the only passkey. Returns its id.
    async fn rename_passkey(&mut self) -> Option<String> {
        let listed = self.get("list passkeys", PASSKEYS).await?;
        let id = self.text_at(&listed, "/passkeys/0/id")?;
        let name = self.text("renamed").trim().to_owned();
        self.send("rename a passkey", Method::PATCH, &format!("{PASSKEYS}/{id}"), json!({ "displayName": name })).await?;
        let listed = self.get("list passkeys", PASSKEYS).await?;
        let passkeys = listed["passkeys"].as_array().map(Vec::as_slice).unwrap_or_default();
        if !matches!(passkeys, [only] if only["id"] == json!(id) && only["displayName"] == json!(name)) {
            self.client.record.violation(format!("the passkey {id} was added and named {name:?}, and the list is {listed}"));
        }
        Some(id)
    }

    /// Signs in with the passkey, and repeats the answer of the authenticator. Returns the secret of the session.
    async fn sign_in_by_passkey(&mut self, device: &mut Authenticator, shown: Shown) -> Option<String> {
        let clock = Stopwatch::start();
        while clock.elapsed() < self.client.turn_limit {
            let asked = match shown {
                Shown::Passkey => self.ask_passkey("SIGN_IN", "").await?,
                Shown::PasswordAndPasskey => {
                    let token = self.first_step().await?;
                    self.ask_passkey("SECOND_STEP", &token).await?
                }
            };
            let Question { options, token } = self.asked(asked)?;
            let body = json!({ "ceremonyToken": token, "credential": device.get(&options), "tokenInAnswer": true });
            let outcome = self.show_passkey("sign in by a passkey", "/api/auth/signin:passkey", body.clone()).await?;
            if matches!(&outcome, Err((_, problem)) if is_used(problem)) {
                // An earlier attempt without an answer has used the question.
                continue;
            }
            self.used("a passkey", true, &outcome)?;
            let again = self.show_passkey("sign in by a passkey", "/api/auth/signin:passkey", body).await?;
            self.used("a used answer of a passkey", false, &again)?;
            return self.text_at(&outcome.ok()?, "/sessionToken");
        }
        self.wrong(format!("account {} accepted no passkey within {:?}", self.client.people[0].user_id, self.client.turn_limit))
    }

    /// Shows the passkey in a session. Returns the secret of the session that replaces it.
    async fn step_up_by_passkey(&mut self, device: &mut Authenticator) -> Option<String> {
        let asked = self.ask_passkey("STEP_UP", "").await?;
        let Question { options, token } = self.asked(asked)?;
        let body = json!({ "ceremonyToken": token, "credential": device.get(&options), "tokenInAnswer": true });
        match self.show_passkey("step up by a passkey", "/api/auth/step-up", body).await? {
            Ok(answer) => self.text_at(&answer, "/sessionToken"),
            // An earlier attempt without an answer has used the question, and perhaps has replaced the session.
            Err((status, problem)) if is_used(&problem) || status == StatusCode::UNAUTHORIZED && problem["reason"] != "PASSKEY_INVALID" => {
                self.sign_in_by_passkey(device, Shown::Passkey).await
            }
            Err(refused) => self.refused("step up by a passkey", refused),
        }
    }

    /// Asks for an answer of an authenticator. `sign_in_token` is that of a second step, and otherwise empty.
    async fn ask_passkey(&mut self, purpose: &str, sign_in_token: &str) -> Option<Result<Question, (StatusCode, Value)>> {
        let body = json!({ "purpose": format!("PASSKEY_PURPOSE_{purpose}"), "signInToken": sign_in_token });
        let (what, path) = ("ask for a passkey", "/api/auth/passkeys:start");
        match self.client.call(ApiCall { what, method: Method::POST, path, body, key: None }).await? {
            Ok(answer) => {
                let (options, token) = (self.text_at(&answer, "/options")?, self.text_at(&answer, "/ceremonyToken")?);
                Some(Ok(Question { options, token }))
            }
            Err(refused) => Some(Err(refused)),
        }
    }

    /// The question. A refusal of it is a violation.
    fn asked(&self, asked: Result<Question, (StatusCode, Value)>) -> Option<Question> {
        match asked {
            Ok(question) => Some(question),
            Err(refused) => self.refused("ask for a passkey", refused),
        }
    }

    async fn show_passkey(&mut self, what: &str, path: &str, body: Value) -> Option<Outcome> {
        self.client.call(ApiCall { what, method: Method::POST, path, body, key: None }).await
    }
}

/// Whether a refusal says that the question was answered before.
fn is_used(problem: &Value) -> bool {
    problem["reason"] == "CEREMONY_INVALID"
}
