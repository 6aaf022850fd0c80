use futures::future::join_all;
use proto::{
    auth::{RevokeSessionRequest, RevokeSessionsRequest, SessionKind, SignInRequest, SignInResponse},
    error::ErrorCode,
};

use crate::{
    harness::{Client, Cluster, PASSWORD, answer, within_a_minute},
    step_up::{age_proofs, step_up},
};

const EMAIL: &str = "ada@example.org";
const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0";

async fn sign_in_with(client: &Client, user_agent: &str) -> SignInResponse {
    let message = SignInRequest { email: EMAIL.into(), password: PASSWORD.into(), user_agent: user_agent.into(), ..Default::default() };
    answer(client.client.clone().sign_in(client.request(message)).await).expect("session")
}

pub(crate) async fn revoke(client: &Client, access: &str, id: &str) -> Result<(), String> {
    let message = RevokeSessionRequest { session_id: id.into() };
    answer(client.client.clone().revoke_session(client.authorized(message, access)).await).map(drop).map_err(|fault| fault.reason)
}

pub(crate) async fn revoke_all(client: &Client, access: &str, include_current: bool) -> Result<u32, String> {
    let message = RevokeSessionsRequest { include_current };
    let answered = answer(client.client.clone().revoke_sessions(client.authorized(message, access)).await);
    answered.map(|answer| answer.revoked_count).map_err(|fault| fault.reason)
}

#[tokio::test]
async fn the_list_shows_each_session_with_its_device_and_network() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let (home, train) = (replica.gateway_for("192.0.2.77"), replica.gateway_for("2001:db8:1:2::9"));
    let first = home.sign_up(EMAIL, PASSWORD).await.expect("account");
    let second = sign_in_with(&train, FIREFOX).await;
    let other = home.sign_up("eve@example.org", PASSWORD).await.expect("account");
    let access = home.exchange(&first.session_token).await.expect("token").access_token;

    let listed = home.sessions(&access).await.expect("list");
    let ids: Vec<_> = listed.iter().map(|session| session.id.clone()).collect();
    assert_eq!(ids, [second.session.clone().expect("session").id, first.session.expect("session").id], "newest first, only own ones");
    assert!(!ids.contains(&other.session.expect("session").id));
    let seen: Vec<_> = listed.iter().map(|s| (s.device.as_str(), s.network.as_str(), s.is_current, s.kind())).collect();
    let sign_in = SessionKind::SignIn;
    assert_eq!(seen, [("Firefox on Windows", "2001:db8:1::/48", false, sign_in), ("", "192.0.2.0/24", true, sign_in)]);
    assert!(listed.iter().all(|session| session.last_use_time == session.create_time && session.expire_time.is_some()));
    assert!(second.session.expect("session").is_current, "of the answer");

    sqlx::query("update sessions set last_used_at = last_used_at - interval '8 days' where device <> ''")
        .execute(&cluster.database.pool)
        .await
        .expect("aged");
    assert_eq!(home.sessions(&access).await.expect("list").len(), 1, "a session that was not used for a week has ended");
}

/// Adds 600 sessions to the only account, which are used last. A list ends after 500.
pub(crate) async fn add_many(cluster: &Cluster) {
    let more = "insert into sessions (id, user_id, token_hash, kind, display_name, device, network, created_at, last_used_at, expires_at, amr)
                select gen_random_uuid(), u.id, sha256(n::text::bytea), 'sign_in', '', '', '', now(), now() + interval '1 minute', now() + interval '1 day', '{}'
                from users u, generate_series(1, 600) n";
    sqlx::query(more).execute(&cluster.database.pool).await.expect("sessions");
}

/// A full list does not show whether the session of the caller has ended.
#[tokio::test]
async fn a_full_list_is_refused_to_an_ended_session_only() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let account = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let access = gateway.exchange(&account.session_token).await.expect("token").access_token;
    add_many(&cluster).await;
    let listed = gateway.sessions(&access).await.expect("a list");
    assert_eq!(
        (listed.len(), listed.iter().filter(|session| session.is_current).count()),
        (500, 0),
        "the session of the caller is not in it"
    );
    gateway.sign_out(&account.session_token).await.expect("signed out");
    let fault = gateway.sessions(&access).await.expect_err("ended");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "SESSION_ENDED"));
}

#[tokio::test]
async fn a_session_ends_another_one_and_itself() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    let first = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let second = gateway.sign_in(EMAIL, PASSWORD).await.expect("session");
    let foreign = gateway.sign_up("eve@example.org", PASSWORD).await.expect("account");
    let access = gateway.exchange(&first.session_token).await.expect("token").access_token;
    let id = |session: Option<proto::auth::Session>| session.expect("session").id;
    let (own, target) = (id(first.session), id(second.session));
    let foreign_id = id(foreign.session);
    for (unknown, reason) in [
        (foreign_id.as_str(), "SESSION_NOT_FOUND"),
        ("01890000-0000-7000-8000-000000000000", "SESSION_NOT_FOUND"),
        ("x", "INVALID_FIELD"),
        ("", "INVALID_FIELD"),
    ] {
        assert_eq!(revoke(&gateway, &access, unknown).await.expect_err("refused"), reason);
    }
    revoke(&gateway, &access, &target).await.expect("ended");
    assert_eq!(gateway.exchange(&second.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(revoke(&gateway, &access, &target).await.expect_err("again"), "SESSION_NOT_FOUND");
    gateway.exchange(&foreign.session_token).await.expect("of another account");
    revoke(&gateway, &access, &own).await.expect("itself");
    assert_eq!(gateway.sessions(&access).await.expect_err("ended").reason, "SESSION_ENDED");
    assert_eq!(revoke(&gateway, &access, &own).await.expect_err("ended"), "SESSION_ENDED");
    let log: Vec<String> = sqlx::query_scalar("select session_id::text from revocations order by cursor")
        .fetch_all(&cluster.database.pool)
        .await
        .expect("log");
    assert_eq!(log, [target, own]);
}

#[tokio::test]
async fn all_others_or_all_sessions_end_at_once() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    let first = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let foreign = gateway.sign_up("eve@example.org", PASSWORD).await.expect("account");
    let access = gateway.exchange(&first.session_token).await.expect("token").access_token;
    assert_eq!(revoke_all(&gateway, &access, false).await, Ok(0), "there is no other one");

    let others = join_all((0..5).map(|_| gateway.sign_in(EMAIL, PASSWORD))).await;
    let program = gateway.refresh_token(&access).await.expect("token");
    assert_eq!(revoke_all(&gateway, &access, false).await, Ok(6));
    for other in others {
        let secret = other.expect("session").session_token;
        assert_eq!(gateway.exchange(&secret).await.expect_err("ended").reason, "SESSION_ENDED");
    }
    assert_eq!(gateway.refresh(&program.refresh_token).await.expect_err("ended").reason, "SESSION_ENDED");
    gateway.exchange(&first.session_token).await.expect("the session of the caller");
    gateway.sign_in(EMAIL, PASSWORD).await.expect("session");
    assert_eq!(revoke_all(&gateway, &access, true).await, Ok(2));
    assert_eq!(gateway.exchange(&first.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    gateway.exchange(&foreign.session_token).await.expect("of another account");
    let log: i64 = sqlx::query_scalar("select count(*) from revocations").fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!(log, 8);
}

#[tokio::test]
async fn a_session_without_a_recent_proof_ends_only_itself() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    let first = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let second = gateway.sign_in(EMAIL, PASSWORD).await.expect("session");
    let access = gateway.exchange(&first.session_token).await.expect("token").access_token;
    let id = |session: Option<proto::auth::Session>| session.expect("session").id;
    let (own, other) = (id(first.session), id(second.session));
    age_proofs(&cluster).await;
    assert_eq!(revoke(&gateway, &access, &other).await.expect_err("too old"), "STEP_UP_REQUIRED");
    for include_current in [false, true] {
        assert_eq!(revoke_all(&gateway, &access, include_current).await.expect_err("too old"), "STEP_UP_REQUIRED");
    }
    gateway.exchange(&second.session_token).await.expect("it goes on");
    revoke(&gateway, &access, &own).await.expect("itself");
    gateway.sign_out(&second.session_token).await.expect("a sign-out needs no proof");

    let third = gateway.sign_in(EMAIL, PASSWORD).await.expect("session");
    let target = id(gateway.sign_in(EMAIL, PASSWORD).await.expect("session").session);
    age_proofs(&cluster).await;
    let access = gateway.exchange(&third.session_token).await.expect("token").access_token;
    let renewed = step_up(&gateway, &access, PASSWORD).await.expect("proved");
    let access = gateway.exchange(&renewed.session_token).await.expect("token").access_token;
    revoke(&gateway, &access, &target).await.expect("ended");
    assert_eq!(revoke_all(&gateway, &access, true).await, Ok(1));
}

/// A sign-in at the same time is either before the end, and then its session ends, or after it.
#[tokio::test]
async fn a_sign_in_at_the_same_time_leaves_no_session_without_a_decision() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    for _ in 0..10 {
        let current = gateway.sign_in(EMAIL, PASSWORD).await.expect("session");
        let access = gateway.exchange(&current.session_token).await.expect("token").access_token;
        let (ended, begun) =
            within_a_minute(async { tokio::join!(revoke_all(&gateway, &access, true), gateway.sign_in(EMAIL, PASSWORD)) }).await;
        let (ended, begun) = (ended.expect("ended"), begun.expect("session"));
        let lives = gateway.exchange(&begun.session_token).await.is_ok();
        let left: i64 = sqlx::query_scalar("select count(*) from sessions").fetch_one(&cluster.database.pool).await.expect("count");
        assert_eq!((left, ended >= 1), (i64::from(lives), true));
    }
}

#[tokio::test]
async fn a_program_ends_no_sessions() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    let account = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let access = gateway.exchange(&account.session_token).await.expect("token").access_token;
    let program = gateway.refresh_token(&access).await.expect("token");
    let of_program = gateway.refresh(&program.refresh_token).await.expect("token").access_token;
    let id = account.session.expect("session").id;
    assert_eq!(revoke(&gateway, &of_program, &id).await.expect_err("refused"), "SESSION_REQUIRED");
    assert_eq!(revoke_all(&gateway, &of_program, true).await.expect_err("refused"), "SESSION_REQUIRED");
    let fault = gateway.refresh_token(&of_program).await.expect_err("refused");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Forbidden, "SESSION_REQUIRED"));
    let current: Vec<_> = gateway.sessions(&of_program).await.expect("list").iter().map(|s| (s.kind(), s.is_current)).collect();
    assert!(current.contains(&(SessionKind::RefreshToken, true)) && current.contains(&(SessionKind::SignIn, false)), "{current:?}");
}

/// While a release is replaced, its successor may already start sessions and queue mails of kinds that it does not know.
#[tokio::test]
async fn a_session_of_a_later_release_is_left_out() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    let first = gateway.sign_up(EMAIL, PASSWORD).await.expect("account");
    let access = gateway.exchange(&first.session_token).await.expect("token").access_token;
    gateway.sign_in(EMAIL, PASSWORD).await.expect("session");
    let pool = &cluster.database.pool;
    sqlx::query("alter table sessions drop constraint sessions_kind_check").execute(pool).await.expect("dropped");
    sqlx::query("update sessions set kind = 'of_a_later_release' where id <> $1::uuid")
        .bind(&first.session.clone().expect("session").id)
        .execute(pool)
        .await
        .expect("changed");
    let listed = gateway.sessions(&access).await.expect("list");
    let ids: Vec<_> = listed.into_iter().map(|session| session.id).collect();
    assert_eq!(ids, [first.session.expect("session").id]);
}
