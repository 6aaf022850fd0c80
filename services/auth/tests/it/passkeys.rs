//! Passkeys: registration, sign-in, second step and step-up, with what must not work.

use chassis::{
    clock::now,
    postgres::{begin, commit},
    testing::Authenticator,
};
use proto::{
    auth::{
        CreatePasskeyRequest, CreatePasskeyResponse, DeletePasskeyRequest, GetFactorsRequest, ListPasskeysRequest, Passkey,
        PasskeyPurpose::{self, Registration, SecondStep, SignIn, StepUp},
        RenamePasskeyRequest, SignInWithPasskeyRequest, SignInWithPasskeyResponse, StartPasskeyCeremonyRequest,
        StartPasskeyCeremonyResponse, StepUpRequest, StepUpResponse,
    },
    error::{ErrorCode, Fault},
};
use serde_json::{Value, json};

use crate::{
    admin::Admin,
    harness::{Client, Cluster, PASSWORD, Replica, answer},
    mailbox::{Mailbox, is_stored, verify_all},
    step_up::{age_proofs, claims, step_up},
    voided_mails::blocked,
};

const EMAIL: &str = "ada@example.org";
pub(crate) const ORIGIN: &str = "https://apps.example";

impl Client {
    pub(crate) async fn ask(&self, purpose: PasskeyPurpose, access: Option<&str>) -> Result<StartPasskeyCeremonyResponse, Box<Fault>> {
        let message = StartPasskeyCeremonyRequest { purpose: purpose.into(), ..Default::default() };
        let request = match access {
            Some(access) => self.authorized(message, access),
            None => self.request(message),
        };
        answer(self.client.clone().start_passkey_ceremony(request).await)
    }

    async fn ask_for_second_step(&self, token: &str) -> Result<StartPasskeyCeremonyResponse, Box<Fault>> {
        let message = StartPasskeyCeremonyRequest { purpose: SecondStep.into(), sign_in_token: token.to_owned() };
        answer(self.client.clone().start_passkey_ceremony(self.request(message)).await)
    }

    async fn create_passkey(&self, access: &str, token: &str, credential: String) -> Result<CreatePasskeyResponse, Box<Fault>> {
        let message = CreatePasskeyRequest { ceremony_token: token.to_owned(), credential, display_name: "Phone".into() };
        answer(self.client.clone().create_passkey(self.authorized(message, access)).await)
    }

    pub(crate) async fn finish(&self, token: &str, credential: String) -> Result<SignInWithPasskeyResponse, Box<Fault>> {
        let message = SignInWithPasskeyRequest { ceremony_token: token.to_owned(), credential, ..Default::default() };
        answer(self.client.clone().sign_in_with_passkey(self.request(message)).await)
    }

    /// Registers a passkey in a session whose proof is recent.
    pub(crate) async fn register(&self, access: &str, device: &mut Authenticator) -> Result<CreatePasskeyResponse, Box<Fault>> {
        let asked = self.ask(Registration, Some(access)).await?;
        let credential = device.create(&asked.options);
        self.create_passkey(access, &asked.ceremony_token, credential).await
    }

    async fn sign_in_with(&self, device: &mut Authenticator) -> Result<SignInWithPasskeyResponse, Box<Fault>> {
        let asked = self.ask(SignIn, None).await?;
        let credential = device.get(&asked.options);
        self.finish(&asked.ceremony_token, credential).await
    }

    pub(crate) async fn step_up_with(&self, access: &str, device: &mut Authenticator) -> Result<StepUpResponse, Box<Fault>> {
        let asked = self.ask(StepUp, Some(access)).await?;
        let (ceremony_token, credential) = (asked.ceremony_token, device.get(&asked.options));
        let message = StepUpRequest { ceremony_token, credential, ..Default::default() };
        answer(self.client.clone().step_up(self.authorized(message, access)).await)
    }

    async fn passkeys(&self, access: &str) -> Vec<Passkey> {
        let request = self.authorized(ListPasskeysRequest {}, access);
        answer(self.client.clone().list_passkeys(request).await).expect("passkeys").passkeys
    }

    pub(crate) async fn delete_passkey(&self, access: &str, id: &str) -> Result<(), Box<Fault>> {
        let message = DeletePasskeyRequest { passkey_id: id.to_owned() };
        answer(self.client.clone().delete_passkey(self.authorized(message, access)).await).map(drop)
    }
}

/// A replica, and an account with one passkey.
struct Site {
    cluster: Cluster,
    mailbox: Mailbox,
    replica: Replica,
    gateway: Client,
    device: Authenticator,
    /// Of a session that has shown the passkey.
    access: String,
    created: CreatePasskeyResponse,
}

impl Site {
    async fn start() -> Self {
        let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
        let replica = mailbox.auth(&cluster, &[]).await;
        let gateway = replica.gateway();
        let mut device = Authenticator::at(ORIGIN);
        let access = gateway.signed_up(EMAIL).await;
        let created = gateway.register(&access, &mut device).await.expect("registered");
        let begun = gateway.sign_in_with(&mut device).await.expect("signed in");
        let access = gateway.access_of(&begun.session_token).await;
        Self { cluster, mailbox, replica, gateway, device, access, created }
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.cluster.database.pool).await.expect("count")
    }

    async fn execute(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.cluster.database.pool).await.expect("done");
    }

    fn id(&self) -> &str {
        &self.created.passkey.as_ref().expect("a passkey").id
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Box<Fault>>, code: ErrorCode, reason: &str) {
    let fault = result.expect_err(reason);
    assert_eq!((fault.code, fault.reason.as_str()), (code, reason), "{fault:?}");
}

#[tokio::test]
async fn a_passkey_signs_in_without_an_address() {
    let site = Site::start().await;
    let passkey = site.created.passkey.as_ref().expect("a passkey");
    assert!(passkey.display_name == "Phone" && passkey.discoverable && !passkey.backed_up && passkey.last_use_time.is_none());
    assert_eq!(site.created.recovery_codes.len(), 10, "it is the first second factor");
    assert_eq!(claims(&site.access)["amr"], json!(["pop", "mfa"]), "both factors in one");
    let request = site.gateway.authorized(GetFactorsRequest {}, &site.access);
    let factors = answer(site.gateway.client.clone().get_factors(request).await).expect("factors");
    assert_eq!((factors.passkeys, factors.recovery_codes), (1, 10));
    assert!(site.gateway.passkeys(&site.access).await[0].last_use_time.is_some());
    assert_eq!(site.mailbox.last(&site.cluster).await.subject, "A passkey was added to your account");
    let added = "select count(*) from audit_events where kind = 'second_factor.added' and details->>'factor' = 'passkey'";
    let started = "select count(*) from audit_events where kind = 'session.started' and details ? 'passkey'";
    assert_eq!((site.count(added).await, site.count(started).await), (1, 1));
    assert!(!is_stored(&site.cluster, &site.created.recovery_codes[0]).await);
    let request = RenamePasskeyRequest { passkey_id: site.id().to_owned(), display_name: "Key".into() };
    answer(site.gateway.client.clone().rename_passkey(site.gateway.authorized(request, &site.access)).await).expect("renamed");
    assert_eq!(site.gateway.passkeys(&site.access).await[0].display_name, "Key");
}

#[tokio::test]
async fn a_rename_is_in_the_audit_log_without_the_name() {
    let site = Site::start().await;
    let rename = async |id: &str| {
        let request = RenamePasskeyRequest { passkey_id: id.to_owned(), display_name: "Ada's key".into() };
        answer(site.gateway.client.clone().rename_passkey(site.gateway.authorized(request, &site.access)).await)
    };
    rename(site.id()).await.expect("renamed");
    refused(rename("00000000-0000-4000-8000-000000000000").await, ErrorCode::NotFound, "PASSKEY_NOT_FOUND");
    let renamed = "select actor_kind, actor_id = user_id::text, details from audit_events where kind = 'second_factor.renamed'";
    let events: Vec<(String, bool, Value)> = sqlx::query_as(renamed).fetch_all(&site.cluster.database.pool).await.expect("events");
    assert_eq!(events, [("user".to_owned(), true, json!({"factor": "passkey", "passkey": site.id()}))]);
}

#[tokio::test]
async fn a_registration_and_a_use_say_whether_a_passkey_is_backed_up() {
    let site = Site::start().await;
    let mut device = Authenticator::at(ORIGIN);
    device.backed_up = true;
    let created = site.gateway.register(&site.access, &mut device).await.expect("registered");
    assert!(created.passkey.expect("a passkey").backed_up);
    site.execute("update passkeys set is_backed_up = false").await;
    site.gateway.sign_in_with(&mut device).await.expect("signed in");
    let listed: Vec<bool> = site.gateway.passkeys(&site.access).await.into_iter().map(|passkey| passkey.backed_up).collect();
    assert_eq!(listed, [false, true]);
}

#[tokio::test]
async fn a_sign_in_without_an_address_shows_that_a_passkey_is_discoverable() {
    let mut site = Site::start().await;
    let gateway = site.gateway.clone();
    // As after a registration at which the browser did not say it.
    site.execute("update passkeys set is_discoverable = false").await;
    let renewed = gateway.step_up_with(&site.access, &mut site.device).await.expect("proved");
    let access = gateway.access_of(&renewed.session_token).await;
    assert!(!gateway.passkeys(&access).await[0].discoverable, "a step-up names the passkeys");
    gateway.sign_in_with(&mut site.device).await.expect("signed in");
    assert!(gateway.passkeys(&access).await[0].discoverable);
}

#[tokio::test]
async fn a_passkey_that_does_not_know_its_account_is_only_a_second_factor() {
    let site = Site::start().await;
    let gateway = site.gateway.clone();
    let mut key = Authenticator::at(ORIGIN);
    key.discoverable = false;
    let created = gateway.register(&site.access, &mut key).await.expect("registered");
    assert!(!created.passkey.expect("a passkey").discoverable);
    refused(gateway.sign_in_with(&mut key).await, ErrorCode::Unauthenticated, "PASSKEY_INVALID");
    let fault = gateway.sign_in(EMAIL, PASSWORD).await.expect_err("a second step");
    let asked = gateway.ask_for_second_step(&fault.metadata["sign_in_token"]).await.expect("a question");
    gateway.finish(&asked.ceremony_token, key.get(&asked.options)).await.expect("signed in");
    let renewed = gateway.step_up_with(&site.access, &mut key).await.expect("proved");
    let access = gateway.access_of(&renewed.session_token).await;
    assert!(!gateway.passkeys(&access).await[1].discoverable);
    // Without a password the other passkey is the last way to sign in.
    site.execute("update users set password_hash = null").await;
    refused(gateway.delete_passkey(&access, site.id()).await, ErrorCode::Conflict, "LAST_SIGN_IN");
}

#[tokio::test]
async fn the_options_of_a_sign_in_name_nobody() {
    let site = Site::start().await;
    let asked = site.gateway.ask(SignIn, None).await.expect("a question");
    let options: Value = serde_json::from_str(&asked.options).expect("JSON");
    assert_eq!((&options["allowCredentials"], &options["rpId"]), (&json!([]), &json!("apps.example")));
    assert_eq!(options["userVerification"], "required");
    assert!(!is_stored(&site.cluster, &asked.ceremony_token).await, "hashed");
}

#[tokio::test]
async fn an_exchange_is_finished_once_in_its_session_for_its_purpose_and_in_time() {
    use ErrorCode::InvalidArgument;
    let mut site = Site::start().await;
    let gateway = &site.gateway;
    let asked = gateway.ask(SignIn, None).await.expect("a question");
    let credential = site.device.get(&asked.options);
    gateway.finish(&asked.ceremony_token, credential.clone()).await.expect("signed in");
    refused(gateway.finish(&asked.ceremony_token, credential).await, InvalidArgument, "CEREMONY_INVALID");

    // A wrong answer uses it up, too.
    let asked = gateway.ask(SignIn, None).await.expect("a question");
    refused(gateway.finish(&asked.ceremony_token, "{}".into()).await, ErrorCode::Unauthenticated, "PASSKEY_INVALID");
    refused(gateway.finish(&asked.ceremony_token, site.device.get(&asked.options)).await, InvalidArgument, "CEREMONY_INVALID");

    let other = gateway.signed_up("eve@example.org").await;
    let asked = gateway.ask(Registration, Some(&site.access)).await.expect("a question");
    let new = Authenticator::at(ORIGIN).create(&asked.options);
    refused(gateway.create_passkey(&other, &asked.ceremony_token, new).await, InvalidArgument, "CEREMONY_INVALID");

    let asked = gateway.ask(StepUp, Some(&site.access)).await.expect("a question");
    refused(gateway.finish(&asked.ceremony_token, site.device.get(&asked.options)).await, InvalidArgument, "CEREMONY_INVALID");

    let asked = gateway.ask(SignIn, None).await.expect("a question");
    site.execute("update passkey_ceremonies set expires_at = now() - interval '1 second'").await;
    refused(gateway.finish(&asked.ceremony_token, site.device.get(&asked.options)).await, InvalidArgument, "CEREMONY_INVALID");
    site.gateway.ask(SignIn, None).await.expect("a question");
    auth::testing::delete_old_rows(&site.cluster.database.pool, now() + time::Duration::minutes(6)).await.expect("deleted");
    assert_eq!(site.count("select count(*) from passkey_ceremonies").await, 0);
}

/// Its session was there when the request looked, and is gone when the exchange is stored.
#[tokio::test]
async fn an_exchange_of_a_session_that_ends_meanwhile_is_refused() {
    let site = Site::start().await;
    let pool = &site.cluster.database.pool;
    let mut ending = begin(pool).await.expect("a transaction");
    sqlx::query("delete from sessions").execute(&mut *ending).await.expect("ended");
    let (asked, ()) = tokio::join!(site.gateway.ask(Registration, Some(&site.access)), async {
        blocked(pool, "insert into passkey_ceremonies").await;
        commit(ending).await.expect("committed");
    });
    assert_eq!(asked.expect_err("ended").reason, "SESSION_ENDED");
}

#[tokio::test]
async fn a_wrong_answer_is_refused() {
    let mut site = Site::start().await;
    let (gateway, invalid) = (site.gateway.clone(), ErrorCode::Unauthenticated);
    site.device.origin = "https://apps.example.evil.example".into();
    refused(gateway.sign_in_with(&mut site.device).await, invalid, "PASSKEY_INVALID");
    site.device.origin = ORIGIN.into();
    site.device.verifies = false;
    refused(gateway.sign_in_with(&mut site.device).await, invalid, "PASSKEY_INVALID");
    site.device.verifies = true;
    let (one, other) = (gateway.ask(SignIn, None).await.expect("one"), gateway.ask(SignIn, None).await.expect("other"));
    refused(gateway.finish(&one.ceremony_token, site.device.get(&other.options)).await, invalid, "PASSKEY_INVALID");

    // Another key with the id of this one; an unknown passkey; one that names another account.
    let mut fake = Authenticator::at(ORIGIN);
    (fake.id, fake.user, fake.counter) = (site.device.id.clone(), site.device.user.clone(), 100);
    refused(gateway.sign_in_with(&mut fake).await, invalid, "PASSKEY_INVALID");
    fake.id = vec![7; 32];
    refused(gateway.sign_in_with(&mut fake).await, invalid, "PASSKEY_INVALID");
    let own = std::mem::replace(&mut site.device.user, vec![0; 16]);
    refused(gateway.sign_in_with(&mut site.device).await, invalid, "PASSKEY_INVALID");
    site.device.user = own;
    gateway.sign_in_with(&mut site.device).await.expect("the right one");

    let mut foreign = Authenticator::at("https://evil.example");
    refused(gateway.register(&site.access, &mut foreign).await, invalid, "PASSKEY_INVALID");
}

#[tokio::test]
async fn a_counter_that_goes_back_is_refused_and_recorded() {
    let mut site = Site::start().await;
    site.device.counter = 10;
    site.gateway.sign_in_with(&mut site.device).await.expect("further on");
    site.device.counter = 4;
    refused(site.gateway.sign_in_with(&mut site.device).await, ErrorCode::Unauthenticated, "PASSKEY_INVALID");
    assert_eq!(site.count("select count(*) from audit_events where kind = 'passkey.refused'").await, 1);
    site.device.counter = 11;
    site.gateway.sign_in_with(&mut site.device).await.expect("the newest counter");
}

#[tokio::test]
async fn an_account_has_at_most_twenty_passkeys_and_each_once() {
    let mut site = Site::start().await;
    let gateway = site.gateway.clone();
    let other = gateway.signed_up("eve@example.org").await;
    refused(gateway.register(&other, &mut site.device).await, ErrorCode::Unauthenticated, "PASSKEY_INVALID");
    site.execute(
        "insert into passkeys (id, user_id, credential_id, name, credential, is_discoverable, is_backed_up, created_at)
         select gen_random_uuid(), user_id, decode(lpad(to_hex(n), 8, '0'), 'hex'), name, credential, true, false, created_at
         from passkeys, generate_series(1, 19) n",
    )
    .await;
    refused(gateway.register(&site.access, &mut Authenticator::at(ORIGIN)).await, ErrorCode::RateLimited, "TOO_MANY_CREDENTIALS");
}

#[tokio::test]
async fn a_passkey_is_the_second_step_of_a_sign_in() {
    let mut site = Site::start().await;
    let gateway = site.gateway.clone();
    let fault = gateway.sign_in(EMAIL, PASSWORD).await.expect_err("a second step");
    assert_eq!((fault.reason.as_str(), fault.metadata["methods"].as_str()), ("SECOND_FACTOR_REQUIRED", "passkey,recovery_code"));
    let token = fault.metadata["sign_in_token"].clone();
    // A passkey of another account.
    let eve = gateway.signed_up("eve@example.org").await;
    let mut other = Authenticator::at(ORIGIN);
    gateway.register(&eve, &mut other).await.expect("registered");
    let asked = gateway.ask_for_second_step(&token).await.expect("a question");
    let options: Value = serde_json::from_str(&asked.options).expect("JSON");
    assert_eq!(options["allowCredentials"].as_array().expect("ids").len(), 1);
    refused(gateway.finish(&asked.ceremony_token, other.get(&asked.options)).await, ErrorCode::Unauthenticated, "PASSKEY_INVALID");
    assert_eq!(site.count("select attempts::bigint from pending_sign_ins").await, 1);

    let asked = gateway.ask_for_second_step(&token).await.expect("a question");
    let late = gateway.ask_for_second_step(&token).await.expect("another question");
    let begun = gateway.finish(&asked.ceremony_token, site.device.get(&asked.options)).await.expect("signed in");
    assert_eq!(claims(&gateway.access_of(&begun.session_token).await)["amr"], json!(["pwd", "pop", "mfa"]));
    refused(gateway.ask_for_second_step(&token).await, ErrorCode::Unauthenticated, "SIGN_IN_EXPIRED");
    refused(gateway.finish(&late.ceremony_token, site.device.get(&late.options)).await, ErrorCode::InvalidArgument, "CEREMONY_INVALID");
    refused(gateway.ask_for_second_step("unknown").await, ErrorCode::Unauthenticated, "SIGN_IN_EXPIRED");
}

#[tokio::test]
async fn the_owner_learns_of_every_fifth_wrong_passkey_from_a_new_address() {
    let site = Site::start().await;
    verify_all(&site.cluster).await;
    let thief = site.replica.gateway_for("203.0.113.9");
    let mut fake = Authenticator::at(ORIGIN);
    (fake.id, fake.user, fake.counter) = (site.device.id.clone(), site.device.user.clone(), 100);
    for _ in 0..5 {
        assert_ne!(site.mailbox.last(&site.cluster).await.subject, "Somebody may have your password");
        let fault = thief.sign_in(EMAIL, PASSWORD).await.expect_err("a second step");
        let asked = thief.ask_for_second_step(&fault.metadata["sign_in_token"]).await.expect("a question");
        refused(thief.finish(&asked.ceremony_token, fake.get(&asked.options)).await, ErrorCode::Unauthenticated, "PASSKEY_INVALID");
    }
    assert_eq!(site.mailbox.last(&site.cluster).await.subject, "Somebody may have your password");
}

#[tokio::test]
async fn a_passkey_proves_again_who_somebody_is() {
    let mut site = Site::start().await;
    let gateway = site.gateway.clone();
    age_proofs(&site.cluster).await;
    let fault = gateway.refresh_token(&site.access).await.expect_err("too old");
    assert_eq!((fault.reason.as_str(), fault.metadata["methods"].as_str()), ("STEP_UP_REQUIRED", "passkey,recovery_code"));
    refused(gateway.ask(Registration, Some(&site.access)).await, ErrorCode::Forbidden, "STEP_UP_REQUIRED");
    refused(step_up(&gateway, &site.access, PASSWORD).await, ErrorCode::Forbidden, "STEP_UP_REQUIRED");
    let mut other = Authenticator::at(ORIGIN);
    refused(gateway.step_up_with(&site.access, &mut other).await, ErrorCode::Unauthenticated, "PASSKEY_INVALID");
    let renewed = gateway.step_up_with(&site.access, &mut site.device).await.expect("proved");
    let access = gateway.access_of(&renewed.session_token).await;
    gateway.refresh_token(&access).await.expect("recent");
    let eve = gateway.signed_up("eve@example.org").await;
    refused(gateway.ask(StepUp, Some(&eve)).await, ErrorCode::NotFound, "PASSKEY_NOT_FOUND");
    refused(gateway.ask(StepUp, None).await, ErrorCode::Unauthenticated, "TOKEN_MISSING");
}

#[tokio::test]
async fn a_removed_passkey_signs_in_no_more_and_others_are_signed_out() {
    let mut site = Site::start().await;
    let gateway = site.gateway.clone();
    refused(gateway.delete_passkey(&site.access, &uuid::Uuid::now_v7().to_string()).await, ErrorCode::NotFound, "PASSKEY_NOT_FOUND");
    let other = gateway.sign_in_with(&mut site.device).await.expect("signed in");
    // Without a password it is the last way to sign in.
    site.execute("update users set password_hash = null").await;
    refused(gateway.delete_passkey(&site.access, site.id()).await, ErrorCode::Conflict, "LAST_SIGN_IN");
    site.execute("update users set password_hash = 'x'").await;
    gateway.delete_passkey(&site.access, site.id()).await.expect("removed");
    assert_eq!(gateway.exchange(&other.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    refused(gateway.sign_in_with(&mut site.device).await, ErrorCode::Unauthenticated, "PASSKEY_INVALID");
    assert_eq!(site.count("select count(*) from recovery_codes").await, 0);
    let removed = "select count(*) from audit_events where kind = 'second_factor.removed' and details->>'sessions' = '2'";
    assert_eq!(site.count(removed).await, 1, "the sign-up and the other sign-in");
    assert_eq!(site.mailbox.last(&site.cluster).await.subject, "A second factor was removed from your account");
}

/// A thief of a session that has shown the passkey of the owner adds another one.
#[tokio::test]
async fn a_reset_of_the_password_keeps_passkeys_and_a_link_removes_a_new_one() {
    let mut site = Site::start().await;
    let gateway = site.gateway.clone();
    verify_all(&site.cluster).await;
    let mut of_thief = Authenticator::at(ORIGIN);
    gateway.register(&site.access, &mut of_thief).await.expect("registered");
    let mail = site.mailbox.last(&site.cluster).await;
    assert_eq!(mail.subject, "A passkey was added to your account");
    site.mailbox.reset(&site.cluster, &gateway, (EMAIL, "another horse, another battery")).await;
    let begun = gateway.sign_in_with(&mut of_thief).await.expect("a mail alone replaces no factor");
    gateway.remove_new_factor(&mail.token()).await.expect("removed");
    assert_eq!(gateway.exchange(&begun.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    refused(gateway.sign_in_with(&mut of_thief).await, ErrorCode::Unauthenticated, "PASSKEY_INVALID");
    gateway.sign_in_with(&mut site.device).await.expect("that of the owner stays");
    assert_eq!(site.count("select count(*) from recovery_codes").await, 10, "they belong to the other factor, too");
    let removed = "select count(*) from audit_events where kind = 'second_factor.removed' and details->>'factor' = 'passkey'";
    assert_eq!(site.count(removed).await, 1);
}

#[tokio::test]
async fn an_operator_removes_passkeys_and_adds_none() {
    let site = Site::start().await;
    let admin = Admin::of(&site.replica);
    let acting = admin.impersonate(EMAIL, "ticket 7", 5).await.expect("a session").session_token;
    let acting = site.gateway.access_of(&acting).await;
    refused(site.gateway.ask(Registration, Some(&acting)).await, ErrorCode::Forbidden, "SESSION_REQUIRED");
    refused(site.gateway.delete_passkey(&acting, site.id()).await, ErrorCode::Forbidden, "IMPERSONATED");
    assert!(admin.reset_second_factor(EMAIL).await.expect("reset"));
    assert_eq!(site.count("select count(*) from passkeys").await, 0);
    site.gateway.sign_in(EMAIL, PASSWORD).await.expect("the password is enough");
}

#[tokio::test]
async fn passkeys_are_not_offered_at_an_address() {
    let (cluster, mailbox) = (Cluster::start().await, Mailbox::new());
    let gateway = mailbox.auth(&cluster, &[("BACKLOT_PUBLIC_URL", "http://127.0.0.1:8080")]).await.gateway();
    let access = gateway.signed_up(EMAIL).await;
    for (purpose, access) in [(Registration, Some(access.as_str())), (SignIn, None), (StepUp, Some(access.as_str()))] {
        refused(gateway.ask(purpose, access).await, ErrorCode::Forbidden, "PASSKEYS_NOT_OFFERED");
    }
    refused(gateway.finish("token", "{}".into()).await, ErrorCode::Forbidden, "PASSKEYS_NOT_OFFERED");
    assert!(gateway.passkeys(&access).await.is_empty());
}
