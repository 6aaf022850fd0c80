//! Row A6 of the reference: sign-in, reset and sign-up do the same work for known and unknown addresses. The test counts statements and
//! password hashes of the call itself and its calls of rate-limit, adds up the work of the hashes, and compares the bytes of the answers. Times
//! are measured by `make bench`.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use proto::auth::{ChangeEmailRequest, RequestPasswordResetRequest, SignInRequest, SignUpRequest};
use tonic::{Response, Status};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::{
    harness::{Client, Cluster, PASSWORD},
    mailbox::{Mailbox, verify_all},
};

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Collects the spans of calls: the names of the statements and hashes below the span of an RPC.
#[derive(Default)]
struct Work {
    next: AtomicU64,
    /// By id: the parent, and whether the span is below one of a call.
    spans: Mutex<BTreeMap<u64, bool>>,
    done: Mutex<Vec<String>>,
    /// What the hashes of passwords below the span of an RPC have filled, in KiB.
    hashed: Mutex<Vec<u64>>,
}

impl Work {
    fn clear(&self) {
        self.done.lock().expect("done").clear();
        self.hashed.lock().expect("hashed").clear();
    }
}

struct Shared(std::sync::Arc<Work>);

/// Finds the summary of a statement, and a call of rate-limit.
#[derive(Default)]
struct Summary(Option<String>);

/// Finds the work of a hash.
#[derive(Default)]
struct Kib(Option<u64>);

impl Visit for Kib {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "kib" {
            self.0 = Some(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

const CHECK: &str = "rate limit";

impl Visit for Summary {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "db.query.summary" {
            self.0 = Some(value.to_owned());
        }
        // Its server runs in this process, too.
        if field.name() == "rpc.method" && value.ends_with("RateLimitService/Check") {
            self.0 = Some(CHECK.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl Subscriber for Shared {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span()
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let work = &self.0;
        let id = work.next.fetch_add(1, Ordering::SeqCst) + 1;
        let parent = attributes
            .parent()
            .map(span::Id::into_u64)
            .or_else(|| if attributes.is_contextual() { ENTERED.with_borrow(|entered| entered.last().copied()) } else { None });
        let name = attributes.metadata().name();
        let is_call = name == "request" || parent.is_some_and(|parent| work.spans.lock().expect("spans").get(&parent) == Some(&true));
        work.spans.lock().expect("spans").insert(id, is_call);
        let mut summary = Summary::default();
        attributes.record(&mut summary);
        if is_call && let Some(step) = summary.0.or_else(|| (name == "hash password").then(|| name.to_owned())) {
            work.done.lock().expect("done").push(step);
        }
        span::Id::from_u64(id)
    }

    fn record(&self, id: &span::Id, values: &span::Record<'_>) {
        let mut kib = Kib::default();
        values.record(&mut kib);
        if let Some(kib) = kib.0
            && self.0.spans.lock().expect("spans").get(&id.into_u64()) == Some(&true)
        {
            self.0.hashed.lock().expect("hashed").push(kib);
        }
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &span::Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
    }

    fn exit(&self, id: &span::Id) {
        ENTERED.with_borrow_mut(|entered| {
            if let Some(at) = entered.iter().rposition(|entered| *entered == id.into_u64()) {
                entered.remove(at);
            }
        });
    }
}

#[derive(Debug, Clone, Copy)]
enum Call {
    SignIn,
    /// With the right password of the accounts.
    SignInWithPassword,
    Reset,
    SignUp,
    ChangeEmail,
}

/// What a stranger sees of an answer: code, message, details, headers and body. The names of headers count; dates and traces differ.
fn seen<T: prost_reflect::prost::Message>(result: Result<Response<T>, Status>) -> String {
    match result {
        Ok(response) => {
            let names: Vec<_> = response.metadata().keys().map(|key| format!("{key:?}")).collect();
            format!("ok {names:?} {:?}", response.into_inner().encode_to_vec())
        }
        Err(status) => {
            let names: Vec<_> = status.metadata().keys().map(|key| format!("{key:?}")).collect();
            format!("{:?} {} {:?} {names:?}", status.code(), status.message(), status.details())
        }
    }
}

impl Call {
    /// `access` is the token of a person.
    async fn make(self, client: &Client, access: &str, email: &str) -> String {
        let is_right = matches!(self, Self::SignInWithPassword);
        let (email, password) = (email.to_owned(), if is_right { PASSWORD } else { "not the password of anybody" }.to_owned());
        match self {
            Self::SignIn | Self::SignInWithPassword => {
                seen(client.client.clone().sign_in(client.request(SignInRequest { email, password, ..Default::default() })).await)
            }
            Self::Reset => seen(client.client.clone().request_password_reset(client.request(RequestPasswordResetRequest { email })).await),
            Self::SignUp => {
                let message = SignUpRequest { email, password, ..Default::default() };
                seen(client.client.clone().sign_up(client.request(message)).await)
            }
            Self::ChangeEmail => {
                let message = ChangeEmailRequest { new_email: email };
                seen(client.client.clone().change_email(client.authorized(message, access)).await)
            }
        }
    }

    /// Whether the call compares a password with a stored hash.
    fn verifies(self) -> bool {
        matches!(self, Self::SignIn | Self::SignInWithPassword)
    }

    /// The statements, hashes and calls of rate-limit of one call, in their order.
    fn work(self) -> &'static [&'static str] {
        match self {
            Self::SignIn | Self::SignInWithPassword => &["select users", CHECK, CHECK, "hash password", CHECK],
            Self::Reset => &[CHECK, "insert mail"],
            Self::SignUp => &[CHECK, "hash password", "insert mail"],
            // The session is looked up before the attempt counts, and again by the transaction that makes the mail.
            Self::ChangeEmail => &[
                "begin",
                "lock users",
                "select sessions",
                "select factors",
                CHECK,
                "begin",
                "lock users",
                "select sessions",
                "select factors",
                "insert mail",
                "commit",
            ],
        }
    }
}

async fn make_accounts(cluster: &Cluster, mailbox: &Mailbox, open: &Client) {
    for email in ["verified@example.org", "no-password@example.org"] {
        open.sign_up(email, PASSWORD).await.expect("account");
    }
    sqlx::query("update users set password_hash = null where email like 'no-%'").execute(&cluster.database.pool).await.expect("removed");
    // Of an earlier or a later setting.
    for (email, memory) in [("weak@example.org", "32"), ("strong@example.org", "128")] {
        let other = mailbox.auth(cluster, &[("BACKLOT_ARGON2_MEMORY_KIB", memory)]).await.gateway();
        other.sign_up(email, PASSWORD).await.expect("account");
    }
    verify_all(cluster).await;
    open.sign_up("unverified@example.org", PASSWORD).await.expect("account");
}

#[tokio::test]
async fn a6_known_and_unknown_addresses_cause_the_same_work_and_answers() {
    let work = std::sync::Arc::new(Work::default());
    // With a single subscriber, a callsite that another test reaches first is switched off for this one, too.
    let _second = tracing::Dispatch::new(Shared(std::sync::Arc::default()));
    // For this thread, which runs the service, too.
    let _guard = tracing::subscriber::set_default(Shared(std::sync::Arc::clone(&work)));
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let open = mailbox.auth(&cluster, &[]).await.gateway();
    make_accounts(&cluster, &mailbox, &open).await;
    let gateway = mailbox.auth(&cluster, &[("BACKLOT_SIGNUP", "verify")]).await.gateway();
    let person = open.sign_up("person@example.org", PASSWORD).await.expect("account").session_token;
    let access = gateway.exchange(&person).await.expect("token").access_token;

    let emails = [
        "unknown@example.org",
        "verified@example.org",
        "unverified@example.org",
        "no-password@example.org",
        "weak@example.org",
        "strong@example.org",
    ];
    // The accounts know the address of the first client, and not that of the second one.
    let elsewhere = gateway.at("198.51.100.7");
    for (call, client) in [
        (Call::SignIn, &gateway),
        (Call::SignIn, &elsewhere),
        (Call::Reset, &gateway),
        (Call::SignUp, &gateway),
        (Call::ChangeEmail, &gateway),
    ] {
        let mut answers = Vec::new();
        for email in emails {
            work.clear();
            answers.push(call.make(client, &access, email).await);
            let done = work.done.lock().expect("done").clone();
            assert_eq!(done, call.work(), "{call:?} for {email}");
            // A stored hash of more work than a new one takes longer (T-303).
            let kib = if call.verifies() && email.starts_with("strong") { 128 } else { 64 };
            let hashes = done.iter().filter(|step| *step == "hash password").count();
            assert_eq!(*work.hashed.lock().expect("hashed"), vec![kib; hashes], "{call:?} for {email}");
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{call:?}: {answers:#?}");
    }
    mailbox.settled(&cluster).await;

    // The right password of a disabled account is like an unknown address, also if its hash is of an earlier setting.
    sqlx::query("update users set disabled_at = now()").execute(&cluster.database.pool).await.expect("disabled");
    let before = hashes(&cluster).await;
    let later = mailbox.auth(&cluster, &[("BACKLOT_ARGON2_MEMORY_KIB", "128")]).await.gateway();
    for client in [&gateway, &later] {
        work.clear();
        let unknown = Call::SignIn.make(client, "", "unknown@example.org").await;
        let hashed = work.hashed.lock().expect("hashed").clone();
        work.clear();
        assert_eq!(Call::SignInWithPassword.make(client, "", "verified@example.org").await, unknown);
        // The log has it after the answer.
        let done: Vec<_> = work.done.lock().expect("done").iter().filter(|step| *step != "insert audit_events").cloned().collect();
        assert_eq!(done, Call::SignInWithPassword.work());
        assert_eq!(*work.hashed.lock().expect("hashed"), hashed);
    }
    assert_eq!(hashes(&cluster).await, before, "no hash was replaced");
}

async fn hashes(cluster: &Cluster) -> Vec<Option<String>> {
    sqlx::query_scalar("select password_hash from users order by id").fetch_all(&cluster.database.pool).await.expect("hashes")
}
