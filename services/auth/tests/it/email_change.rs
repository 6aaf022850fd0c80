//! Another address of an account: the mail to the new address, its link (row A4), and what ends with the address before.

use std::future::Future;

use chassis::testing::Authenticator;
use futures::future::join_all;
use proto::{
    auth::{ChangeEmailRequest, ConfirmEmailChangeRequest, ConfirmEmailChangeResponse},
    error::{ErrorCode, Fault},
};
use rate_limit::Policies;

use crate::{
    admin::Admin,
    harness::{Client, Cluster, PASSWORD, Replica, answer, mistyped},
    mailbox::{Mailbox, forget_sent, is_stored, verify_all},
    passkeys::ORIGIN,
    password_change,
    session_list::revoke_all,
    step_up::age_proofs,
};

const OLD: &str = "ada@example.org";
const NEW: &str = "Ada.Lovelace@example.com";

impl Client {
    pub(crate) async fn change_email(&self, access: &str, new_email: &str) -> Result<(), Box<Fault>> {
        let request = self.authorized(ChangeEmailRequest { new_email: new_email.into() }, access);
        answer(self.client.clone().change_email(request).await).map(drop)
    }

    pub(crate) async fn confirm_email(&self, access: &str, token: &str) -> Result<ConfirmEmailChangeResponse, Box<Fault>> {
        let message = ConfirmEmailChangeRequest { token: token.into(), ..Default::default() };
        answer(self.client.clone().confirm_email_change(self.authorized(message, access)).await)
    }
}

pub(crate) struct Fixture {
    pub(crate) cluster: Cluster,
    pub(crate) mailbox: Mailbox,
    pub(crate) replica: Replica,
    pub(crate) gateway: Client,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
        let replica = mailbox.auth(&cluster, &[]).await;
        let gateway = replica.gateway();
        Self { cluster, mailbox, replica, gateway }
    }

    /// A new account. Returns the access token of its session.
    pub(crate) async fn account(&self, email: &str) -> String {
        let account = self.gateway.sign_up(email, PASSWORD).await.expect("account");
        self.gateway.exchange(&account.session_token).await.expect("token").access_token
    }

    async fn access(&self, email: &str, password: &str) -> String {
        let session = self.gateway.sign_in(email, password).await.expect("session");
        self.gateway.exchange(&session.session_token).await.expect("token").access_token
    }

    /// The token of the link to a new address.
    pub(crate) async fn link(&self, access: &str, new: &str) -> String {
        forget_sent(&self.cluster).await;
        self.gateway.change_email(access, new).await.expect("accepted");
        let mails = self.mailbox.settled(&self.cluster).await;
        mails.into_iter().rfind(|mail| mail.to == new && mail.link().contains("?token=")).expect("a mail").token()
    }

    /// Adds an authenticator app. Returns an access token that has shown it.
    async fn with_app(&self, access: &str) -> String {
        let codes = self.gateway.add_app(access).await;
        let renewed = self.gateway.step_up_by_code(access, &codes[0]).await.expect("proved");
        self.gateway.exchange(&renewed.session_token).await.expect("token").access_token
    }

    /// Adds a passkey. Returns an access token that has shown it, and the id.
    async fn with_passkey(&self, access: &str) -> (String, String) {
        let mut device = Authenticator::at(ORIGIN);
        let created = self.gateway.register(access, &mut device).await.expect("registered");
        let renewed = self.gateway.step_up_with(access, &mut device).await.expect("proved");
        let access = self.gateway.exchange(&renewed.session_token).await.expect("token").access_token;
        (access, created.passkey.expect("a passkey").id)
    }

    async fn execute(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.cluster.database.pool).await.expect("changed");
    }

    async fn subjects_to(&self, email: &str) -> Vec<String> {
        let mails = self.mailbox.settled(&self.cluster).await;
        mails.into_iter().filter(|mail| mail.to == email).map(|mail| mail.subject).collect()
    }
}

#[tokio::test]
async fn a_stranger_does_not_use_up_the_links_to_an_address() {
    let fixture = Fixture::start().await;
    let (stranger, other, owner) =
        (fixture.account("eve@example.org").await, fixture.account("mallory@example.org").await, fixture.account(OLD).await);
    for _ in 0..4 {
        fixture.gateway.change_email(&stranger, NEW).await.expect("accepted");
        fixture.mailbox.settled(&fixture.cluster).await;
    }
    assert_eq!(fixture.subjects_to(NEW).await.len(), 3, "one account causes three in an hour");
    fixture.gateway.change_email(&owner, NEW).await.expect("accepted");
    let token = fixture.mailbox.last(&fixture.cluster).await.token();
    fixture.gateway.confirm_email(&owner, &token).await.expect("the link of the owner");

    // Now an account has the address, and its owner learns of three attempts, whoever makes them.
    forget_sent(&fixture.cluster).await;
    let before = fixture.subjects_to(NEW).await.len();
    for account in [&stranger, &other, &stranger, &other] {
        fixture.gateway.change_email(account, NEW).await.expect("accepted");
        fixture.mailbox.settled(&fixture.cluster).await;
    }
    let subjects = fixture.subjects_to(NEW).await.split_off(before);
    assert_eq!(subjects, ["You already have an account"; 3]);
}

#[tokio::test]
async fn a_person_changes_the_address() {
    let fixture = Fixture::start().await;
    let gateway = &fixture.gateway;
    let access = fixture.account(OLD).await;
    let other = gateway.sign_in(OLD, PASSWORD).await.expect("session").session_token;
    let program = gateway.refresh_token(&access).await.expect("a program").refresh_token;
    fixture.mailbox.settled(&fixture.cluster).await;
    gateway.request_reset(OLD).await.expect("accepted");
    let reset = fixture.mailbox.last(&fixture.cluster).await.token();

    gateway.change_email(&access, NEW).await.expect("accepted");
    let mail = fixture.mailbox.last(&fixture.cluster).await;
    assert_eq!((mail.to.as_str(), mail.subject.as_str()), (NEW, "Confirm your new e-mail address"));
    assert!(mail.link().starts_with("https://apps.example/account/new-email?token="), "{}", mail.link());
    assert!(!is_stored(&fixture.cluster, &mail.token()).await, "the database has no token");
    assert_eq!(gateway.session(&access).await.expect("session").user.expect("user").email, OLD, "the address stays until the link is used");

    let before = gateway.session(&access).await.expect("session").session.expect("session");
    let changed = gateway.confirm_email(&access, &mail.token()).await.expect("changed");
    let session = changed.session.expect("session");
    assert!(session.id != before.id && session.is_current && session.expire_time == before.expire_time);
    assert_eq!(changed.email, NEW);
    let renewed = gateway.exchange(&changed.session_token).await.expect("token");
    assert_eq!((renewed.session_id, renewed.user.expect("user").email), (session.id, NEW.to_owned()));
    assert_eq!(gateway.session(&access).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(gateway.exchange(&other).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(gateway.refresh(&program).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(gateway.confirm_reset(&reset, "another horse battery staple").await.expect_err("void").reason, "LINK_INVALID");
    assert_eq!(gateway.sign_in(OLD, PASSWORD).await.expect_err("the address before").reason, "BAD_CREDENTIALS");
    gateway.sign_in("ada.lovelace@EXAMPLE.com", PASSWORD).await.expect("any spelling of the new address");
    let verified: bool =
        sqlx::query_scalar("select verified_at is not null and email_key = lower($1) and email_identity = lower($1) from users")
            .bind(NEW)
            .fetch_one(&fixture.cluster.database.pool)
            .await
            .expect("row");
    assert!(verified, "the address was proved");

    let subjects = fixture.subjects_to(OLD).await;
    assert_eq!(subjects, ["A program was signed in to your account", "Set a new password", "Your e-mail address was changed"]);
    let kinds: Vec<String> = sqlx::query_scalar("select kind from audit_events where kind = 'user.address_changed'")
        .fetch_all(&fixture.cluster.database.pool)
        .await
        .expect("rows");
    assert_eq!(kinds.len(), 1);
    gateway.sign_up(OLD, PASSWORD).await.expect("the address before is free");
}

/// Each row is one state in which the link does nothing.
#[tokio::test]
async fn a4_the_link_to_a_new_address_works_once_and_only_in_its_account() {
    let fixture = Fixture::start().await;
    let gateway = &fixture.gateway;
    for state in ["used", "expired", "of another account", "superseded", "new password", "altered"] {
        let name = state.replace(' ', "-");
        let (old, new) = (format!("old-{name}@example.org"), format!("new-{name}@example.org"));
        let mut access = fixture.account(&old).await;
        let mut token = fixture.link(&access, &new).await;
        // The other steps refuse the link, and do not use it.
        assert_eq!(gateway.verify(&token).await.expect_err(state).reason, "LINK_INVALID");
        assert_eq!(gateway.confirm_reset(&token, PASSWORD).await.expect_err(state).reason, "LINK_INVALID");
        assert_eq!(gateway.exchange(&token).await.expect_err(state).reason, "SESSION_ENDED");
        match state {
            "used" => {
                gateway.confirm_email(&access, &token).await.expect("changed");
                access = fixture.access(&new, PASSWORD).await;
            }
            "expired" => fixture.execute("update email_tokens set expires_at = now()").await,
            "of another account" => access = fixture.account("eve@example.org").await,
            "superseded" => {
                let next = fixture.link(&access, &format!("next-{name}@example.org")).await;
                gateway.confirm_email(&access, &next).await.expect("changed");
                access = fixture.access(&format!("next-{name}@example.org"), PASSWORD).await;
            }
            "new password" => {
                let password = "another horse, another battery";
                password_change::change(gateway, &access, PASSWORD, password).await.expect("changed");
                access = fixture.access(&old, password).await;
            }
            _ => token = mistyped(&token),
        }
        let refused = gateway.confirm_email(&access, &token).await.expect_err(state);
        assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::InvalidArgument, "LINK_INVALID"), "{state}");
    }
}

/// Each row is something that a person, or an operator for them, does against a thief who has asked for another address.
#[tokio::test]
async fn a4_what_a_person_does_against_a_thief_voids_the_link_to_a_new_address() {
    let fixture = Fixture::start().await;
    let (gateway, admin) = (&fixture.gateway, Admin::of(&fixture.replica));
    for defence in [
        "app added",
        "app removed",
        "passkey added",
        "passkey removed",
        "other sessions ended",
        "all sessions ended",
        "sessions ended by an operator",
        "factors removed by an operator",
        "disabled and enabled",
    ] {
        let name = defence.replace(' ', "-");
        let (old, new) = (format!("old-{name}@example.org"), format!("new-{name}@example.org"));
        let (mut access, mut passkey) = (fixture.account(&old).await, String::new());
        match defence {
            "app removed" | "factors removed by an operator" => access = fixture.with_app(&access).await,
            "passkey removed" => (access, passkey) = fixture.with_passkey(&access).await,
            _ => {}
        }
        let token = fixture.link(&access, &new).await;
        match defence {
            "app added" => drop(fixture.gateway.add_app(&access).await),
            "app removed" => gateway.delete_totp(&access).await.expect("removed"),
            "passkey added" => drop(gateway.register(&access, &mut Authenticator::at(ORIGIN)).await.expect("registered")),
            "passkey removed" => gateway.delete_passkey(&access, &passkey).await.expect("removed"),
            "other sessions ended" => assert_eq!(revoke_all(gateway, &access, false).await, Ok(0)),
            "all sessions ended" => assert_eq!(revoke_all(gateway, &access, true).await, Ok(1)),
            "sessions ended by an operator" => assert_eq!(admin.end(&old, "").await.expect("ended"), 1),
            "factors removed by an operator" => assert!(admin.reset_second_factor(&old).await.expect("removed")),
            _ => {
                admin.set_disabled(&old, true).await.expect("disabled");
                admin.set_disabled(&old, false).await.expect("enabled");
            }
        }
        let ending = ["all sessions ended", "sessions ended by an operator", "factors removed by an operator", "disabled and enabled"];
        if ending.contains(&defence) {
            access = fixture.access(&old, PASSWORD).await;
        }
        let refused = gateway.confirm_email(&access, &token).await.expect_err(defence);
        assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::InvalidArgument, "LINK_INVALID"), "{defence}");
    }
}

#[tokio::test]
async fn a_waiting_mail_to_a_new_address_is_deleted_with_the_links() {
    let fixture = Fixture::start().await;
    let access = fixture.account(OLD).await;
    // Due later, so that the replica does not send it.
    let waiting = "insert into mail_queue (id, kind, user_id, recipient, email, created_at, attempts, due_at)
                   select gen_random_uuid(), 'change_email', id, sha256('x'), 'new@example.org', now(), 1, now() + interval '1 hour' from users";
    fixture.execute(waiting).await;
    revoke_all(&fixture.gateway, &access, false).await.expect("ended");
    let left: i64 = sqlx::query_scalar("select count(*) from mail_queue where kind = 'change_email'")
        .fetch_one(&fixture.cluster.database.pool)
        .await
        .expect("count");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_link_needs_a_session_that_has_shown_the_second_factor() {
    let fixture = Fixture::start().await;
    let access = fixture.account(OLD).await;
    let access = fixture.with_app(&access).await;
    let token = fixture.link(&access, NEW).await;
    fixture.execute("update sessions set amr = '{pwd}'").await;
    let refused = fixture.gateway.confirm_email(&access, &token).await.expect_err("never shown");
    assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Forbidden, "STEP_UP_REQUIRED"));
    assert_eq!(refused.metadata["methods"], "totp,recovery_code");
    fixture.execute("update sessions set amr = '{pwd,otp}'").await;
    age_proofs(&fixture.cluster).await;
    fixture.gateway.confirm_email(&access, &token).await.expect("the token was not used, and the proof may be old");
}

/// A thief may have signed in from addresses that count as known since.
#[tokio::test]
async fn addresses_of_clients_are_new_after_a_change() {
    let fixture = Fixture::start().await;
    let access = fixture.account(OLD).await;
    fixture.gateway.at("198.51.100.7").sign_in(OLD, PASSWORD).await.expect("session");
    let token = fixture.link(&access, NEW).await;
    fixture.gateway.confirm_email(&access, &token).await.expect("changed");
    let known: Vec<String> =
        sqlx::query_scalar("select address from user_addresses").fetch_all(&fixture.cluster.database.pool).await.expect("addresses");
    assert_eq!(known, ["192.0.2.1"], "that of the person alone");
}

/// Neither does the token of another step.
#[tokio::test]
async fn a4_no_other_link_changes_the_address() {
    let fixture = Fixture::start().await;
    let access = fixture.account(OLD).await;
    fixture.gateway.send_verification(&access).await.expect("accepted");
    let verify = fixture.mailbox.last(&fixture.cluster).await.token();
    fixture.gateway.request_reset(OLD).await.expect("accepted");
    let reset = fixture.mailbox.last(&fixture.cluster).await.token();
    for token in [verify.as_str(), &reset, "x", "a\0b"] {
        assert_eq!(fixture.gateway.confirm_email(&access, token).await.expect_err(token).reason, "LINK_INVALID");
    }
    for token in ["", &"x".repeat(257)] {
        let refused = fixture.gateway.confirm_email(&access, token).await.expect_err("length");
        assert_eq!((refused.reason.as_str(), refused.violations[0].field.as_str()), ("INVALID_FIELD", "token"));
    }
    fixture.gateway.verify_as(&access, &verify).await.expect("it was not used");
}

async fn reasons(uses: impl IntoIterator<Item = impl Future<Output = Result<ConfirmEmailChangeResponse, Box<Fault>>>>) -> Vec<String> {
    join_all(uses).await.into_iter().filter_map(Result::err).map(|fault| fault.reason).collect()
}

#[tokio::test]
async fn a4_of_fifty_confirmations_at_once_one_succeeds() {
    let fixture = Fixture::start().await;
    let access = fixture.account(OLD).await;
    let token = fixture.link(&access, NEW).await;
    let refused = reasons((0..50).map(|_| fixture.gateway.confirm_email(&access, &token))).await;
    assert_eq!(refused.len(), 49, "{refused:?}");
    assert!(refused.iter().all(|reason| ["LINK_INVALID", "SESSION_ENDED"].contains(&reason.as_str())), "{refused:?}");
}

#[tokio::test]
async fn an_address_that_another_account_has_got_meanwhile_is_refused() {
    let fixture = Fixture::start().await;
    let (ada, eve) = (fixture.account(OLD).await, fixture.account("eve@example.org").await);
    let (of_ada, of_eve) = (fixture.link(&ada, NEW).await, fixture.link(&eve, NEW).await);
    let refused = reasons([fixture.gateway.confirm_email(&ada, &of_ada), fixture.gateway.confirm_email(&eve, &of_eve)]).await;
    assert_eq!(refused, ["EMAIL_TAKEN"]);

    for state in ["verified_at = now()", "disabled_at = now()"] {
        let grace = fixture.account(&format!("grace-{}@example.org", &state[..3])).await;
        let taken = format!("taken-{}@example.org", &state[..3]);
        let link = fixture.link(&grace, &taken).await;
        fixture.account(&taken.to_uppercase()).await;
        let set = sqlx::AssertSqlSafe(format!("update users set {state} where email like 'TAKEN%'"));
        sqlx::query(set).execute(&fixture.cluster.database.pool).await.expect("changed");
        let refused = fixture.gateway.confirm_email(&grace, &link).await.expect_err(state);
        assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Conflict, "EMAIL_TAKEN"), "{state}");
        let user = fixture.gateway.session(&grace).await.expect("the session goes on").user.expect("user");
        assert!(user.email.starts_with("grace"), "{state}: {}", user.email);
    }
}

/// With open sign-up anybody can make an account with the address that somebody else moves to, before the mail or after it.
#[tokio::test]
async fn an_account_that_nobody_has_verified_yields_its_address_to_a_change() {
    let fixture = Fixture::start().await;
    let gateway = &fixture.gateway;
    for (at, squatter_is_first) in [true, false].into_iter().enumerate() {
        let (old, new) = (format!("grace-{at}@example.org"), format!("new-{at}@example.org"));
        let grace = fixture.account(&old).await;
        let mut squatter = String::new();
        if squatter_is_first {
            squatter = fixture.account(&new).await;
        }
        let link = fixture.link(&grace, &new).await;
        if !squatter_is_first {
            squatter = fixture.account(&new).await;
        }
        let program = gateway.refresh_token(&squatter).await.expect("a program").refresh_token;
        let changed = gateway.confirm_email(&grace, &link).await.expect("changed");
        assert_eq!(gateway.session(&squatter).await.expect_err("ended").reason, "SESSION_ENDED");
        assert_eq!(gateway.refresh(&program).await.expect_err("ended").reason, "SESSION_ENDED");
        let access = gateway.exchange(&changed.session_token).await.expect("a session").access_token;
        assert_eq!(gateway.session(&access).await.expect("the account").user.expect("user").email, new);
        assert!(fixture.subjects_to(&new).await.contains(&"Your account was deleted".to_owned()));
    }
    let left: i64 = sqlx::query_scalar("select count(*) from users").fetch_one(&fixture.cluster.database.pool).await.expect("count");
    assert_eq!(left, 2);
    let logged = "select count(*) from account_deletions where not only_keys";
    let logged: i64 = sqlx::query_scalar(logged).fetch_one(&fixture.cluster.database.pool).await.expect("count");
    assert_eq!(logged, 2, "the services delete what the accounts had");
    let events = "select count(*) from audit_events e join users u on u.id::text = e.actor_id
                  where e.kind = 'user.deleted' and e.user_id <> u.id and u.email like 'new-%'";
    let events: i64 = sqlx::query_scalar(events).fetch_one(&fixture.cluster.database.pool).await.expect("count");
    assert_eq!(events, 2, "the log has who took the address");
}

/// Each waits for the other's account, so both are locked in one order.
#[tokio::test(flavor = "multi_thread")]
async fn two_people_who_prove_the_addresses_of_each_other_do_not_wait_for_each_other() {
    let fixture = Fixture::start().await;
    for at in 0..10 {
        let (one, other) = (format!("one-{at}@example.org"), format!("other-{at}@example.org"));
        let (of_one, of_other) = (fixture.account(&one).await, fixture.account(&other).await);
        let links = (fixture.link(&of_one, &other).await, fixture.link(&of_other, &one).await);
        let refused = reasons([fixture.gateway.confirm_email(&of_one, &links.0), fixture.gateway.confirm_email(&of_other, &links.1)]).await;
        assert!(matches!(&refused[..], [reason] if ["SESSION_ENDED", "LINK_INVALID"].contains(&reason.as_str())), "{refused:?}");
    }
}

/// Nobody learns whether an address has an account; its owner gets a mail without a link that changes anything.
#[tokio::test]
async fn a_taken_address_has_the_same_answer_and_its_owner_gets_a_mail() {
    let fixture = Fixture::start().await;
    let access = fixture.account(OLD).await;
    fixture.account("eve@example.org").await;
    verify_all(&fixture.cluster).await;
    fixture.gateway.change_email(&access, "EVE@example.org").await.expect("the answer is the same");
    assert_eq!(fixture.subjects_to("eve@example.org").await, ["You already have an account"]);
    assert!(fixture.mailbox.all().iter().all(|mail| !mail.link().contains("token")));
    let tokens: i64 =
        sqlx::query_scalar("select count(*) from email_tokens").fetch_one(&fixture.cluster.database.pool).await.expect("count");
    assert_eq!(tokens, 0);
}

#[tokio::test]
async fn a_new_address_is_valid_another_one_and_of_an_allowed_domain() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let access = mailbox.auth(&cluster, &[]).await.gateway().signed_up(OLD).await;
    let gateway = mailbox.auth(&cluster, &[("BACKLOT_SIGNUP_DOMAINS", "example.org")]).await.gateway();
    for new in ["", "x", "a b@example.org", "ada@example.com", " ADA@EXAMPLE.ORG", &format!("{}@example.org", "a".repeat(250))] {
        let refused = gateway.change_email(&access, new).await.expect_err(new);
        assert_eq!((refused.reason.as_str(), refused.violations[0].field.as_str()), ("INVALID_FIELD", "new_email"), "{new}");
    }
    assert!(mailbox.settled(&cluster).await.is_empty());
    gateway.change_email(&access, "other@example.org").await.expect("accepted");
}

#[tokio::test]
async fn only_a_person_with_a_recent_proof_changes_the_address() {
    let fixture = Fixture::start().await;
    let gateway = &fixture.gateway;
    let access = fixture.account(OLD).await;
    let program = gateway.refresh_token(&access).await.expect("a program").refresh_token;
    let program = gateway.refresh(&program).await.expect("token").access_token;
    let acting = Admin::of(&fixture.replica).impersonate(OLD, "ticket 7", 5).await.expect("session").session_token;
    let acting = gateway.exchange(&acting).await.expect("token").access_token;
    let token = fixture.link(&access, NEW).await;
    for (access, reason) in [(&program, "SESSION_REQUIRED"), (&acting, "IMPERSONATED")] {
        assert_eq!(gateway.change_email(access, NEW).await.expect_err(reason).reason, reason);
        assert_eq!(gateway.confirm_email(access, &token).await.expect_err(reason).reason, reason);
    }
    age_proofs(&fixture.cluster).await;
    let refused = gateway.change_email(&access, NEW).await.expect_err("too old");
    assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Forbidden, "STEP_UP_REQUIRED"));
    gateway.confirm_email(&access, &token).await.expect("the proof was recent when the person asked");
}

#[tokio::test]
async fn requests_for_another_address_are_limited() {
    let cluster = Cluster::with_policies(Policies::shipped()).await;
    let gateway = cluster.auth().await.gateway();
    let account = gateway.sign_up(OLD, PASSWORD).await.expect("account");
    let access = gateway.exchange(&account.session_token).await.expect("token").access_token;
    // The sign-up counts as one of the five attempts of the address.
    for n in 0..4 {
        gateway.change_email(&access, &format!("ada-{n}@example.org")).await.expect("accepted");
    }
    assert_eq!(gateway.change_email(&access, NEW).await.expect_err("the fifth").reason, "RATE_LIMITED");
    gateway.at("192.0.2.2").sign_in(OLD, PASSWORD).await.expect("sign-ins have counters of their own");
}

/// A thief of an access token must not keep its owner from a change of the address.
#[tokio::test]
async fn a_session_that_may_not_change_the_address_uses_up_no_limit() {
    let cluster = Cluster::with_policies(Policies::shipped()).await;
    let gateway = cluster.auth().await.gateway();
    let account = gateway.sign_up(OLD, PASSWORD).await.expect("account");
    let access = gateway.exchange(&account.session_token).await.expect("token").access_token;
    age_proofs(&cluster).await;
    for _ in 0..6 {
        assert_eq!(gateway.change_email(&access, NEW).await.expect_err("too old").reason, "STEP_UP_REQUIRED");
    }
    gateway.sign_out(&account.session_token).await.expect("signed out");
    for _ in 0..6 {
        assert_eq!(gateway.change_email(&access, NEW).await.expect_err("ended").reason, "SESSION_ENDED");
    }
    let begun = gateway.sign_in(OLD, PASSWORD).await.expect("the address has attempts left");
    let access = gateway.exchange(&begun.session_token).await.expect("token").access_token;
    gateway.change_email(&access, NEW).await.expect("accepted");
}
