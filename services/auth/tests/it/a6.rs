//! Row A6 of the reference: sign-in, reset and sign-up do the same work for known and unknown addresses. The test counts statements and
//! password hashes of the call itself, and compares the bytes of the answers. Times are measured by `make bench`.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use proto::auth::{RequestPasswordResetRequest, SignInRequest, SignUpRequest};
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
}

struct Shared(std::sync::Arc<Work>);

/// Finds the summary of a statement.
#[derive(Default)]
struct Summary(Option<String>);

impl Visit for Summary {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "db.query.summary" {
            self.0 = Some(value.to_owned());
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

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

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
    Reset,
    SignUp,
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
    async fn make(self, client: &Client, email: &str) -> String {
        let (email, password) = (email.to_owned(), "not the password of anybody".to_owned());
        match self {
            Self::SignIn => {
                seen(client.client.clone().sign_in(client.request(SignInRequest { email, password, ..Default::default() })).await)
            }
            Self::Reset => seen(client.client.clone().request_password_reset(client.request(RequestPasswordResetRequest { email })).await),
            Self::SignUp => {
                let message = SignUpRequest { email, password, ..Default::default() };
                seen(client.client.clone().sign_up(client.request(message)).await)
            }
        }
    }

    /// The statements and hashes of one call, in their order.
    fn work(self) -> &'static [&'static str] {
        match self {
            Self::SignIn => &["select users", "hash password"],
            Self::Reset => &["insert mail"],
            Self::SignUp => &["hash password", "insert mail"],
        }
    }
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
    for email in ["verified@example.org", "no-password@example.org"] {
        open.sign_up(email, PASSWORD).await.expect("account");
    }
    sqlx::query("update users set password_hash = null where email like 'no-%'").execute(&cluster.database.pool).await.expect("removed");
    verify_all(&cluster).await;
    open.sign_up("unverified@example.org", PASSWORD).await.expect("account");
    let gateway = mailbox.auth(&cluster, &[("BACKLOT_SIGNUP", "verify")]).await.gateway();

    for call in [Call::SignIn, Call::Reset, Call::SignUp] {
        let mut answers = Vec::new();
        for email in ["unknown@example.org", "verified@example.org", "unverified@example.org", "no-password@example.org"] {
            work.done.lock().expect("done").clear();
            answers.push(call.make(&gateway, email).await);
            let done = work.done.lock().expect("done").clone();
            assert_eq!(done, call.work(), "{call:?} for {email}");
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{call:?}: {answers:#?}");
    }
    mailbox.settled(&cluster).await;
}
