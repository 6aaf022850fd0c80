//! Authenticator apps, recovery codes, and the second step of a sign-in, with row A4 for its tokens and codes.

use auth::testing::totp_code;
use chassis::clock::now;
use futures::future::join_all;
use proto::{
    auth::{
        ConfirmTotpRequest, ConfirmTotpResponse, CreateRecoveryCodesRequest, DeleteTotpRequest, GetFactorsRequest, GetFactorsResponse,
        RevokeSessionsRequest, StartTotpRequest, StartTotpResponse, StepUpRequest, StepUpResponse, VerifySignInRequest,
        VerifySignInResponse,
    },
    error::{ErrorCode, Fault},
};
use rate_limit::Policies;

use crate::{
    admin::Admin,
    harness::{Client, Cluster, PASSWORD, answer, mistyped, within_a_minute},
    mailbox::{Mailbox, is_stored, verify_all},
    password_change::change,
    step_up::{age_proofs, claims, step_up},
};

const EMAIL: &str = "ada@example.org";
const NEW_PASSWORD: &str = "another horse, another battery";

impl Client {
    async fn factors(&self, access: &str) -> Result<GetFactorsResponse, Box<Fault>> {
        answer(self.client.clone().get_factors(self.authorized(GetFactorsRequest {}, access)).await)
    }

    pub(crate) async fn start_totp(&self, access: &str) -> Result<StartTotpResponse, Box<Fault>> {
        answer(self.client.clone().start_totp(self.authorized(StartTotpRequest {}, access)).await)
    }

    pub(crate) async fn confirm_totp(&self, access: &str, code: &str) -> Result<ConfirmTotpResponse, Box<Fault>> {
        answer(self.client.clone().confirm_totp(self.authorized(ConfirmTotpRequest { code: code.into() }, access)).await)
    }

    pub(crate) async fn delete_totp(&self, access: &str) -> Result<(), Box<Fault>> {
        answer(self.client.clone().delete_totp(self.authorized(DeleteTotpRequest {}, access)).await).map(drop)
    }

    /// Adds an authenticator app. Returns the recovery codes; none if the account had a factor.
    pub(crate) async fn add_app(&self, access: &str) -> Vec<String> {
        let secret = self.start_totp(access).await.expect("secret").secret;
        self.confirm_totp(access, &totp_code(&secret, now())).await.expect("confirmed").recovery_codes
    }

    async fn recovery_codes(&self, access: &str) -> Result<Vec<String>, Box<Fault>> {
        let request = self.authorized(CreateRecoveryCodesRequest {}, access);
        answer(self.client.clone().create_recovery_codes(request).await).map(|made| made.recovery_codes)
    }

    pub(crate) async fn verify_sign_in(&self, token: &str, code: &str) -> Result<VerifySignInResponse, Box<Fault>> {
        let message = VerifySignInRequest { sign_in_token: token.into(), code: code.into(), ..Default::default() };
        answer(self.client.clone().verify_sign_in(self.request(message)).await)
    }

    pub(crate) async fn step_up_by_code(&self, access: &str, code: &str) -> Result<StepUpResponse, Box<Fault>> {
        let message = StepUpRequest { code: code.into(), ..Default::default() };
        answer(self.client.clone().step_up(self.authorized(message, access)).await)
    }

    /// The token of the second step.
    async fn first_step(&self, password: &str) -> String {
        let fault = self.sign_in(EMAIL, password).await.expect_err("a second step");
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "SECOND_FACTOR_REQUIRED"));
        fault.metadata["sign_in_token"].clone()
    }

    pub(crate) async fn access_of(&self, session_token: &str) -> String {
        self.exchange(session_token).await.expect("token").access_token
    }
}

/// An account with an authenticator app.
struct Enrolled {
    secret: String,
    /// The code that confirmed the app.
    used_code: String,
    recovery_codes: Vec<String>,
    /// Of the session that added the app.
    session_token: String,
}

impl Enrolled {
    /// A code of a step that is this many steps after the present one.
    fn code(&self, offset: i64) -> String {
        totp_code(&self.secret, now() + time::Duration::seconds(30 * offset))
    }
}

async fn enrol(gateway: &Client) -> Enrolled {
    let begun = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let access = gateway.access_of(&begun.session_token).await;
    let secret = gateway.start_totp(&access).await.expect("secret").secret;
    // The step before, so that those of now and the next one are still unused.
    let code = totp_code(&secret, now() - time::Duration::seconds(30));
    let recovery_codes = gateway.confirm_totp(&access, &code).await.expect("confirmed").recovery_codes;
    Enrolled { secret, used_code: code, recovery_codes, session_token: begun.session_token }
}

/// Makes authenticator apps seven days older.
async fn age_app(cluster: &Cluster) {
    let age = "update totp_secrets set created_at = created_at - interval '7 days', confirmed_at = confirmed_at - interval '7 days'";
    sqlx::query(age).execute(&cluster.database.pool).await.expect("aged");
}

async fn count(cluster: &Cluster, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&cluster.database.pool).await.expect("count")
}

#[tokio::test]
async fn an_app_is_a_factor_once_a_code_confirms_it() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    let begun = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let access = gateway.access_of(&begun.session_token).await;
    assert_eq!(gateway.confirm_totp(&access, "123456").await.expect_err("nothing to confirm").reason, "FACTOR_NOT_FOUND");
    let first = gateway.start_totp(&access).await.expect("secret");
    let started = gateway.start_totp(&access).await.expect("replaces the first one");
    assert!(started.uri.starts_with("otpauth://totp/apps.example:ada@example.org?secret="), "{}", started.uri);
    assert!(started.uri.contains(&started.secret) && started.secret.len() == 32);
    assert!(!is_stored(&cluster, &started.secret).await, "sealed");
    gateway.sign_in(EMAIL, PASSWORD).await.expect("it is no factor yet");
    for wrong in ["000000", "x", &totp_code(&first.secret, now()), &totp_code(&started.secret, now() - time::Duration::minutes(5))] {
        assert_eq!(gateway.confirm_totp(&access, wrong).await.expect_err("wrong").reason, "BAD_SECOND_FACTOR", "{wrong}");
    }
    let codes = gateway.confirm_totp(&access, &totp_code(&started.secret, now())).await.expect("confirmed").recovery_codes;
    assert_eq!(codes.len(), 10);
    for code in &codes {
        assert!(!is_stored(&cluster, code).await && !is_stored(&cluster, &code.replace('-', "").to_uppercase()).await, "hashed");
    }
    assert_eq!(mailbox.last(&cluster).await.subject, "A second factor was added to your account");
    assert_eq!(gateway.start_totp(&access).await.expect_err("the session never showed it").reason, "STEP_UP_REQUIRED");
    let factors = gateway.factors(&access).await.expect("factors");
    assert!(factors.password && factors.totp_create_time.is_some() && factors.recovery_codes == 10, "{factors:?}");
    let kinds = "select count(*) from audit_events where kind = 'second_factor.added' and details->>'factor' = 'totp'";
    assert_eq!(count(&cluster, kinds).await, 1);
}

#[tokio::test]
async fn a_secret_has_to_be_confirmed_within_ten_minutes() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let begun = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let access = gateway.access_of(&begun.session_token).await;
    let started = gateway.start_totp(&access).await.expect("secret");
    let age = "update totp_secrets set created_at = created_at - interval '10 minutes'";
    sqlx::query(age).execute(&cluster.database.pool).await.expect("aged");
    let refused = gateway.confirm_totp(&access, &totp_code(&started.secret, now())).await.expect_err("too late");
    assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::NotFound, "FACTOR_NOT_FOUND"));
}

#[tokio::test]
async fn a_sign_in_has_two_steps_and_no_session_before_the_second() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let enrolled = enrol(&gateway).await;
    let sessions = "select count(*) from sessions";
    let fault = gateway.sign_in(EMAIL, PASSWORD).await.expect_err("a second step");
    assert_eq!(fault.metadata["methods"], "totp,recovery_code");
    let token = fault.metadata["sign_in_token"].clone();
    assert_eq!(count(&cluster, sessions).await, 1, "that of the sign-up");
    assert_eq!(gateway.exchange(&token).await.expect_err("no session").reason, "SESSION_ENDED");
    gateway.session(&token).await.expect_err("no access token");
    assert!(!is_stored(&cluster, &token).await, "hashed");
    assert_eq!(gateway.sign_in(EMAIL, "a guess").await.expect_err("wrong").reason, "BAD_CREDENTIALS", "says nothing of the factor");
    for wrong in ["000000", "no code", &enrolled.used_code] {
        assert_eq!(gateway.verify_sign_in(&token, wrong).await.expect_err("wrong or used").reason, "BAD_SECOND_FACTOR", "{wrong}");
    }
    let begun = gateway.verify_sign_in(&token, &enrolled.code(0)).await.expect("signed in");
    assert_eq!(begun.user.expect("user").email, EMAIL);
    let access = gateway.access_of(&begun.session_token).await;
    gateway.refresh_token(&access).await.expect("the factor is recent");
    assert_eq!(gateway.verify_sign_in(&token, &enrolled.code(1)).await.expect_err("completed").reason, "SIGN_IN_EXPIRED");

    // A code works once, whatever it completes.
    let second = gateway.first_step(PASSWORD).await;
    assert_eq!(gateway.verify_sign_in(&second, &enrolled.code(0)).await.expect_err("used").reason, "BAD_SECOND_FACTOR");
    let recovery = &enrolled.recovery_codes[3];
    gateway.verify_sign_in(&second, &recovery.to_uppercase().replace('-', " ")).await.expect("a recovery code");
    let third = gateway.first_step(PASSWORD).await;
    assert_eq!(gateway.verify_sign_in(&third, recovery).await.expect_err("used").reason, "BAD_SECOND_FACTOR");
    assert_eq!(count(&cluster, "select count(*) from recovery_codes").await, 9);
}

#[tokio::test]
async fn a_sensitive_request_needs_the_factor_and_not_the_password() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let enrolled = enrol(&gateway).await;
    let access = gateway.access_of(&enrolled.session_token).await;
    let refused = gateway.refresh_token(&access).await.expect_err("never shown");
    assert_eq!((refused.reason.as_str(), refused.metadata["methods"].as_str()), ("STEP_UP_REQUIRED", "totp,recovery_code"));
    for refused in [
        gateway.delete_totp(&access).await.expect_err("never shown"),
        gateway.recovery_codes(&access).await.map(drop).expect_err("never shown"),
        change(&gateway, &access, PASSWORD, NEW_PASSWORD).await.map(drop).expect_err("never shown"),
        step_up(&gateway, &access, PASSWORD).await.map(drop).expect_err("the password is not enough"),
    ] {
        assert_eq!(refused.reason, "STEP_UP_REQUIRED");
    }
    assert_eq!(gateway.step_up_by_code(&access, "000000").await.expect_err("wrong").reason, "BAD_SECOND_FACTOR");
    let renewed = gateway.step_up_by_code(&access, &enrolled.code(0)).await.expect("proved");
    let access = gateway.access_of(&renewed.session_token).await;
    let codes = gateway.recovery_codes(&access).await.expect("recent");
    assert!(codes.len() == 10 && codes.iter().all(|code| !enrolled.recovery_codes.contains(code)));
    age_proofs(&cluster).await;
    assert_eq!(gateway.recovery_codes(&access).await.expect_err("too old").reason, "STEP_UP_REQUIRED");
    let renewed = gateway.step_up_by_code(&access, &codes[0]).await.expect("a recovery code");
    let access = gateway.access_of(&renewed.session_token).await;
    assert_eq!(gateway.step_up_by_code(&access, &enrolled.recovery_codes[0]).await.expect_err("replaced").reason, "BAD_SECOND_FACTOR");
    let changed = change(&gateway, &access, PASSWORD, NEW_PASSWORD).await.expect("changed");
    let access = gateway.access_of(&changed.session_token).await;
    gateway.delete_totp(&access).await.expect("the proof goes on");
    assert_eq!(count(&cluster, "select count(*) from recovery_codes").await, 0, "codes without a factor are void");
    assert_eq!(gateway.recovery_codes(&access).await.expect_err("no factor").reason, "FACTOR_NOT_FOUND");
    assert_eq!(gateway.delete_totp(&access).await.expect_err("no factor").reason, "FACTOR_NOT_FOUND");
    gateway.sign_in(EMAIL, NEW_PASSWORD).await.expect("one step");
}

#[tokio::test]
async fn the_owner_learns_of_new_recovery_codes() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    let enrolled = enrol(&gateway).await;
    let access = gateway.access_of(&enrolled.session_token).await;
    let renewed = gateway.step_up_by_code(&access, &enrolled.code(0)).await.expect("proved");
    let codes = gateway.recovery_codes(&gateway.access_of(&renewed.session_token).await).await.expect("made");
    let mail = mailbox.last(&cluster).await;
    assert_eq!((mail.to.as_str(), mail.subject.as_str()), (EMAIL, "New recovery codes were made for your account"));
    assert!(codes.iter().all(|code| !mail.raw.contains(code)), "{}", mail.raw);
}

/// One of them may be that of somebody who has the app.
#[tokio::test]
async fn a_removed_app_ends_all_other_sessions() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    let enrolled = enrol(&gateway).await;
    let other = gateway.verify_sign_in(&gateway.first_step(PASSWORD).await, &enrolled.recovery_codes[0]).await.expect("signed in");
    let pending = gateway.first_step(PASSWORD).await;
    let access = gateway.access_of(&enrolled.session_token).await;
    let renewed = gateway.step_up_by_code(&access, &enrolled.code(0)).await.expect("proved");
    let access = gateway.access_of(&renewed.session_token).await;
    gateway.delete_totp(&access).await.expect("removed");
    assert_eq!(gateway.exchange(&other.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    let waiting = gateway.verify_sign_in(&pending, &enrolled.recovery_codes[1]).await.expect_err("the first step is void");
    assert_eq!(waiting.reason, "SIGN_IN_EXPIRED");
    gateway.exchange(&renewed.session_token).await.expect("that of the person stays");
    let removed = "select count(*) from audit_events where kind = 'second_factor.removed' and details->>'sessions' = '1'";
    assert_eq!(count(&cluster, removed).await, 1);
    assert_eq!(mailbox.last(&cluster).await.subject, "A second factor was removed from your account");
}

/// A thief with an old session showed the factor before the owner replaced it.
#[tokio::test]
async fn a_new_factor_makes_earlier_proofs_void() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let first = enrol(&gateway).await;
    let access = gateway.access_of(&first.session_token).await;
    assert_eq!(claims(&access)["auth_time"], 1, "the session is from before the factor; 0 is for programs");
    let renewed = gateway.step_up_by_code(&access, &first.code(0)).await.expect("proved");
    let access = gateway.access_of(&renewed.session_token).await;
    assert_ne!(claims(&access)["auth_time"], 1);
    gateway.delete_totp(&access).await.expect("removed");
    let started = gateway.start_totp(&access).await.expect("started");
    gateway.confirm_totp(&access, &totp_code(&started.secret, now())).await.expect("confirmed");
    assert_eq!(claims(&gateway.access_of(&renewed.session_token).await)["auth_time"], 1);
    let refused = gateway.refresh_token(&access).await.expect_err("the new factor was never shown");
    assert_eq!(refused.reason, "STEP_UP_REQUIRED");
}

/// In which state the token of a second step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Completed,
    Expired,
    /// Five wrong codes were tried.
    Exhausted,
    PasswordChanged,
    PasswordReset,
    FactorReset,
    SessionsRevoked,
    Disabled,
    Altered,
}

const STATES: [State; 10] = [
    State::Fresh,
    State::Completed,
    State::Expired,
    State::Exhausted,
    State::PasswordChanged,
    State::PasswordReset,
    State::FactorReset,
    State::SessionsRevoked,
    State::Disabled,
    State::Altered,
];

#[tokio::test]
async fn a4_the_token_of_a_second_step_works_only_in_its_state_and_at_its_step() {
    for state in STATES {
        let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
        let replica = mailbox.auth(&cluster, &[]).await;
        let (gateway, admin) = (replica.gateway(), Admin::of(&replica));
        let enrolled = enrol(&gateway).await;
        verify_all(&cluster).await;
        let mut token = gateway.first_step(PASSWORD).await;
        match state {
            State::Fresh => {}
            State::Completed => drop(gateway.verify_sign_in(&token, &enrolled.recovery_codes[0]).await.expect("completed")),
            State::Expired => {
                sqlx::query("update pending_sign_ins set expires_at = now()").execute(&cluster.database.pool).await.expect("expired");
            }
            State::Exhausted => {
                for _ in 0..5 {
                    assert_eq!(gateway.verify_sign_in(&token, "000000").await.expect_err("wrong").reason, "BAD_SECOND_FACTOR");
                }
            }
            State::PasswordChanged => {
                let access = gateway.access_of(&enrolled.session_token).await;
                let renewed = gateway.step_up_by_code(&access, &enrolled.recovery_codes[0]).await.expect("proved");
                let access = gateway.access_of(&renewed.session_token).await;
                change(&gateway, &access, PASSWORD, NEW_PASSWORD).await.expect("changed");
            }
            // The factor stays.
            State::PasswordReset => mailbox.reset(&cluster, &gateway, (EMAIL, NEW_PASSWORD)).await,
            State::FactorReset => assert!(admin.reset_second_factor(EMAIL).await.expect("reset")),
            State::SessionsRevoked => {
                let access = gateway.access_of(&enrolled.session_token).await;
                let renewed = gateway.step_up_by_code(&access, &enrolled.recovery_codes[0]).await.expect("proved");
                let access = gateway.access_of(&renewed.session_token).await;
                let revoke = gateway.authorized(RevokeSessionsRequest::default(), &access);
                answer(gateway.client.clone().revoke_sessions(revoke).await).expect("revoked");
            }
            State::Disabled => assert_eq!(admin.set_disabled(EMAIL, true).await.expect("disabled"), 1),
            State::Altered => token = mistyped(&token),
        }
        // Other steps do not take it, and do not use it.
        assert_eq!(gateway.verify(&token).await.expect_err("another step").reason, "LINK_INVALID");
        assert_eq!(gateway.confirm_reset(&token, NEW_PASSWORD).await.expect_err("another step").reason, "LINK_INVALID");
        assert_eq!(gateway.exchange(&token).await.expect_err("no session").reason, "SESSION_ENDED");
        let outcome = gateway.verify_sign_in(&token, &enrolled.code(0)).await.map(drop).map_err(|fault| fault.reason);
        let expected = if state == State::Fresh { Ok(()) } else { Err("SIGN_IN_EXPIRED".to_owned()) };
        assert_eq!(outcome, expected, "{state:?}");
    }
}

#[tokio::test]
async fn a4_of_fifty_uses_of_a_token_or_a_recovery_code_one_succeeds() {
    let cluster = Cluster::start().await;
    let (one, other) = (cluster.auth().await.gateway(), cluster.auth().await.gateway());
    let enrolled = enrol(&one).await;
    let at = |n: usize| if n.is_multiple_of(2) { &one } else { &other };
    let known = ["SIGN_IN_EXPIRED", "BAD_SECOND_FACTOR"];

    // One token with codes that are all right.
    let token = one.first_step(PASSWORD).await;
    let tries = (0..50).map(|n| at(n).verify_sign_in(&token, &enrolled.recovery_codes[n % 4]));
    let (done, refused): (Vec<_>, Vec<_>) = within_a_minute(join_all(tries)).await.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 1);
    assert!(refused.iter().all(|result| known.contains(&result.as_ref().expect_err("refused").reason.as_str())), "{refused:?}");

    // One code with tokens that are all right: a code of the app, and a recovery code.
    for code in [enrolled.code(0), enrolled.recovery_codes[9].clone()] {
        let tokens = join_all((0..50).map(|_| one.first_step(PASSWORD))).await;
        let tries = tokens.iter().enumerate().map(|(n, token)| at(n).verify_sign_in(token, &code));
        let (done, refused): (Vec<_>, Vec<_>) = within_a_minute(join_all(tries)).await.into_iter().partition(Result::is_ok);
        assert_eq!(done.len(), 1, "{refused:?}");
        assert!(refused.iter().all(|result| known.contains(&result.as_ref().expect_err("refused").reason.as_str())), "{refused:?}");
    }
    assert_eq!(count(&cluster, "select count(*) from sessions").await, 4, "with that of the sign-up");
}

#[tokio::test]
async fn guesses_of_codes_are_limited_and_lock_nobody_out() {
    let cluster = Cluster::with_policies(Policies::shipped()).await;
    let replica = cluster.auth().await;
    let owner = replica.gateway_for("198.51.100.7");
    let enrolled = enrol(&owner).await;
    // Somebody else knows the password.
    for address in ["203.0.113.9", "203.0.113.10"] {
        let thief = replica.gateway_for(address);
        // Each sign-in has five codes.
        let (first, second) = (thief.first_step(PASSWORD).await, thief.first_step(PASSWORD).await);
        for token in [&first, &first, &first, &second, &second] {
            assert_eq!(thief.verify_sign_in(token, "000000").await.expect_err("wrong").reason, "BAD_SECOND_FACTOR");
        }
        let fault = thief.verify_sign_in(&second, "000000").await.expect_err("limited");
        assert_eq!((fault.code, fault.quota[0].policy.as_str()), (ErrorCode::RateLimited, "auth-guess"));
    }
    let token = owner.first_step(PASSWORD).await;
    owner.verify_sign_in(&token, &enrolled.code(0)).await.expect("the person is not locked out");
}

/// Tries wrong codes at one sign-in. The answer is the same for each.
async fn fail(client: &Client, codes: usize) {
    let token = client.first_step(PASSWORD).await;
    for _ in 0..codes {
        let fault = client.verify_sign_in(&token, "000000").await.expect_err("wrong");
        assert_eq!((fault.reason.as_str(), fault.message.as_str()), ("BAD_SECOND_FACTOR", "the code is wrong or was used before"));
    }
}

#[tokio::test]
async fn the_owner_learns_of_every_fifth_wrong_code_from_a_new_address() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let replica = mailbox.auth(&cluster, &[]).await;
    let (owner, thief) = (replica.gateway_for("198.51.100.7"), replica.gateway_for("203.0.113.9"));
    enrol(&owner).await;
    let warnings = async || {
        let mails = mailbox.settled(&cluster).await;
        mails.into_iter().filter(|mail| mail.subject == "Somebody may have your password").collect::<Vec<_>>()
    };
    fail(&thief, 5).await;
    assert!(warnings().await.is_empty(), "an address that nobody has verified may belong to somebody else");
    verify_all(&cluster).await;
    fail(&owner, 5).await;
    assert!(warnings().await.is_empty(), "a person who mistypes");
    fail(&thief, 4).await;
    assert!(warnings().await.is_empty(), "four");
    // A new sign-in does not hide them.
    fail(&thief, 1).await;
    let [warning] = &warnings().await[..] else { panic!("one mail") };
    assert_eq!((warning.to.as_str(), warning.link()), (EMAIL, "https://apps.example/account/reset"));
    assert!(warning.raw.replace("\r\n", " ").contains("from the address 203.0.113.9, which is new."), "{}", warning.raw);
    for _ in 0..4 {
        fail(&thief, 5).await;
    }
    assert_eq!(warnings().await.len(), 3, "in an hour");
}

#[tokio::test]
async fn a_reset_of_the_password_keeps_the_factors_of_a_verified_account_only() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[]).await.gateway();
    // Somebody has signed up with the address of another person.
    enrol(&gateway).await;
    age_app(&cluster).await;
    mailbox.reset(&cluster, &gateway, (EMAIL, NEW_PASSWORD)).await;
    let begun = gateway.sign_in(EMAIL, NEW_PASSWORD).await.expect("the owner gets in");
    let access = gateway.access_of(&begun.session_token).await;
    let secret = gateway.start_totp(&access).await.expect("secret").secret;
    gateway.confirm_totp(&access, &totp_code(&secret, now())).await.expect("confirmed");
    // The reset has verified the address. The app is new.
    mailbox.reset(&cluster, &gateway, (EMAIL, PASSWORD)).await;
    gateway.first_step(PASSWORD).await;
    assert_eq!(count(&cluster, "select count(*) from recovery_codes").await, 10);
}

#[tokio::test]
async fn an_operator_removes_the_factors_of_an_account() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let replica = mailbox.auth(&cluster, &[]).await;
    let (gateway, admin) = (replica.gateway(), Admin::of(&replica));
    let enrolled = enrol(&gateway).await;
    let acting = admin.impersonate(EMAIL, "ticket 7", 5).await.expect("session");
    let of_operator = gateway.access_of(&acting.session_token).await;
    for refused in [
        gateway.start_totp(&of_operator).await.map(drop).expect_err("an operator"),
        gateway.delete_totp(&of_operator).await.expect_err("an operator"),
        gateway.recovery_codes(&of_operator).await.map(drop).expect_err("an operator"),
        gateway.step_up_by_code(&of_operator, &enrolled.code(0)).await.map(drop).expect_err("an operator"),
    ] {
        assert_eq!(refused.reason, "IMPERSONATED");
    }
    assert!(admin.reset_second_factor(EMAIL).await.expect("reset"));
    for ended in [&enrolled.session_token, &acting.session_token] {
        assert_eq!(gateway.exchange(ended).await.expect_err("ended").reason, "SESSION_ENDED");
    }
    assert_eq!(mailbox.last(&cluster).await.subject, "A second factor was removed from your account");
    let begun = gateway.sign_in(EMAIL, PASSWORD).await.expect("one step");
    assert!(!admin.reset_second_factor(EMAIL).await.expect("nothing to reset"));
    gateway.exchange(&begun.session_token).await.expect("then no session ends");
    let kinds = "select count(*) from audit_events
                 where kind = 'second_factor.reset' and actor_kind = 'operator' and details->>'sessions' = '2'";
    assert_eq!(count(&cluster, kinds).await, 1);
}

#[tokio::test]
async fn a_stored_secret_works_only_in_its_row() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let enrolled = enrol(&gateway).await;
    let token = gateway.first_step(PASSWORD).await;
    let flip = "update totp_secrets set sealed_secret = set_byte(sealed_secret, 100, get_byte(sealed_secret, 100) # 1)";
    sqlx::query(flip).execute(&cluster.database.pool).await.expect("changed");
    assert_eq!(gateway.verify_sign_in(&token, &enrolled.code(0)).await.expect_err("damaged").reason, "INTERNAL");
    gateway.verify_sign_in(&token, &enrolled.recovery_codes[0]).await.expect("a recovery code still works");
}
