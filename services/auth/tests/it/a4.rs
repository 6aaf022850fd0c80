//! Row A4 of the reference: the tokens of links, of invites and of devices. Every state of a token at every RPC that takes one, and a
//! thousand uses of each kind, fifty at once. `a4_sign_ins.rs` has the tokens of sign-ins.

use std::sync::atomic::{AtomicUsize, Ordering};

use auth::testing::totp_code;
use chassis::clock::now;
use futures::future::join_all;
use proto::{auth::Plan, error::Fault};

use crate::{
    a4_sign_ins,
    admin::{Admin, token_of},
    device,
    harness::{Client, Cluster, PASSWORD, Replica, mistyped},
    mailbox::{Mailbox, forget_sent},
};

const NEW_PASSWORD: &str = "another horse battery staple";
/// Tokens of each kind, and the uses of each one at once.
pub(crate) const RACES: usize = 20;
pub(crate) const USES: usize = 50;

/// What a token is for. Each purpose but [`Purpose::Verify`] and [`Purpose::FirstPassword`] stands for the RPC that takes it, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    SignUp,
    Verify,
    Reset,
    /// The link that an operator gets for a new account.
    FirstPassword,
    Change,
    /// The link of the mail about a new second factor.
    RemoveFactor,
    Invite,
    /// The code of a device whose person has approved.
    Device,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Used,
    Expired,
    /// One character differs.
    Altered,
    /// Another mail for the same purpose was used.
    Superseded,
    /// The account has another address since.
    Moved,
    /// The account does not exist any more.
    Deleted,
}

const PURPOSES: [Purpose; 8] = [
    Purpose::SignUp,
    Purpose::Verify,
    Purpose::Reset,
    Purpose::FirstPassword,
    Purpose::Change,
    Purpose::RemoveFactor,
    Purpose::Invite,
    Purpose::Device,
];
const RPCS: [Purpose; 6] = [Purpose::SignUp, Purpose::Reset, Purpose::Change, Purpose::RemoveFactor, Purpose::Invite, Purpose::Device];
const STATES: [State; 7] = [State::Fresh, State::Used, State::Expired, State::Altered, State::Superseded, State::Moved, State::Deleted];

/// Whether the test has the state. The other states of links to new addresses are in `email_change.rs`, and that of another factor in
/// `factor_links.rs`; invites and devices have none.
fn has(purpose: Purpose, state: State) -> bool {
    match purpose {
        Purpose::SignUp | Purpose::Verify | Purpose::Reset | Purpose::FirstPassword => true,
        Purpose::RemoveFactor => state != State::Superseded,
        Purpose::Change | Purpose::Invite | Purpose::Device => !matches!(state, State::Superseded | State::Moved | State::Deleted),
    }
}

/// The RPC that takes the token.
fn rpc_of(purpose: Purpose) -> Purpose {
    match purpose {
        Purpose::Verify => Purpose::SignUp,
        Purpose::FirstPassword => Purpose::Reset,
        other => other,
    }
}

/// Whether the RPC takes the token. The RPC for a reset also takes that of a sign-up, for another password.
fn takes(rpc: Purpose, purpose: Purpose) -> bool {
    rpc == rpc_of(purpose) || (rpc == Purpose::Reset && purpose == Purpose::SignUp)
}

/// Whether the RPC refuses a token with this reason.
fn is_refusal(rpc: Purpose, reason: &str) -> bool {
    match rpc {
        Purpose::SignUp | Purpose::Verify | Purpose::Reset | Purpose::FirstPassword | Purpose::RemoveFactor => reason == "LINK_INVALID",
        // A new address ends the sessions, also that of the token.
        Purpose::Change => ["LINK_INVALID", "SESSION_ENDED"].contains(&reason),
        Purpose::Invite => reason == "INVITE_INVALID",
        Purpose::Device => ["CODE_ENDED", "INVALID_FIELD"].contains(&reason),
    }
}

struct Fixture {
    cluster: Cluster,
    mailbox: Mailbox,
    by_invite: Replica,
    /// Of a replica whose sign-up is open, and of one whose sign-ups need a mail.
    clients: [Client; 2],
    /// Of `by_invite`.
    guests: Client,
    /// The guests so far.
    invited: AtomicUsize,
    /// The access token of an account that has no link.
    spare: String,
}

/// A token, and the access token of whoever asked for it; empty without one.
struct Link {
    token: String,
    access: String,
}

impl Fixture {
    async fn start() -> Self {
        let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
        let open = mailbox.auth(&cluster, &[]).await.gateway();
        let by_mail = mailbox.auth(&cluster, &[("BACKLOT_SIGNUP", "verify")]).await.gateway();
        let by_invite = mailbox.auth(&cluster, &[("BACKLOT_SIGNUP", "invite")]).await;
        let (guests, spare) = (by_invite.gateway(), open.signed_up("spare@example.org").await);
        Self { cluster, mailbox, by_invite, clients: [open, by_mail], guests, invited: AtomicUsize::new(0), spare }
    }

    /// An access token of the account, which is created if it does not exist.
    async fn access(&self, email: &str) -> String {
        let open = &self.clients[0];
        let session = match open.sign_up(email, PASSWORD).await {
            Ok(account) => account.session_token,
            Err(_) => open.sign_in(email, PASSWORD).await.expect("session").session_token,
        };
        open.exchange(&session).await.expect("token").access_token
    }

    /// Asks for a token. It is empty if a mail has it.
    async fn ask(&self, purpose: Purpose, email: &str) -> Link {
        let [open, by_mail] = &self.clients;
        let (mut token, mut access) = (String::new(), String::new());
        match purpose {
            Purpose::SignUp => drop(by_mail.sign_up(email, PASSWORD).await.expect("accepted")),
            Purpose::Verify => {
                access = self.access(email).await;
                open.send_verification(&access).await.expect("accepted");
            }
            Purpose::Reset => {
                drop(open.sign_up(email, PASSWORD).await);
                open.request_reset(email).await.expect("accepted");
            }
            Purpose::FirstPassword => {
                token = token_of(&Admin::of(&self.by_invite).create(email, "", Plan::Free).await.expect("account"));
            }
            Purpose::Change => {
                access = self.access(email).await;
                open.change_email(&access, &format!("new-{email}")).await.expect("accepted");
            }
            Purpose::RemoveFactor => {
                let of_owner = self.access(email).await;
                let secret = open.start_totp(&of_owner).await.expect("secret").secret;
                open.confirm_totp(&of_owner, &totp_code(&secret, now())).await.expect("added");
            }
            Purpose::Invite => token = Admin::of(&self.by_invite).invite("").await.token,
            Purpose::Device => {
                let started = device::start(open).await;
                device::decide(open, &self.access(email).await, &started.user_code, true).await.expect("approved");
                token = started.device_code;
            }
        }
        Link { token, access }
    }

    /// New tokens of this purpose, each for an address of its own.
    async fn links(&self, purpose: Purpose, emails: &[String]) -> Vec<Link> {
        forget_sent(&self.cluster).await;
        let mut links = Vec::new();
        for email in emails {
            links.push(self.ask(purpose, email).await);
        }
        // The mail about a password that was changed before may be the last one.
        let mails = self.mailbox.settled(&self.cluster).await;
        for (link, email) in links.iter_mut().zip(emails).filter(|(link, _)| link.token.is_empty()) {
            let to = if purpose == Purpose::Change { format!("new-{email}") } else { email.clone() };
            let mail = mails.iter().rfind(|mail| mail.to == to && mail.link().contains("?token="));
            link.token = mail.unwrap_or_else(|| panic!("no mail: {purpose:?}")).token();
        }
        links
    }

    async fn link(&self, purpose: Purpose, email: &str) -> Link {
        self.links(purpose, &[email.to_owned()]).await.remove(0)
    }

    async fn link_in(&self, purpose: Purpose, state: State, email: &str) -> Link {
        let mut link = self.link(purpose, email).await;
        match state {
            State::Fresh => {}
            State::Used => self.use_at(0, purpose, &link).await.expect("used"),
            // No other token is fresh then.
            State::Expired => {
                for table in ["email_tokens", "invites", "device_sign_ins"] {
                    let sql = sqlx::AssertSqlSafe(format!("update {table} set expires_at = now()"));
                    sqlx::query(sql).execute(&self.cluster.database.pool).await.expect("changed");
                }
            }
            State::Altered => link.token = mistyped(&link.token),
            State::Superseded => {
                let next = self.link(if purpose == Purpose::FirstPassword { Purpose::Reset } else { purpose }, email).await;
                self.use_at(0, purpose, &next).await.expect("used");
            }
            State::Moved => self.execute("update users set email = 'moved-' || email where email = $1", email).await,
            State::Deleted => self.execute("delete from users where email = $1", email).await,
        }
        link
    }

    async fn execute(&self, sql: &'static str, email: &str) {
        sqlx::query(sql).bind(email).execute(&self.cluster.database.pool).await.expect("changed");
    }

    /// Uses the token at an RPC of one of the replicas, for the account of the token or for another one.
    async fn use_at(&self, replica: usize, rpc: Purpose, link: &Link) -> Result<(), Box<Fault>> {
        let client = &self.clients[replica % self.clients.len()];
        match rpc {
            Purpose::Verify => client.verify_as(&link.access, &link.token).await.map(drop),
            Purpose::SignUp => client.verify(&link.token).await.map(drop),
            Purpose::Reset | Purpose::FirstPassword => client.confirm_reset(&link.token, NEW_PASSWORD).await,
            Purpose::Change => {
                let access = if link.access.is_empty() { &self.spare } else { &link.access };
                client.confirm_email(access, &link.token).await.map(drop)
            }
            Purpose::RemoveFactor => client.remove_new_factor(&link.token).await,
            Purpose::Invite => {
                let guest = format!("guest-{}@example.org", self.invited.fetch_add(1, Ordering::Relaxed));
                self.guests.sign_up_with(&guest, &link.token).await.map(drop)
            }
            Purpose::Device => device::exchange(client, &link.token).await,
        }
    }
}

/// A sign-up has no account yet that could move or be deleted.
fn is_usable(purpose: Purpose, state: State) -> bool {
    state == State::Fresh || purpose == Purpose::SignUp && matches!(state, State::Moved | State::Deleted)
}

/// Asserts that each other RPC refuses the token. The RPCs come before that of the token, because a refusal must not use it.
async fn assert_refused_elsewhere(fixture: &Fixture, purpose: Purpose, link: &Link, row: &str) {
    for rpc in RPCS.into_iter().filter(|rpc| !takes(*rpc, purpose)) {
        let refused = fixture.use_at(0, rpc, link).await.expect_err(row);
        assert!(is_refusal(rpc, &refused.reason), "{row} at the RPC for {rpc:?}: {refused:?}");
    }
    let client = &fixture.clients[0];
    client.verify_as(&fixture.spare, &link.token).await.expect_err("of another account, or a sign-up without its password");
    if purpose == Purpose::Verify {
        client.verify(&link.token).await.expect_err("without a session of the account");
    }
    assert_eq!(client.exchange(&link.token).await.expect_err(row).reason, "SESSION_ENDED", "{row} as a session");
    client.refresh(&link.token).await.expect_err("it is no refresh token");
    client.exchange_key(&link.token).await.expect_err("it is no API key");
    client.session(&link.token).await.expect_err("it is no access token");
    a4_sign_ins::assert_completes_nothing(client, &link.token, None, row).await;
}

#[tokio::test]
async fn a4_a_token_works_only_in_its_state_and_at_its_step() {
    let fixture = Fixture::start().await;
    for (n, purpose) in PURPOSES.into_iter().enumerate() {
        for (m, state) in STATES.into_iter().enumerate().filter(|(_, state)| has(purpose, *state)) {
            let link = fixture.link_in(purpose, state, &format!("ada-{n}-{m}@example.org")).await;
            let row = format!("{purpose:?} {state:?}");
            assert_refused_elsewhere(&fixture, purpose, &link, &row).await;
            match fixture.use_at(0, purpose, &link).await {
                Ok(()) => assert!(is_usable(purpose, state), "{row}"),
                Err(fault) => assert!(!is_usable(purpose, state) && is_refusal(purpose, &fault.reason), "{row}: {fault:?}"),
            }
            let again = fixture.use_at(0, purpose, &link).await.expect_err(&row);
            assert!(is_refusal(purpose, &again.reason), "{row}, once more: {again:?}");
        }
    }
}

/// Each token is used fifty times at once, at two replicas.
async fn race(purpose: Purpose) {
    let fixture = Fixture::start().await;
    let emails: Vec<_> = (0..RACES).map(|n| format!("ada-{n}@example.org")).collect();
    for link in fixture.links(purpose, &emails).await {
        let results = join_all((0..USES).map(|at| fixture.use_at(at, purpose, &link))).await;
        let failures: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).map(|fault| fault.reason.as_str()).collect();
        assert_eq!(failures.len(), USES - 1, "{purpose:?}: {failures:?}");
        // Those that came while the passwords of all others were hashed may be refused for that.
        let is_known = |reason: &str| is_refusal(purpose, reason) || ["SHARE_EXHAUSTED", "OVERLOADED"].contains(&reason);
        assert!(failures.iter().all(|reason| is_known(reason)), "{purpose:?}: {failures:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_of_fifty_uses_at_once_of_a_sign_up_one_succeeds() {
    race(Purpose::SignUp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_of_fifty_uses_at_once_of_a_verification_one_succeeds() {
    race(Purpose::Verify).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_of_fifty_uses_at_once_of_a_reset_one_succeeds() {
    race(Purpose::Reset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_of_fifty_uses_at_once_of_a_first_password_one_succeeds() {
    race(Purpose::FirstPassword).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_of_fifty_uses_at_once_of_a_new_address_one_succeeds() {
    race(Purpose::Change).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_of_fifty_uses_at_once_of_a_link_of_a_factor_one_succeeds() {
    race(Purpose::RemoveFactor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_of_fifty_uses_at_once_of_an_invite_one_succeeds() {
    race(Purpose::Invite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_of_fifty_uses_at_once_of_a_device_one_succeeds() {
    race(Purpose::Device).await;
}

/// Two tokens for one account, used at the same moment, do not wait for each other for ever.
#[tokio::test]
async fn a4_two_tokens_of_one_account_are_used_at_once() {
    let fixture = Fixture::start().await;
    for n in 0..10 {
        let email = format!("ada-{n}@example.org");
        let (one, two) = (fixture.link(Purpose::Reset, &email).await, fixture.link(Purpose::Reset, &email).await);
        let [here, there] = &fixture.clients;
        let results = tokio::join!(here.confirm_reset(&one.token, PASSWORD), there.confirm_reset(&two.token, NEW_PASSWORD));
        let reasons: Vec<_> =
            [&results.0, &results.1].into_iter().filter_map(|result| result.as_ref().err()).map(|f| f.reason.clone()).collect();
        assert_eq!(reasons, ["LINK_INVALID"], "the first use makes the other token void");
    }
}

#[tokio::test]
async fn a4_an_invalid_token_is_named() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    for token in ["", &"x".repeat(257)] {
        for fault in
            [gateway.verify(token).await.map(drop).expect_err("length"), gateway.confirm_reset(token, PASSWORD).await.expect_err("length")]
        {
            assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "token"));
            assert_eq!(fault.violations[0].description, "must be 1 to 256 characters");
        }
    }
    for token in ["x", "a\0b", "' or true --", "ünïcödé"] {
        assert_eq!(gateway.verify(token).await.expect_err(token).reason, "LINK_INVALID");
        assert_eq!(gateway.confirm_reset(token, PASSWORD).await.expect_err(token).reason, "LINK_INVALID");
    }
}
