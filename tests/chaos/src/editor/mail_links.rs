//! Links in mails: a person proves the address of an account, changes it, and sets a new password. Each link is used twice, and only the first
//! use counts.

use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{canary::Stopwatch, person::PASSWORD};
use tokio::time::{Duration, sleep};

use super::{Editor, PAUSE, POLL, credentials::NEW_PASSWORD};
use crate::{
    client::ApiCall,
    deployment::timeline,
    outbox::{self, WantedLink},
    record::KnownAccount,
};

/// The password of the second use of a link.
const OTHER_PASSWORD: &str = "amber lighthouse beyond the old mill 8";
/// How long a mail is waited for. The one of a replica that was killed takes longer, so the person asks again.
const MAIL_WITHIN: Duration = Duration::from_secs(5);
/// A recipient gets so many mails of a kind within an hour.
const REQUESTS: usize = 3;

/// A request for a mail with a link.
struct LinkRequest<'a> {
    what: &'a str,
    path: &'a str,
    body: Value,
    to: String,
    page: &'static str,
}

impl Editor {
    /// Uses the links of a new account, as far as their mails come in time.
    pub(super) async fn use_links(&mut self, outbox: &Path) -> Option<()> {
        let mut owner = self.newcomer().await?;
        let mut known = owner.known_account();
        owner.follow_links(outbox, &mut known).await?;
        self.client.record.credentials(|credentials| credentials.accounts.push(known));
        sleep(PAUSE).await;
        Some(())
    }

    async fn follow_links(&mut self, outbox: &Path, known: &mut KnownAccount) -> Option<()> {
        known.is_verified = self.verify_address(outbox).await?;
        if known.is_verified && self.change_address(outbox, known).await? {
            self.reset_password(outbox, known).await?;
        }
        Some(())
    }

    /// Returns `false` if there was no mail in time, like the functions below.
    async fn verify_address(&mut self, outbox: &Path) -> Option<bool> {
        let (what, path, to) = ("ask for a verification", "/api/auth/verify/send", self.client.people[0].email.clone());
        let request = LinkRequest { what, path, body: json!({}), to, page: "/account/verify-email" };
        let Some(token) = self.link(outbox, request).await? else { return Some(false) };
        let body = json!({ "token": token });
        self.use_link("verify an address", "/api/auth/verify", body.clone()).await?;
        self.use_again("the link of a verification", "/api/auth/verify", body).await?;
        // There is nothing left to verify, so this mail is dropped.
        self.send(what, Method::POST, path, json!({})).await?;
        Some(true)
    }

    async fn change_address(&mut self, outbox: &Path, known: &mut KnownAccount) -> Option<bool> {
        let new = format!("{}@example.com", uuid::Uuid::now_v7().simple());
        let (what, body) = ("ask for another address", json!({ "newEmail": new }));
        let request = LinkRequest { what, path: "/api/auth/email", body, to: new.clone(), page: "/account/new-email" };
        let Some(token) = self.link(outbox, request).await? else { return Some(false) };
        let body = json!({ "token": token, "tokenInAnswer": true });
        let changed = self.use_link("change the address", "/api/auth/email/confirm", body).await?;
        known.email.clone_from(&new);
        let mut renamed = self.with_email(&new);
        let of_new_address = renamed.sign_in(PASSWORD).await?;
        let session = match changed {
            Some(answer) => self.text_at(&answer, "/sessionToken")?,
            None => of_new_address,
        };
        let refused = self.try_sign_in(PASSWORD).await?;
        self.used("the address from before a change", false, &refused)?;
        self.wait_until_refused("a session from before a new address").await?;
        *self = renamed.with_session(&session);
        self.use_again_on_page("/account/new-email", &token).await?;
        Some(true)
    }

    async fn reset_password(&mut self, outbox: &Path, known: &KnownAccount) -> Option<bool> {
        let (to, body) = (known.email.clone(), json!({ "email": known.email }));
        let request = LinkRequest { what: "ask for a reset", path: "/api/auth/reset", body, to, page: "/account/reset/confirm" };
        let Some(token) = self.link(outbox, request).await? else { return Some(false) };
        let path = "/api/auth/reset/confirm";
        self.use_link("reset the password", path, json!({ "token": token, "password": NEW_PASSWORD })).await?;
        self.use_again("the link of a reset", path, json!({ "token": token, "password": OTHER_PASSWORD })).await?;
        self.wait_until_refused("a session from before a reset").await?;
        for (what, password) in [("the password from before a reset", PASSWORD), ("the password of a used link", OTHER_PASSWORD)] {
            let refused = self.try_sign_in(password).await?;
            self.used(what, false, &refused)?;
        }
        self.sign_in(NEW_PASSWORD).await?;
        Some(true)
    }

    /// Asks for a mail until it comes, and returns the token of its link. Returns `None` within if it does not come in time, or if the sign-up
    /// is too long ago for the request.
    async fn link(&mut self, outbox: &Path, request: LinkRequest<'_>) -> Option<Option<String>> {
        let LinkRequest { what, path, body, to, page } = request;
        let wanted = WantedLink { to, page, since: timeline::now() };
        for _ in 0..REQUESTS {
            match self.client.call(ApiCall { what, method: Method::POST, path, body: body.clone(), key: None }).await? {
                Ok(_) => {}
                Err((StatusCode::FORBIDDEN, problem)) if problem["reason"] == "STEP_UP_REQUIRED" => return Some(None),
                Err(refused) => return self.refused(what, refused),
            }
            if let Some(token) = token_in_time(outbox, &wanted).await {
                return Some(Some(token));
            }
        }
        Some(None)
    }

    /// Uses a link. Returns `None` within if an earlier attempt without an answer has used it, which may have ended the session.
    async fn use_link(&mut self, what: &str, path: &str, body: Value) -> Option<Option<Value>> {
        match self.client.call(ApiCall { what, method: Method::POST, path, body, key: None }).await? {
            Ok(answer) => Some(Some(answer)),
            Err((StatusCode::UNAUTHORIZED, _)) => Some(None),
            Err((_, problem)) if problem["reason"] == "LINK_INVALID" => Some(None),
            Err(refused) => self.refused(what, refused),
        }
    }

    async fn use_again(&mut self, what: &str, path: &str, body: Value) -> Option<()> {
        let outcome = self.client.call(ApiCall { what, method: Method::POST, path, body, key: None }).await?;
        self.used(what, false, &outcome)
    }

    /// The same with the form of a page, which also asks what the link would change.
    async fn use_again_on_page(&mut self, page: &str, token: &str) -> Option<()> {
        match self.client.form("use a link again", page, &[("token", token)]).await? {
            Ok(answer) if answer.url.path() == "/account/email" => self.record_use("a link on its page", false, None),
            Err((StatusCode::BAD_REQUEST, _)) => self.record_use("a link on its page", false, Some("LINK_INVALID".to_owned())),
            Ok(answer) => return self.wrong(format!("a used link leads to {}", answer.url)),
            Err(refused) => return self.refused("use a link again", refused),
        }
        Some(())
    }
}

/// The token of a link, if its mail comes in time.
pub(super) async fn token_in_time(outbox: &Path, wanted: &WantedLink) -> Option<String> {
    let clock = Stopwatch::start();
    while clock.elapsed() < MAIL_WITHIN {
        if let Some(token) = outbox::token(outbox, wanted).await {
            return Some(token);
        }
        sleep(POLL).await;
    }
    None
}
