//! Programs of a person: a device that signs in with a code, and a service account with a key. The person also reads what there is of the
//! account.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{canary::Stopwatch, person::PASSWORD};
use tokio::time::{Duration, sleep};

use super::{Editor, PAUSE};
use crate::{client::ApiCall, record::DeletedAccount};

const SERVICE_ACCOUNTS: &str = "/api/auth/service-accounts";
const DEVICE_PAGE: &str = "/account/device";
const GRANT: (&str, &str) = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
const CLIENT: (&str, &str) = ("client_id", "chaos");
/// The time between two questions of a device.
const INTERVAL: Duration = Duration::from_secs(1);

impl Editor {
    pub(super) async fn use_programs(&mut self) -> Option<()> {
        let mut owner = self.newcomer().await?;
        owner.read_account().await?;
        owner.end_another_session().await?;
        owner.sign_in_device().await?;
        owner.use_service_account().await?;
        sleep(PAUSE).await;
        Some(())
    }

    async fn read_account(&mut self) -> Option<()> {
        let read = self.get("get the session", "/api/auth/session").await?;
        let user = self.text_at(&read, "/user/id")?;
        if user != self.client.people[0].user_id {
            self.client.record.violation(format!("the session of account {} is of {user}", self.client.people[0].user_id));
        }
        for path in ["/api/auth/identities", "/api/auth/passkeys", "/api/auth/providers", "/.well-known/jwks.json"] {
            self.get("read an account", path).await?;
        }
        let exported = match self.client.download("export an account", "/api/auth/export").await? {
            Ok(exported) => exported.body,
            Err(refused) => return self.refused("export an account", refused),
        };
        if !exported.starts_with(b"PK") {
            self.client.record.violation(format!("the export of account {user} is no zip file, but {} bytes", exported.len()));
        }
        Some(())
    }

    /// Signs in once more, and ends that session by its id.
    async fn end_another_session(&mut self) -> Option<()> {
        let other = self.sign_in(PASSWORD).await?;
        let read = self.with_session(&other).get("get the session", "/api/auth/session").await?;
        let path = format!("/api/auth/sessions/{}", self.text_at(&read, "/session/id")?);
        self.call_or_not_found("end a session", Method::DELETE, &path, json!({})).await?;
        self.exchange_ended("a session that was ended by its id", json!({ "sessionToken": other })).await
    }

    async fn sign_in_device(&mut self) -> Option<()> {
        let started = match self.client.form("start a device", "/api/auth/device", &[CLIENT]).await? {
            Ok(started) => started.json(),
            Err(refused) => return self.refused("start a device", refused),
        };
        let (device, code) = (self.text_at(&started, "/device_code")?, self.text_at(&started, "/user_code")?);
        self.approve_device(&code).await?;
        let fields = [GRANT, CLIENT, ("device_code", device.as_str())];
        let tokens = self.exchange_device_code(&fields).await?;
        let again = self.client.form("exchange a device code", "/api/auth/device/token", &fields).await?;
        self.used("a used code of a device", false, &again.map(|answer| answer.json()))?;
        let Some(tokens) = tokens else { return Some(()) };
        let (access, refresh) = (self.text_at(&tokens, "/access_token")?, self.text_at(&tokens, "/refresh_token")?);
        self.list_projects("the access token of a device", &access).await?;
        self.exchange_valid("the refresh token of a device", json!({ "refreshToken": refresh })).await.map(drop)
    }

    /// Types the code of a device at its page, and approves.
    async fn approve_device(&mut self, code: &str) -> Option<()> {
        for action in ["find", "approve"] {
            let what = format!("{action} a device");
            match self.client.form(&what, DEVICE_PAGE, &[("action", action), ("user_code", code)]).await? {
                Ok(page) if page.url.path() == DEVICE_PAGE => {}
                Ok(page) => return self.wrong(format!("to {what} leads to {}", page.url)),
                // An earlier attempt without an answer has approved it.
                Err((StatusCode::BAD_REQUEST, _)) if action == "approve" => {}
                Err(refused) => return self.refused(&what, refused),
            }
        }
        Some(())
    }

    /// Returns `None` within if an earlier attempt without an answer has got the tokens.
    async fn exchange_device_code(&mut self, fields: &[(&str, &str)]) -> Option<Option<Value>> {
        let clock = Stopwatch::start();
        loop {
            match self.client.form("exchange a device code", "/api/auth/device/token", fields).await? {
                Ok(answer) => return Some(Some(answer.json())),
                Err((_, problem)) if problem["error"] == "invalid_grant" => return Some(None),
                Err((_, problem)) if problem["error"] == "authorization_pending" && clock.elapsed() < self.client.turn_limit => {
                    sleep(INTERVAL).await;
                }
                Err(refused) => return self.refused("exchange a device code", refused),
            }
        }
    }

    /// Makes a service account with a key, and renames and deletes it.
    async fn use_service_account(&mut self) -> Option<()> {
        let created = self.send("create a service account", Method::POST, SERVICE_ACCOUNTS, json!({ "displayName": "chaos" })).await?;
        let id = self.text_at(&created, "/id")?;
        let body = json!({ "displayName": "chaos", "scope": "API_KEY_SCOPE_READ", "serviceAccountId": id });
        let key = self.send("create a key of a service account", Method::POST, "/api/auth/keys", body).await?;
        let secret = self.text_at(&key, "/secret")?;
        self.list_projects("the key of a service account", &secret).await?;
        self.get("list keys of a service account", &format!("/api/auth/keys?serviceAccountId={id}")).await?;
        let (path, name) = (format!("{SERVICE_ACCOUNTS}/{id}"), self.text("renamed").trim().to_owned());
        self.send("rename a service account", Method::PATCH, &path, json!({ "displayName": name })).await?;
        let listed = self.get("list service accounts", SERVICE_ACCOUNTS).await?;
        let mut accounts = listed["serviceAccounts"].as_array().into_iter().flatten();
        if !accounts.any(|account| account["id"] == json!(id) && account["displayName"] == json!(name)) {
            self.client.record.violation(format!("the service account {id} was named {name:?}, and the list is {listed}"));
        }
        let (what, delete) = ("delete a service account", Method::DELETE);
        match self.client.call(ApiCall { what, method: delete, path: &path, body: json!({}), key: None }).await? {
            // 404: an earlier attempt without an answer has deleted it.
            Ok(_) | Err((StatusCode::NOT_FOUND, _)) => {}
            // The sign-up is too long ago.
            Err((StatusCode::FORBIDDEN, problem)) if problem["reason"] == "STEP_UP_REQUIRED" => return Some(()),
            Err(refused) => return self.refused(what, refused),
        }
        self.client.record.deleted(DeletedAccount { user: id, turns: Vec::new() });
        self.with_token(&secret).wait_until_refused("the key of a deleted service account").await
    }
}
