//! What an operator does with accounts and their sessions.

use std::time::Duration;

use auth::testing::totp_code;
use chassis::{
    client,
    clock::{from_timestamp, now},
    context::Context,
    identity::Caller,
    secret::ClusterSecret,
    testing::Authenticator,
};
use proto::{
    auth::{
        Account, CreateUserRequest, CreateUserResponse, DeleteUserRequest, EndUserSessionsRequest, FindUserRequest, FindUserResponse,
        ImpersonateUserRequest, ImpersonateUserResponse, ListAuditEventsRequest, ListUserSessionsRequest, ListUsersRequest, Plan,
        ReplaceSigningKeyRequest, ReplaceSigningKeyResponse, ResetSecondFactorRequest, Session, SetUserDisabledRequest, SetUserPlanRequest,
        WatchRevocationsRequest, WatchRevocationsResponse, admin_service_client::AdminServiceClient,
    },
    error::{ErrorCode, Fault},
};
use tonic::{Request, Streaming};

use crate::{
    email_change::Fixture,
    harness::{Cluster, PASSWORD, Replica, SECRET, Settings, answer, within_a_minute},
    mailbox::verify_all,
    passkeys::ORIGIN,
    step_up::blocked,
};

pub(crate) const OPERATOR: &str = "grace";

pub(crate) fn request<T>(message: T) -> Request<T> {
    Context::background().request(message)
}

pub(crate) type Client = AdminServiceClient<chassis::client::ServiceChannel>;

pub(crate) fn client(replica: &Replica, caller: Caller) -> Client {
    let secret = ClusterSecret::of_bytes(SECRET.as_bytes());
    AdminServiceClient::new(client::connect(caller, Caller::Auth, &replica.uri, &secret))
}

/// The calls of an operator.
pub(crate) struct Admin(Client);

impl Admin {
    pub(crate) fn client(&self) -> Client {
        self.0.clone()
    }

    pub(crate) fn of(replica: &Replica) -> Self {
        Self(client(replica, Caller::Operator))
    }

    pub(crate) async fn create(&self, email: &str, password: &str, plan: Plan) -> Result<CreateUserResponse, Box<Fault>> {
        let message = CreateUserRequest {
            email: email.into(),
            password: password.into(),
            plan: plan.into(),
            operator: OPERATOR.into(),
            ..Default::default()
        };
        answer(self.0.clone().create_user(request(message)).await)
    }

    async fn find(&self, user: &str) -> Result<Account, Box<Fault>> {
        Ok(self.show(user).await?.account.expect("account"))
    }

    async fn show(&self, user: &str) -> Result<FindUserResponse, Box<Fault>> {
        answer(self.0.clone().find_user(request(FindUserRequest { user: user.into() })).await)
    }

    pub(crate) async fn set_disabled(&self, user: &str, disabled: bool) -> Result<u32, Box<Fault>> {
        let message = SetUserDisabledRequest { user: user.into(), disabled, operator: OPERATOR.into() };
        let changed = answer(self.0.clone().set_user_disabled(request(message)).await)?;
        assert_eq!(changed.account.expect("account").disable_time.is_some(), disabled);
        Ok(changed.ended_sessions)
    }

    pub(crate) async fn reset_second_factor(&self, user: &str) -> Result<bool, Box<Fault>> {
        let message = ResetSecondFactorRequest { user: user.into(), operator: OPERATOR.into() };
        answer(self.0.clone().reset_second_factor(request(message)).await).map(|reset| reset.was_removed)
    }

    pub(crate) async fn set_plan(&self, user: &str, plan: Plan) -> Result<(), Box<Fault>> {
        let message = SetUserPlanRequest { user: user.into(), plan: plan.into(), operator: OPERATOR.into() };
        answer(self.0.clone().set_user_plan(request(message)).await).map(drop)
    }

    /// Returns the number of sessions that were ended.
    pub(crate) async fn delete(&self, user: &str) -> Result<u32, Box<Fault>> {
        let message = DeleteUserRequest { user: user.into(), operator: OPERATOR.into() };
        Ok(answer(self.0.clone().delete_user(request(message)).await)?.ended_sessions)
    }

    pub(crate) async fn replace_signing_key(&self, at_once: bool) -> ReplaceSigningKeyResponse {
        let message = ReplaceSigningKeyRequest { at_once, operator: OPERATOR.into() };
        answer(self.0.clone().replace_signing_key(request(message)).await).expect("replaced")
    }

    pub(crate) async fn sessions(&self, user: &str) -> Vec<Session> {
        let message = ListUserSessionsRequest { user: user.into() };
        answer(self.0.clone().list_user_sessions(request(message)).await).expect("sessions").sessions
    }

    pub(crate) async fn end(&self, user: &str, session: &str) -> Result<u32, Box<Fault>> {
        let message = EndUserSessionsRequest { user: user.into(), session_id: session.into(), operator: OPERATOR.into() };
        Ok(answer(self.0.clone().end_user_sessions(request(message)).await)?.ended_sessions)
    }

    pub(crate) async fn impersonate(&self, user: &str, reason: &str, minutes: u32) -> Result<ImpersonateUserResponse, Box<Fault>> {
        let message = ImpersonateUserRequest { user: user.into(), reason: reason.into(), minutes, operator: OPERATOR.into() };
        answer(self.0.clone().impersonate_user(request(message)).await)
    }
}

async fn watch(replica: &Replica) -> Streaming<WatchRevocationsResponse> {
    let mut stream =
        answer(replica.gateway().client.clone().watch_revocations(WatchRevocationsRequest { after: 0 }).await).expect("stream");
    within_a_minute(stream.message()).await.expect("no error").expect("the cursor");
    stream
}

/// The next message that names a session.
async fn next(stream: &mut Streaming<WatchRevocationsResponse>) -> WatchRevocationsResponse {
    loop {
        let message = within_a_minute(stream.message()).await.expect("no error").expect("not ended");
        if !message.session_id.is_empty() || !message.changed_session_id.is_empty() {
            return message;
        }
    }
}

/// Moves a session of the account into the past.
async fn age(cluster: &Cluster, session: &str) {
    sqlx::query("update sessions set last_used_at = now() - interval '8 days' where id = $1::uuid")
        .bind(session)
        .execute(&cluster.database.pool)
        .await
        .expect("aged");
}

#[tokio::test]
async fn an_operator_creates_accounts_while_sign_up_is_closed() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth_with(Settings(&[("BACKLOT_SIGNUP", "closed")])).await;
    let admin = Admin::of(&replica);
    let given = admin.create("Ada@Example.org", PASSWORD, Plan::Team).await.expect("account");
    let user = given.account.expect("account").user.expect("user");
    assert_eq!((user.email.as_str(), user.display_name.as_str(), user.plan()), ("Ada@example.org", "Ada", Plan::Team));
    assert_eq!((given.password_url.as_str(), given.password_expire_time), ("", None), "the operator knows the password");
    replica.gateway().sign_in("ada@example.org", PASSWORD).await.expect("signs in");

    let one = admin.create("eve@example.org", "", Plan::Unspecified).await.expect("account");
    let other = admin.create("bob@example.org", "", Plan::Free).await.expect("account");
    assert!(one.password_url != other.password_url && one.generated_password.is_empty());
    assert_eq!(one.account.expect("account").user.expect("user").plan(), Plan::Free);
    assert!(admin.sessions("bob@example.org").await.is_empty(), "no session was started");

    let taken = admin.create("ADA@example.org", "", Plan::Free).await.expect_err("taken");
    assert_eq!((taken.code, taken.reason.as_str()), (ErrorCode::Conflict, "EMAIL_TAKEN"));
    assert_eq!(admin.create("new@example.org", "password1password1", Plan::Free).await.expect_err("weak").reason, "WEAK_PASSWORD");
}

/// The token of the link of a new account.
pub(crate) fn token_of(created: &CreateUserResponse) -> String {
    created.password_url.split_once("/account/reset/confirm?token=").expect("a link").1.to_owned()
}

#[tokio::test]
async fn an_account_without_a_password_gets_it_with_a_link_that_works_once_within_three_days() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let (admin, gateway, pool) = (Admin::of(&replica), replica.gateway(), &cluster.database.pool);
    let created = admin.create("eve@example.org", "", Plan::Free).await.expect("account");
    let (token, expires) = (token_of(&created), created.password_expire_time.as_ref().and_then(from_timestamp).expect("a time"));
    let days = time::Duration::days(3);
    assert!(expires > now() + days - time::Duration::minutes(10) && expires <= now() + days, "{expires}");
    let stored = cluster.database.tables_with(&token).await;
    assert_eq!(stored, [""; 0], "only the hash of the token is stored");
    for password in ["", PASSWORD] {
        assert!(gateway.sign_in("eve@example.org", password).await.is_err(), "there is no password yet");
    }
    assert_eq!(gateway.verify(&token).await.expect_err("another purpose").reason, "LINK_INVALID");
    assert_eq!(gateway.confirm_reset(&token, "password1password1").await.expect_err("weak").reason, "WEAK_PASSWORD");
    gateway.confirm_reset(&token, PASSWORD).await.expect("a refused password leaves the link usable");
    gateway.sign_in("eve@example.org", PASSWORD).await.expect("signs in");
    assert_eq!(gateway.confirm_reset(&token, PASSWORD).await.expect_err("used").reason, "LINK_INVALID");
    let verified: bool = sqlx::query_scalar("select bool_or(verified_at is not null) from users").fetch_one(pool).await.expect("users");
    assert!(!verified, "the operator had the link, so it proves no address");

    let old = token_of(&admin.create("old@example.org", "", Plan::Free).await.expect("account"));
    sqlx::query("update email_tokens set expires_at = now()").execute(pool).await.expect("expired");
    assert_eq!(gateway.confirm_reset(&old, PASSWORD).await.expect_err("expired").reason, "LINK_INVALID");
}

#[tokio::test]
async fn an_invalid_field_is_named() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let (admin, long, mut raw) = (Admin::of(&replica), "a".repeat(501), client(&replica, Caller::Operator));
    admin.create("ada@example.org", PASSWORD, Plan::Free).await.expect("account");
    let create = |email: &str, operator: &str, plan| CreateUserRequest {
        email: email.into(),
        operator: operator.into(),
        plan,
        ..Default::default()
    };
    for (message, field) in [
        (create("no address", OPERATOR, 0), "email"),
        (create("eve@example.org", "", 0), "operator"),
        (create("eve@example.org", &long, 0), "operator"),
        (create("eve@example.org", "gr\u{1b}ace", 0), "operator"),
        (create("eve@example.org", OPERATOR, 77), "plan"),
    ] {
        let fault = answer(raw.create_user(request(message)).await).expect_err(field);
        assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", field));
    }
    for (fault, field) in [
        (admin.set_plan("ada@example.org", Plan::Unspecified).await.expect_err("no plan"), "plan"),
        (admin.end("ada@example.org", "no id").await.expect_err("no id"), "session_id"),
        (admin.impersonate("ada@example.org", "", 5).await.expect_err("no reason"), "reason"),
        (admin.impersonate("ada@example.org", &long, 5).await.expect_err("long"), "reason"),
        (admin.impersonate("ada@example.org", "x", 61).await.expect_err("too long"), "minutes"),
        (admin.find("").await.expect_err("empty"), "user"),
        (admin.find(&long).await.expect_err("long"), "user"),
        (admin.find("a\0").await.expect_err("NUL"), "user"),
    ] {
        assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", field), "{fault:?}");
    }
    for page_token in ["x", "garbage garbage garbage garbage garbage garbage garbage garbage garbage"] {
        let list = ListUsersRequest { page_token: page_token.into(), ..Default::default() };
        let events = ListAuditEventsRequest { page_token: page_token.into(), ..Default::default() };
        for fault in [
            answer(raw.list_users(request(list)).await).map(drop).expect_err("garbage"),
            answer(raw.list_audit_events(request(events)).await).map(drop).expect_err("garbage"),
        ] {
            assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "page_token"));
        }
    }
}

#[tokio::test]
async fn an_account_is_found_by_every_spelling_and_by_its_id() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let admin = Admin::of(&replica);
    let created = admin.create("ada@münchen.example", "", Plan::Free).await.expect("account").account.expect("account");
    let id = created.user.clone().expect("user").id;
    for name in ["ada@münchen.example", "ADA@xn--mnchen-3ya.example", &id] {
        assert_eq!(admin.find(name).await.expect(name), created);
    }
    let other = proto::id::UserId::generate().to_string();
    for name in ["eve@example.org", "ada", &other, &id.to_uppercase()] {
        let fault = admin.find(name).await.expect_err(name);
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::NotFound, "USER_NOT_FOUND"));
        assert_eq!(admin.set_disabled(name, true).await.expect_err(name).reason, "USER_NOT_FOUND");
    }
}

#[tokio::test]
async fn accounts_are_listed_in_pages() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let admin = Admin::of(&replica);
    let mut created = Vec::new();
    for n in 0..7 {
        let email = format!("{}{n}@example.org", if n % 2 == 0 { "Even_" } else { "odd-" });
        created.push(admin.create(&email, "", Plan::Free).await.expect("account").account.expect("account"));
    }
    for (query, size, expected) in [
        ("", 2, created.clone()),
        ("", 7, created.clone()),
        ("", 0, created.clone()),
        ("EVEN", 2, created.iter().step_by(2).cloned().collect()),
        ("_", 3, created.iter().step_by(2).cloned().collect()),
        ("D-5", 3, vec![created[5].clone()]),
        ("%", 3, vec![]),
        ("nobody", 3, vec![]),
    ] {
        let (mut found, mut page_token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let message = ListUsersRequest { query: query.into(), page_size: size, page_token };
            let page = answer(admin.0.clone().list_users(request(message)).await).expect("page");
            found.extend(page.accounts);
            (page_token, pages) = (page.next_page_token, pages + 1);
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(found, expected, "{query:?}");
        assert!(size == 0 || pages == expected.len().div_ceil(usize::try_from(size).expect("positive")).max(1), "{query:?}: {pages}");
    }
}

#[tokio::test]
async fn a_disabled_account_is_out_and_answers_as_for_a_wrong_password() {
    let cluster = Cluster::start().await;
    let (here, there) = (cluster.auth().await, cluster.auth().await);
    let (gateway, admin) = (here.gateway(), Admin::of(&here));
    let one = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let two = gateway.sign_in("ada@example.org", PASSWORD).await.expect("session");
    let bystander = gateway.sign_up("eve@example.org", PASSWORD).await.expect("account");
    let access = gateway.exchange(&one.session_token).await.expect("token");
    let wrong = gateway.sign_in("ada@example.org", "not the password").await.expect_err("wrong");
    let mut stream = watch(&there).await;

    let started = std::time::Instant::now();
    assert_eq!(admin.set_disabled("ada@example.org", true).await.expect("disabled"), 2);
    let mut ended = [next(&mut stream).await.session_id, next(&mut stream).await.session_id];
    let took = started.elapsed();
    let mut expected = [one.session.expect("session").id, two.session.expect("session").id];
    ended.sort();
    expected.sort();
    assert_eq!(ended, expected, "the other replica reports both within {took:?}");
    for token in [&one.session_token, &two.session_token] {
        assert_eq!(gateway.exchange(token).await.expect_err("ended").reason, "SESSION_ENDED");
    }
    assert_eq!(gateway.session(&access.access_token).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(gateway.sign_in("ada@example.org", PASSWORD).await.expect_err("disabled"), wrong);
    assert_eq!(gateway.sign_in("ada@example.org", "not the password").await.expect_err("disabled"), wrong);
    assert_eq!(gateway.sign_up("ada@example.org", PASSWORD).await.expect_err("taken").reason, "EMAIL_TAKEN");
    gateway.exchange(&bystander.session_token).await.expect("others stay");
    let refused = admin.impersonate("ada@example.org", "look", 5).await.expect_err("disabled");
    assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::Conflict, "USER_DISABLED"));

    assert_eq!(admin.set_disabled("ada@example.org", true).await.expect("again"), 0);
    assert_eq!(admin.set_disabled("ada@example.org", false).await.expect("enabled"), 0);
    assert_eq!(gateway.exchange(&one.session_token).await.expect_err("stays ended").reason, "SESSION_ENDED");
    gateway.sign_in("ada@example.org", PASSWORD).await.expect("enabled again");
}

/// A sign-in whose password was checked before the account was disabled.
#[tokio::test]
async fn no_session_outlives_a_change_that_disables_its_account() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let (gateway, admin) = (replica.gateway(), Admin::of(&replica));
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    for _ in 0..5 {
        let sign_ins = (0..6).map(|_| gateway.sign_in("ada@example.org", PASSWORD));
        let (sessions, disabled) = tokio::join!(futures::future::join_all(sign_ins), admin.set_disabled("ada@example.org", true));
        disabled.expect("disabled");
        for session in sessions.into_iter().flatten() {
            assert_eq!(gateway.exchange(&session.session_token).await.expect_err("out").reason, "SESSION_ENDED");
        }
        let left: i64 = sqlx::query_scalar("select count(*) from sessions").fetch_one(&cluster.database.pool).await.expect("count");
        assert_eq!(left, 0);
        admin.set_disabled("ada@example.org", false).await.expect("enabled");
    }
}

/// Another operator changes the plan after the account was found.
#[tokio::test]
async fn the_audit_log_has_the_plan_that_was_replaced() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    replica.gateway().sign_up("ada@example.org", PASSWORD).await.expect("account");
    let (admin, pool) = (Admin::of(&replica), &cluster.database.pool);
    let mut other = chassis::postgres::begin(pool).await.expect("transaction");
    sqlx::query("update users set plan = 'pro'").execute(&mut *other).await.expect("changed");
    let committed = async {
        blocked(&cluster, "users").await;
        other.commit().await.expect("committed");
    };
    let (changed, ()) = within_a_minute(async { tokio::join!(admin.set_plan("ada@example.org", Plan::Team), committed) }).await;
    changed.expect("changed");
    let plans: (String, String) =
        sqlx::query_as("select details->>'from', details->>'to' from audit_events where kind = 'user.plan_changed'")
            .fetch_one(pool)
            .await
            .expect("one event");
    assert_eq!(plans, ("pro".to_owned(), "team".to_owned()));
}

#[tokio::test]
async fn a_new_plan_is_in_the_next_token_and_sessions_are_reported_as_changed() {
    let cluster = Cluster::start().await;
    let (here, there) = (cluster.auth().await, cluster.auth().await);
    let (gateway, admin) = (here.gateway(), Admin::of(&here));
    let account = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    gateway.sign_up("eve@example.org", PASSWORD).await.expect("bystander");
    let (mut near, mut far) = (watch(&here).await, watch(&there).await);
    admin.set_plan("ada@example.org", Plan::Pro).await.expect("changed");
    let id = account.session.expect("session").id;
    for stream in [&mut near, &mut far] {
        let message = next(stream).await;
        assert_eq!((message.changed_session_id.as_str(), message.session_id.as_str()), (id.as_str(), ""));
    }
    let access = gateway.exchange(&account.session_token).await.expect("the session stays");
    assert_eq!(access.user.expect("user").plan(), Plan::Pro);

    // The same plan changes nothing. Cursors of ends and of changes are in one order.
    admin.set_plan("ada@example.org", Plan::Pro).await.expect("nothing to change");
    gateway.sign_out(&account.session_token).await.expect("signed out");
    for stream in [&mut near, &mut far] {
        let message = next(stream).await;
        assert_eq!((message.changed_session_id.as_str(), message.session_id.as_str()), ("", id.as_str()));
    }
    assert_eq!(auth::testing::delete_old_rows(&cluster.database.pool, now() + time::Duration::days(2)).await.expect("deleted"), 1);
    let left: i64 = sqlx::query_scalar("select count(*) from session_changes").fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let (gateway, admin) = (replica.gateway(), Admin::of(&replica));
    let mut tokens = vec![gateway.sign_up("ada@example.org", PASSWORD).await.expect("account").session_token];
    for _ in 0..3 {
        tokens.push(gateway.sign_in("ada@example.org", PASSWORD).await.expect("session").session_token);
    }
    let other = gateway.sign_up("eve@example.org", PASSWORD).await.expect("account");
    let listed = admin.sessions("ada@example.org").await;
    assert!(listed.len() == 4 && listed.iter().all(|session| session.last_use_time.is_some() && session.impersonator.is_empty()));
    age(&cluster, &listed[0].id).await;
    assert_eq!(admin.sessions("ada@example.org").await.len(), 3, "an idle session has ended");

    let theirs = other.session.expect("session").id;
    assert_eq!(admin.end("ada@example.org", &theirs).await.expect("nothing"), 0, "the session of another account");
    assert_eq!(admin.end("ada@example.org", &listed[1].id).await.expect("one"), 1);
    assert_eq!(admin.end("ada@example.org", &listed[1].id).await.expect("none"), 0);
    assert_eq!(admin.end("ada@example.org", "").await.expect("all"), 3, "with the idle one");
    for token in &tokens {
        assert_eq!(gateway.exchange(token).await.expect_err("ended").reason, "SESSION_ENDED");
    }
    gateway.exchange(&other.session_token).await.expect("others stay");
}

#[tokio::test]
async fn an_impersonating_session_names_the_operator_and_ends_within_an_hour() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let (gateway, admin) = (replica.gateway(), Admin::of(&replica));
    let account = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    for (minutes, expected) in [(0, 60), (60, 60), (5, 5)] {
        let begun = admin.impersonate("ada@example.org", "ticket 7", minutes).await.expect("session");
        let left = from_timestamp(&begun.session.expect("session").expire_time.expect("time")).expect("time") - now();
        assert!(left <= time::Duration::minutes(expected) && left > time::Duration::minutes(expected - 1), "{left}");
        assert_eq!(begun.user, account.user);
    }
    let begun = admin.impersonate("ada@example.org", "ticket 8", 5).await.expect("session");
    let access = gateway.exchange(&begun.session_token).await.expect("token");
    let body = access.access_token.split('.').nth(1).expect("claims");
    let claims = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, body).expect("base64url");
    let claims: serde_json::Value = serde_json::from_slice(&claims).expect("JSON");
    assert_eq!(claims["act"], serde_json::json!({ "sub": "operator:grace" }));
    assert_eq!(gateway.session(&access.access_token).await.expect("session").session.expect("session").impersonator, OPERATOR);
    let own = gateway.exchange(&account.session_token).await.expect("token");
    assert_eq!(gateway.session(&own.access_token).await.expect("session").session.expect("session").impersonator, "");
    let marked = admin.sessions("ada@example.org").await.iter().filter(|session| session.impersonator == OPERATOR).count();
    assert_eq!(marked, 4);
    gateway.sign_out(&begun.session_token).await.expect("signed out");
}

#[tokio::test]
async fn only_an_operator_may_call() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let account = replica.gateway().sign_up("ada@example.org", PASSWORD).await.expect("account");
    let access = replica.gateway().exchange(&account.session_token).await.expect("token").access_token;
    let direct = tonic::transport::Channel::builder(replica.uri.clone()).connect_lazy();
    let user = FindUserRequest { user: "ada@example.org".into() };
    let with_token = crate::harness::with_token(Request::new(user.clone()), &access);
    let denied = answer(AdminServiceClient::new(direct).find_user(with_token).await).expect_err("a program");
    assert_eq!((denied.code, denied.reason.as_str()), (ErrorCode::Forbidden, "CALLER_DENIED"));
    for caller in [Caller::Gateway, Caller::AgentStreaming, Caller::ProjectStorage, Caller::RateLimit, Caller::Compile] {
        let mut client = client(&replica, caller);
        for denied in [
            answer(client.find_user(request(user.clone())).await).map(drop),
            answer(client.create_user(request(CreateUserRequest::default())).await).map(drop),
            answer(client.list_users(request(ListUsersRequest::default())).await).map(drop),
            answer(client.set_user_disabled(request(SetUserDisabledRequest::default())).await).map(drop),
            answer(client.set_user_plan(request(SetUserPlanRequest::default())).await).map(drop),
            answer(client.list_user_sessions(request(ListUserSessionsRequest::default())).await).map(drop),
            answer(client.end_user_sessions(request(EndUserSessionsRequest::default())).await).map(drop),
            answer(client.impersonate_user(request(ImpersonateUserRequest::default())).await).map(drop),
            answer(client.list_audit_events(request(ListAuditEventsRequest::default())).await).map(drop),
        ] {
            assert_eq!(denied.expect_err("denied").reason, "CALLER_DENIED", "{caller:?}");
        }
    }
}

/// On a busy machine one attempt may take longer, so the fastest of several counts.
#[tokio::test]
async fn a_disabled_account_is_reported_within_a_second() {
    let cluster = Cluster::start().await;
    let (here, there) = (cluster.auth().await, cluster.auth().await);
    let (gateway, admin) = (here.gateway(), Admin::of(&here));
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let (mut stream, mut best) = (watch(&there).await, Duration::MAX);
    for _ in 0..5 {
        let started = std::time::Instant::now();
        admin.set_disabled("ada@example.org", true).await.expect("disabled");
        next(&mut stream).await;
        best = best.min(started.elapsed());
        admin.set_disabled("ada@example.org", false).await.expect("enabled");
        gateway.sign_in("ada@example.org", PASSWORD).await.expect("session");
    }
    assert!(best < Duration::from_secs(1), "{best:?}");
}

#[tokio::test]
async fn a_session_of_an_operator_starts_no_other_even_with_a_token_that_does_not_say_so() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let begun = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let access = gateway.exchange(&begun.session_token).await.expect("token").access_token;
    sqlx::query("update sessions set impersonator = 'grace'").execute(&cluster.database.pool).await.expect("marked");
    assert_eq!(gateway.refresh_token(&access).await.expect_err("refused").reason, "SESSION_REQUIRED");
}

#[tokio::test]
async fn enabling_an_account_restores_no_session() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let (gateway, admin) = (replica.gateway(), Admin::of(&replica));
    let begun = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    // As a replica of the release before leaves it: disabled, with a session.
    sqlx::query("update users set disabled_at = now()").execute(&cluster.database.pool).await.expect("disabled");
    admin.set_disabled("ada@example.org", false).await.expect("enabled");
    assert_eq!(gateway.exchange(&begun.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
}

#[tokio::test]
async fn an_operator_sees_what_an_account_signs_in_with() {
    let fixture = Fixture::start().await;
    let (admin, gateway) = (Admin::of(&fixture.replica), &fixture.gateway);
    let (ada, eve) = (fixture.account("ada@example.org").await, fixture.account("eve@example.org").await);
    let new = admin.show("ada@example.org").await.expect("found");
    let methods = new.sign_in_methods.expect("methods");
    assert!(methods.password && methods.totp_create_time.is_none() && methods.recovery_codes == 0, "{methods:?}");
    assert!(methods.passkeys.is_empty() && methods.identities.is_empty(), "{methods:?}");
    assert_eq!(new.account.expect("account").verify_time, None);

    let secret = gateway.start_totp(&ada).await.expect("secret").secret;
    gateway.confirm_totp(&ada, &totp_code(&secret, now())).await.expect("confirmed");
    let passkey = gateway.register(&eve, &mut Authenticator::at(ORIGIN)).await.expect("registered").passkey.expect("a passkey");
    verify_all(&fixture.cluster).await;
    sqlx::query(
        "insert into identities (id, user_id, provider, issuer, subject, label, created_at, last_used_at)
         select gen_random_uuid(), id, 'github', 'https://github.com', '1', 'eve', now(), now() from users where email = 'eve@example.org'",
    )
    .execute(&fixture.cluster.database.pool)
    .await
    .expect("linked");
    let methods = admin.show("ada@example.org").await.expect("found").sign_in_methods.expect("methods");
    assert!(methods.totp_create_time.is_some() && methods.recovery_codes == 10 && methods.passkeys.is_empty(), "{methods:?}");
    let shown = admin.show("eve@example.org").await.expect("found");
    let methods = shown.sign_in_methods.expect("methods");
    assert_eq!((methods.passkeys, methods.totp_create_time), (vec![passkey], None));
    let linked: Vec<_> = methods.identities.iter().map(|identity| (identity.provider.as_str(), identity.label.as_str())).collect();
    assert_eq!(linked, [("github", "eve")]);
    assert!(shown.account.expect("account").verify_time.is_some(), "the address is verified");
}
