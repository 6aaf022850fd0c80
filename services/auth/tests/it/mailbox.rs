//! The outbox of a replica, and the calls that its mails lead to.

use std::{fs, path::PathBuf, time::Duration};

use chassis::testing::eventually;
use proto::{
    auth::{ConfirmPasswordResetRequest, RequestPasswordResetRequest, SendVerificationRequest, VerifyEmailRequest, VerifyEmailResponse},
    error::Fault,
};

use crate::harness::{Client, Cluster, PASSWORD, Replica, Settings, answer, with_token};

const LIMIT: Duration = Duration::from_secs(60);

/// A folder for the outbox of one or more replicas.
pub(crate) struct Mailbox {
    data: tempfile::TempDir,
}

/// A mail of the outbox.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) raw: String,
}

impl Mail {
    pub(crate) fn parse(raw: String) -> Self {
        let header = |name: &str| raw.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
        Self { to: header("To:"), subject: header("Subject:"), raw: raw.clone() }
    }

    /// The link in the plain text.
    pub(crate) fn link(&self) -> &str {
        self.raw.lines().find(|line| line.starts_with("http")).unwrap_or_else(|| panic!("no link in {}", self.raw))
    }

    /// The token of the link.
    pub(crate) fn token(&self) -> String {
        self.link().split_once("?token=").unwrap_or_else(|| panic!("no token in {}", self.link())).1.to_owned()
    }
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        Self { data: tempfile::tempdir().expect("folder") }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.data.path().join("outbox")
    }

    /// Starts a replica with this outbox.
    pub(crate) async fn auth(&self, cluster: &Cluster, settings: &[(&str, &str)]) -> Replica {
        let data = self.data.path().display().to_string();
        let base = [("BACKLOT_DATA_DIR", data.as_str()), ("BACKLOT_PUBLIC_URL", "https://apps.example")];
        cluster.auth_with(Settings(&[&base[..], settings].concat())).await
    }

    /// All mails so far, the oldest first.
    pub(crate) fn all(&self) -> Vec<Mail> {
        let entries = fs::read_dir(self.folder()).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "eml")).collect();
        paths.sort();
        paths.into_iter().map(|path| Mail::parse(fs::read_to_string(path).expect("mail"))).collect()
    }

    /// Waits until the queue is empty. Returns all mails so far.
    pub(crate) async fn settled(&self, cluster: &Cluster) -> Vec<Mail> {
        eventually(LIMIT, || async {
            let due: i64 = sqlx::query_scalar("select count(*) from mail_queue where due_at is not null")
                .fetch_one(&cluster.database.pool)
                .await
                .expect("count");
            (due == 0).then_some(())
        })
        .await;
        self.all()
    }

    /// Sets a new password by the link of a mail.
    pub(crate) async fn reset(&self, cluster: &Cluster, gateway: &Client, (email, password): (&str, &str)) {
        gateway.request_reset(email).await.expect("accepted");
        let mails = self.settled(cluster).await;
        let link = mails.into_iter().rfind(|mail| mail.raw.contains("/account/reset/confirm?token=")).expect("a link").token();
        gateway.confirm_reset(&link, password).await.expect("reset");
    }

    /// The last mail, once the queue is empty.
    pub(crate) async fn last(&self, cluster: &Cluster) -> Mail {
        self.settled(cluster).await.pop().expect("a mail")
    }
}

/// Marks the addresses of all accounts as verified.
pub(crate) async fn verify_all(cluster: &Cluster) {
    sqlx::query("update users set verified_at = now() where owner_id is null").execute(&cluster.database.pool).await.expect("verified");
}

/// Forgets which mails were sent, so that a recipient gets more than three.
pub(crate) async fn forget_sent(cluster: &Cluster) {
    sqlx::query("delete from mail_queue where sent_at is not null").execute(&cluster.database.pool).await.expect("forgotten");
}

/// Whether a row of any table contains the text.
pub(crate) async fn is_stored(cluster: &Cluster, text: &str) -> bool {
    for table in [
        "users",
        "sessions",
        "signing_keys",
        "email_tokens",
        "mail_queue",
        "revocations",
        "user_addresses",
        "totp_secrets",
        "recovery_codes",
        "pending_sign_ins",
        "passkeys",
        "passkey_ceremonies",
    ] {
        let sql = sqlx::AssertSqlSafe(format!("select coalesce(string_agg(t::text, ''), '') from {table} t"));
        let rows: String = sqlx::query_scalar(sql).fetch_one(&cluster.database.pool).await.expect("rows");
        if rows.contains(text) {
            return true;
        }
    }
    false
}

impl Client {
    /// Confirms a sign-up with [`PASSWORD`].
    pub(crate) async fn verify(&self, token: &str) -> Result<VerifyEmailResponse, Box<Fault>> {
        self.verify_with(token, PASSWORD).await
    }

    /// Confirms a sign-up.
    pub(crate) async fn verify_with(&self, token: &str, password: &str) -> Result<VerifyEmailResponse, Box<Fault>> {
        let message = VerifyEmailRequest { token: token.into(), password: password.into() };
        answer(self.client.clone().verify_email(self.request(message)).await)
    }

    /// Verifies the address of the account of the access token.
    pub(crate) async fn verify_as(&self, access_token: &str, token: &str) -> Result<VerifyEmailResponse, Box<Fault>> {
        let message = VerifyEmailRequest { token: token.into(), password: String::new() };
        answer(self.client.clone().verify_email(self.authorized(message, access_token)).await)
    }

    pub(crate) async fn send_verification(&self, access_token: &str) -> Result<(), Box<Fault>> {
        let request = with_token(self.request(SendVerificationRequest {}), access_token);
        answer(self.client.clone().send_verification(request).await).map(drop)
    }

    pub(crate) async fn request_reset(&self, email: &str) -> Result<(), Box<Fault>> {
        let request = self.request(RequestPasswordResetRequest { email: email.into() });
        answer(self.client.clone().request_password_reset(request).await).map(drop)
    }

    pub(crate) async fn confirm_reset(&self, token: &str, password: &str) -> Result<(), Box<Fault>> {
        let request = self.request(ConfirmPasswordResetRequest { token: token.into(), password: password.into() });
        answer(self.client.clone().confirm_password_reset(request).await).map(drop)
    }
}
