//! Row A4 of the reference: the tokens of links. Every state of a token at every RPC that takes one, and fifty uses at once.

use futures::future::join_all;
use proto::error::ErrorCode;

use crate::{
    harness::{Client, Cluster, PASSWORD, Replica},
    mailbox::{Mail, Mailbox, forget_sent},
};

const NEW_PASSWORD: &str = "another horse battery staple";
const USES: usize = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    SignUp,
    Verify,
    Reset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Used,
    Expired,
    /// Another mail for the same purpose was used.
    Superseded,
    /// The account has another address since.
    Moved,
    /// The account does not exist any more.
    Deleted,
    /// One character differs.
    Altered,
}

const PURPOSES: [Purpose; 3] = [Purpose::SignUp, Purpose::Verify, Purpose::Reset];
const STATES: [State; 7] = [State::Fresh, State::Used, State::Expired, State::Superseded, State::Moved, State::Deleted, State::Altered];

struct Fixture {
    cluster: Cluster,
    mailbox: Mailbox,
    open: Replica,
    by_mail: Replica,
}

impl Fixture {
    async fn start() -> Self {
        let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
        let (open, by_mail) = (mailbox.auth(&cluster, &[]).await, mailbox.auth(&cluster, &[("BACKLOT_SIGNUP", "verify")]).await);
        Self { cluster, mailbox, open, by_mail }
    }

    /// A new token of this purpose for an address of its own.
    async fn token(&self, purpose: Purpose, email: &str) -> String {
        forget_sent(&self.cluster).await;
        match purpose {
            Purpose::SignUp => drop(self.by_mail.gateway().sign_up(email, PASSWORD).await.expect("accepted")),
            Purpose::Verify => {
                let session = match self.open.gateway().sign_up(email, PASSWORD).await {
                    Ok(account) => account.session_token,
                    Err(_) => self.open.gateway().sign_in(email, PASSWORD).await.expect("session").session_token,
                };
                let access = self.open.gateway().exchange(&session).await.expect("token").access_token;
                self.open.gateway().send_verification(&access).await.expect("accepted");
            }
            Purpose::Reset => {
                drop(self.open.gateway().sign_up(email, PASSWORD).await);
                self.open.gateway().request_reset(email).await.expect("accepted");
            }
        }
        // The mail about a password that was changed before may be the last one.
        let mails = self.mailbox.settled(&self.cluster).await;
        let is_wanted = |mail: &Mail| mail.to == email && mail.link().contains("?token=");
        mails.into_iter().rfind(is_wanted).unwrap_or_else(|| panic!("no mail: {purpose:?}")).token()
    }

    async fn token_in(&self, purpose: Purpose, state: State, email: &str) -> String {
        let token = self.token(purpose, email).await;
        let execute = async |sql: &'static str| {
            sqlx::query(sql).bind(email).execute(&self.cluster.database.pool).await.expect("changed");
        };
        match state {
            State::Fresh => {}
            State::Used => use_it(&self.open.gateway(), purpose, &token).await.expect("used"),
            State::Expired => execute("update email_tokens set expires_at = now() where email = $1").await,
            State::Superseded => {
                let next = self.token(purpose, email).await;
                use_it(&self.open.gateway(), purpose, &next).await.expect("used");
            }
            State::Moved => execute("update users set email = 'moved-' || email where email = $1").await,
            State::Deleted => execute("delete from users where email = $1").await,
            State::Altered => {
                let last = if token.ends_with('A') { "B" } else { "A" };
                return format!("{}{last}", &token[..token.len() - 1]);
            }
        }
        token
    }
}

async fn use_it(client: &Client, purpose: Purpose, token: &str) -> Result<(), Box<proto::error::Fault>> {
    match purpose {
        Purpose::SignUp | Purpose::Verify => client.verify(token).await.map(drop),
        Purpose::Reset => client.confirm_reset(token, NEW_PASSWORD).await,
    }
}

/// A sign-up has no account yet that could move or be deleted.
fn is_usable(purpose: Purpose, state: State) -> bool {
    state == State::Fresh || purpose == Purpose::SignUp && matches!(state, State::Moved | State::Deleted)
}

#[tokio::test]
async fn a4_a_token_works_only_in_its_state_and_at_its_step() {
    let fixture = Fixture::start().await;
    let gateway = fixture.open.gateway();
    for (n, purpose) in PURPOSES.into_iter().enumerate() {
        for (m, state) in STATES.into_iter().enumerate() {
            let token = fixture.token_in(purpose, state, &format!("ada-{n}-{m}@example.org")).await;
            let row = format!("{purpose:?} {state:?}");
            // The other steps first: a refusal there must not use it.
            let others = if purpose == Purpose::Reset { Purpose::Verify } else { Purpose::Reset };
            let refused = use_it(&gateway, others, &token).await.expect_err(&row);
            assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::InvalidArgument, "LINK_INVALID"), "{row} at {others:?}");
            assert_eq!(gateway.exchange(&token).await.expect_err(&row).reason, "SESSION_ENDED", "{row} as a session");
            gateway.session(&token).await.expect_err("it is no access token");
            match use_it(&gateway, purpose, &token).await {
                Ok(()) => assert!(is_usable(purpose, state), "{row}"),
                Err(fault) => assert!(!is_usable(purpose, state) && fault.reason == "LINK_INVALID", "{row}: {fault:?}"),
            }
            assert_eq!(use_it(&gateway, purpose, &token).await.expect_err(&row).reason, "LINK_INVALID", "{row}, once more");
        }
    }
}

#[tokio::test]
async fn a4_of_fifty_uses_at_once_one_succeeds() {
    let fixture = Fixture::start().await;
    let (one, other) = (fixture.open.gateway(), fixture.by_mail.gateway());
    for (n, purpose) in PURPOSES.into_iter().enumerate() {
        let token = fixture.token(purpose, &format!("ada-{n}@example.org")).await;
        let uses = (0..USES).map(|at| use_it(if at % 2 == 0 { &one } else { &other }, purpose, &token));
        let results = join_all(uses).await;
        let failures: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).map(|fault| fault.reason.as_str()).collect();
        assert_eq!(failures.len(), USES - 1, "{purpose:?}: {failures:?}");
        // Those that came while the passwords of all others were hashed may be refused for that.
        let known = ["LINK_INVALID", "SHARE_EXHAUSTED", "OVERLOADED"];
        assert!(failures.iter().all(|reason| known.contains(reason)), "{purpose:?}: {failures:?}");
    }
}

/// Two tokens for one account, used at the same moment, do not wait for each other for ever.
#[tokio::test]
async fn a4_two_tokens_of_one_account_are_used_at_once() {
    let fixture = Fixture::start().await;
    for n in 0..10 {
        let email = format!("ada-{n}@example.org");
        let (one, two) = (fixture.token(Purpose::Reset, &email).await, fixture.token(Purpose::Reset, &email).await);
        let (here, there) = (fixture.open.gateway(), fixture.by_mail.gateway());
        let results = tokio::join!(here.confirm_reset(&one, PASSWORD), there.confirm_reset(&two, NEW_PASSWORD));
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
