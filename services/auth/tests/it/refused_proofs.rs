//! The log lines of wrong passwords and codes.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
};

use auth::testing::totp_code;
use chassis::clock::now;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::{
    harness::{Cluster, PASSWORD},
    password_change::change,
    step_up::step_up,
};

const EMAIL: &str = "ada@example.org";
const WRONG: &str = "not the password of anybody";

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

/// Collects the fields of events.
struct Lines(Arc<Mutex<Vec<Fields>>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.0.lock().expect("lines").push(fields);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The account, the network and the kind of each refused proof.
fn refused(lines: &Mutex<Vec<Fields>>) -> Vec<[String; 3]> {
    let lines = lines.lock().expect("lines");
    let refused = lines.iter().filter(|line| line.0.get("message").is_some_and(|text| text == "a proof of identity was refused"));
    refused.map(|line| ["user", "network", "by"].map(|name| line.0[name].clone())).collect()
}

#[tokio::test]
async fn a_wrong_proof_is_a_line_with_the_account_and_the_network() {
    let lines = Arc::default();
    // With a single subscriber, a callsite that another test reaches first is switched off for this one, too.
    let _second = tracing::Dispatch::new(Lines(Arc::default()));
    // For this thread, which runs the service, too.
    let _guard = tracing::subscriber::set_default(Lines(Arc::clone(&lines)));
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let begun = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let access = gateway.exchange(&begun.session_token).await.expect("token").access_token;
    let ada = begun.user.expect("user").id;

    let stranger = gateway.at("198.51.100.7");
    for email in [EMAIL, "nobody@example.org"] {
        stranger.sign_in(email, WRONG).await.expect_err("wrong");
    }
    step_up(&gateway.at("203.0.113.1"), &access, WRONG).await.expect_err("wrong");
    change(&gateway.at("203.0.113.2"), &access, WRONG, "another horse, another battery").await.expect_err("wrong");
    let secret = gateway.start_totp(&access).await.expect("secret").secret;
    gateway.confirm_totp(&access, &totp_code(&secret, now())).await.expect("confirmed");
    gateway.at("203.0.113.3").step_up_by_code(&access, "000000").await.expect_err("wrong");
    let second = gateway.sign_in(EMAIL, PASSWORD).await.expect_err("a second step").metadata["sign_in_token"].clone();
    gateway.at("203.0.113.4").verify_sign_in(&second, "000000").await.expect_err("wrong");

    let (ada, stranger, known) = (ada.as_str(), "198.51.100.0/24", "203.0.113.0/24");
    let expected = [
        [ada, stranger, "password"],
        ["unknown", stranger, "password"],
        [ada, known, "password"],
        [ada, known, "password"],
        [ada, known, "code"],
        [ada, known, "code"],
    ];
    assert_eq!(refused(&lines), expected.map(|line| line.map(str::to_owned)));
}
