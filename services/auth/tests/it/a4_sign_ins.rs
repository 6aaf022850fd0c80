//! Row A4 of the reference: the tokens of sign-ins that wait for a second step, a passkey or a provider. What makes a second step void is in
//! `second_factor.rs`.

use auth::testing::totp_code;
use chassis::{clock::now, testing::Authenticator};
use futures::future::join_all;
use proto::{auth::PasskeyPurpose, error::Fault};
use serde_json::json;

use crate::{
    a4::{RACES, USES},
    api_keys, device,
    harness::{Client, Cluster, PASSWORD, mistyped},
    issuer::{Returned, TestIssuer, person},
    mailbox::Mailbox,
    passkeys::ORIGIN,
};

/// What a token waits for. Each kind stands for the RPC that takes it, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    PendingSignIn,
    Ceremony,
    ProviderState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Used,
    Expired,
    /// One character differs.
    Altered,
}

const KINDS: [Kind; 3] = [Kind::PendingSignIn, Kind::Ceremony, Kind::ProviderState];
const STATES: [State; 4] = [State::Fresh, State::Used, State::Expired, State::Altered];

/// A token, with what completes its sign-in.
struct Step {
    kind: Kind,
    token: String,
    /// A code, the answer of a passkey, or the secret of the browser.
    proof: String,
    /// The answer of the provider; empty for other kinds.
    returned: Returned,
}

impl Step {
    async fn complete(&self, client: &Client) -> Result<(), Box<Fault>> {
        match self.kind {
            Kind::PendingSignIn => client.verify_sign_in(&self.token, &self.proof).await.map(drop),
            Kind::Ceremony => client.finish(&self.token, self.proof.clone()).await.map(drop),
            Kind::ProviderState => {
                let returned = Returned { state: self.token.clone(), ..self.returned.clone() };
                client.finish_at("one", &self.proof, &returned, None).await.map(drop)
            }
        }
    }
}

/// The reason for a token that the RPC does not take.
fn refusal(rpc: Kind) -> &'static str {
    match rpc {
        Kind::PendingSignIn => "SIGN_IN_EXPIRED",
        Kind::Ceremony => "CEREMONY_INVALID",
        Kind::ProviderState => "FLOW_INVALID",
    }
}

/// Asserts that a token completes no sign-in at the RPCs of the kinds but one.
pub(crate) async fn assert_completes_nothing(client: &Client, token: &str, but: Option<Kind>, row: &str) {
    for kind in KINDS.into_iter().filter(|kind| Some(*kind) != but) {
        let returned = Returned { code: "x".into(), ..Returned::default() };
        let step = Step { kind, token: token.to_owned(), proof: "x".into(), returned };
        let refused = step.complete(client).await.expect_err(row);
        assert_eq!(refused.reason, refusal(kind), "{row} at the RPC for {kind:?}: {refused:?}");
    }
}

struct Fixture {
    cluster: Cluster,
    _mailbox: Mailbox,
    issuer: TestIssuer,
    /// Of two replicas.
    clients: [Client; 2],
    /// Of a replica whose sign-ups need an invite.
    guests: Client,
    /// Has the passkey of an account.
    device: Authenticator,
    /// The access token of another account.
    access: String,
    /// Addresses of accounts with an app, and their unused recovery codes.
    codes: Vec<(String, String)>,
    /// How many accounts there are.
    accounts: usize,
}

impl Fixture {
    async fn start() -> Self {
        let (cluster, mailbox, issuer) = (Cluster::start().await, Mailbox::new(), TestIssuer::start().await);
        let entries = json!([issuer.entry("one")]).to_string();
        let provider = ("BACKLOT_OIDC_PROVIDERS", entries.as_str());
        let one = mailbox.auth(&cluster, &[provider]).await.gateway();
        let other = mailbox.auth(&cluster, &[provider]).await.gateway();
        let guests = mailbox.auth(&cluster, &[("BACKLOT_SIGNUP", "invite")]).await.gateway();
        let mut device = Authenticator::at(ORIGIN);
        let owner = one.signed_up("owner@example.org").await;
        one.register(&owner, &mut device).await.expect("registered");
        let access = one.signed_up("spare@example.org").await;
        let clients = [one, other];
        Self { cluster, _mailbox: mailbox, issuer, clients, guests, device, access, codes: Vec::new(), accounts: 0 }
    }

    /// The address of a new account.
    fn next_email(&mut self) -> String {
        self.accounts += 1;
        format!("person-{}@example.org", self.accounts)
    }

    /// A recovery code that was not used, and the address of its account.
    async fn unused_code(&mut self) -> (String, String) {
        if self.codes.is_empty() {
            let (email, client) = (self.next_email(), &self.clients[0]);
            let access = client.signed_up(&email).await;
            let secret = client.start_totp(&access).await.expect("secret").secret;
            let codes = client.confirm_totp(&access, &totp_code(&secret, now())).await.expect("confirmed").recovery_codes;
            self.codes = codes.into_iter().map(|code| (email.clone(), code)).collect();
        }
        self.codes.pop().expect("an app has recovery codes")
    }

    async fn begin(&mut self, kind: Kind) -> Step {
        match kind {
            Kind::PendingSignIn => {
                let (email, proof) = self.unused_code().await;
                let fault = self.clients[0].sign_in(&email, PASSWORD).await.expect_err("a second step");
                Step { kind, token: fault.metadata["sign_in_token"].clone(), proof, returned: Returned::default() }
            }
            Kind::Ceremony => {
                let asked = self.clients[0].ask(PasskeyPurpose::SignIn, None).await.expect("a question");
                let proof = self.device.get(&asked.options);
                Step { kind, token: asked.ceremony_token, proof, returned: Returned::default() }
            }
            Kind::ProviderState => {
                let email = self.next_email();
                let begun = self.clients[0].start_at("one").await.expect("begun");
                let returned = self.issuer.authorize(&begun.authorization_url, person(&email, &email));
                Step { kind, token: returned.state.clone(), proof: begun.browser_secret, returned }
            }
        }
    }

    async fn begin_in(&mut self, kind: Kind, state: State) -> Step {
        let mut step = self.begin(kind).await;
        match state {
            State::Fresh => {}
            State::Used => step.complete(&self.clients[0]).await.expect("used"),
            State::Expired => {
                for table in ["pending_sign_ins", "passkey_ceremonies", "provider_flows"] {
                    let sql = sqlx::AssertSqlSafe(format!("update {table} set expires_at = now() - interval '1 second'"));
                    sqlx::query(sql).execute(&self.cluster.database.pool).await.expect("changed");
                }
            }
            State::Altered => step.token = mistyped(&step.token),
        }
        step
    }

    /// Asserts that a token is none of a link, an invite, a device, a session or a program.
    async fn assert_opens_nothing(&self, token: &str, row: &str) {
        let client = &self.clients[0];
        for refused in [
            client.verify(token).await.map(drop),
            client.verify_as(&self.access, token).await.map(drop),
            client.confirm_reset(token, PASSWORD).await,
            client.confirm_email(&self.access, token).await.map(drop),
        ] {
            assert_eq!(refused.expect_err(row).reason, "LINK_INVALID", "{row}");
        }
        assert_eq!(self.guests.sign_up_with("guest@example.org", token).await.expect_err(row).reason, "INVITE_INVALID", "{row}");
        let device = device::exchange(client, token).await.expect_err(row);
        assert!(["CODE_ENDED", "INVALID_FIELD"].contains(&device.reason.as_str()), "{row}: {device:?}");
        assert_eq!(client.exchange(token).await.expect_err(row).reason, "SESSION_ENDED", "{row}");
        client.session(token).await.expect_err("it is no access token");
    }
}

#[tokio::test]
async fn a4_a_token_of_a_sign_in_works_only_in_its_state_and_at_its_step() {
    let mut fixture = Fixture::start().await;
    for kind in KINDS {
        for state in STATES {
            let (step, row) = (fixture.begin_in(kind, state).await, format!("{kind:?} {state:?}"));
            fixture.assert_opens_nothing(&step.token, &row).await;
            let client = &fixture.clients[1];
            client.refresh(&step.token).await.expect_err("it is no refresh token");
            client.exchange_key(&step.token).await.expect_err("it is no API key");
            assert_completes_nothing(client, &step.token, Some(kind), &row).await;
            let outcome = step.complete(client).await.map_err(|fault| fault.reason);
            let expected = if state == State::Fresh { Ok(()) } else { Err(refusal(kind).to_owned()) };
            assert_eq!(outcome, expected, "{row}");
            assert_eq!(step.complete(client).await.expect_err(&row).reason, refusal(kind), "{row}, once more");
        }
    }
}

#[tokio::test]
async fn a4_a_refresh_token_and_an_api_key_complete_no_other_step() {
    let fixture = Fixture::start().await;
    let client = &fixture.clients[0];
    let program = client.refresh_token(&fixture.access).await.expect("a program").refresh_token;
    let key = api_keys::make(client, &fixture.access, api_keys::reading()).await.expect("a key").secret;
    for (token, row) in [(&program, "a refresh token"), (&key, "an API key")] {
        fixture.assert_opens_nothing(token, row).await;
        assert_completes_nothing(client, token, None, row).await;
    }
    client.refresh(&program).await.expect("still usable");
    client.exchange_key(&key).await.expect("still usable");
}

/// Each token is used fifty times at once, at two replicas.
async fn race(kind: Kind) {
    let mut fixture = Fixture::start().await;
    for number in 0..RACES {
        let step = fixture.begin(kind).await;
        let uses = (0..USES).map(|at| step.complete(&fixture.clients[at % 2]));
        let results = join_all(uses).await;
        let refused: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).map(|fault| fault.reason.as_str()).collect();
        assert_eq!(refused, [refusal(kind); USES - 1], "{kind:?} {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_of_fifty_uses_at_once_of_a_second_step_one_succeeds() {
    race(Kind::PendingSignIn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_of_fifty_uses_at_once_of_a_passkey_exchange_one_succeeds() {
    race(Kind::Ceremony).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_of_fifty_uses_at_once_of_a_state_one_succeeds() {
    race(Kind::ProviderState).await;
}
