use chassis::{
    client,
    clock::{from_timestamp, now},
    identity::Caller,
    secret::ClusterSecret,
    verifier::{Keys, Verifier},
};
use proto::{
    auth::{GetSessionRequest, Plan, SignUpResponse},
    error::ErrorCode,
};

use crate::harness::{Client, Cluster, PASSWORD, SECRET, answer, with_token};

async fn signed_up(gateway: &Client) -> SignUpResponse {
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("account")
}

/// Moves the start and the last use of the session into the past.
async fn age(cluster: &Cluster, started: time::Duration, used: time::Duration) {
    sqlx::query("update sessions set created_at = $1, expires_at = $1 + interval '30 days', last_used_at = $2")
        .bind(now() - started)
        .bind(now() - used)
        .execute(&cluster.database.pool)
        .await
        .expect("aged");
}

#[tokio::test]
async fn every_service_accepts_the_token_of_a_session() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let account = signed_up(&replica.gateway()).await;
    let access = replica.gateway().exchange(&account.session_token).await.expect("token");
    let left = from_timestamp(&access.expire_time.expect("time")).expect("time") - now();
    assert!(left <= time::Duration::minutes(5) && left > time::Duration::minutes(4), "{left}");

    let secret = ClusterSecret::of_bytes(SECRET.as_bytes());
    let keys = Keys::Remote(client::connect(Caller::ProjectStorage, Caller::Auth, &replica.uri, &secret));
    let seen = Verifier::new(Caller::ProjectStorage, &secret, keys).user(&access.access_token).await.expect("verified");
    assert_eq!(seen.id.to_string(), account.user.expect("user").id);
    assert_eq!((seen.session_id.to_string(), Plan::from_claims(&seen.private_claims)), (access.session_id, Plan::Free));

    // A program calls directly, without the gateway.
    let answered = answer(replica.direct().get_session(with_token(tonic::Request::new(GetSessionRequest {}), &access.access_token)).await);
    assert_eq!(answered.expect("session").user, access.user);
}

#[tokio::test]
async fn the_plan_of_the_account_is_returned_with_a_token() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let account = signed_up(&gateway).await;
    sqlx::query("update users set plan = 'team'").execute(&cluster.database.pool).await.expect("upgraded");
    let access = gateway.exchange(&account.session_token).await.expect("token");
    assert_eq!(access.user.expect("user").plan(), Plan::Team);
}

#[tokio::test]
async fn a_missing_or_invalid_access_token_is_refused() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let missing = answer(replica.gateway().client.clone().get_session(GetSessionRequest {}).await).expect_err("no token");
    assert_eq!((missing.code, missing.reason.as_str()), (ErrorCode::Unauthenticated, "TOKEN_MISSING"));
    for token in ["x", "a.b.c", PASSWORD] {
        let fault = replica.gateway().session(token).await.expect_err(token);
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "TOKEN_INVALID"));
    }
}

#[tokio::test]
async fn an_unknown_session_token_is_refused() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let account = signed_up(&gateway).await;
    let shorter = &account.session_token[..42];
    for token in ["", "x", "\0", shorter, account.session.as_ref().expect("session").id.as_str()] {
        let fault = gateway.exchange(token).await.expect_err(token);
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "SESSION_ENDED"));
    }
    let fault = gateway.exchange(&"x".repeat(257)).await.expect_err("long");
    assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "session_token"));
    assert!(fault.violations[0].description.contains("256"), "{fault:?}");
}

#[tokio::test]
async fn a_session_ends_when_unused_for_a_week_or_after_thirty_days() {
    use time::Duration;
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let account = signed_up(&gateway).await;
    let access = gateway.exchange(&account.session_token).await.expect("token");
    for (started, used, live) in [
        (Duration::days(8), Duration::days(7) - Duration::minutes(1), true),
        (Duration::days(8), Duration::days(7), false),
        (Duration::days(30) - Duration::minutes(1), Duration::HOUR, true),
        (Duration::days(30), Duration::ZERO, false),
    ] {
        age(&cluster, started, used).await;
        let seen = gateway.session(&access.access_token).await.map(drop).map_err(|f| f.reason);
        let exchanged = gateway.exchange(&account.session_token).await;
        if live {
            seen.expect("live");
            exchanged.expect("live");
        } else {
            assert_eq!(seen.expect_err("ended"), "SESSION_ENDED");
            assert_eq!(exchanged.expect_err("ended").reason, "SESSION_ENDED");
        }
    }
}

#[tokio::test]
async fn a_token_expires_with_its_session() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let account = signed_up(&gateway).await;
    age(&cluster, time::Duration::days(30) - time::Duration::minutes(1), time::Duration::ZERO).await;
    let access = gateway.exchange(&account.session_token).await.expect("token");
    let left = from_timestamp(&access.expire_time.expect("time")).expect("time") - now();
    assert!(left <= time::Duration::minutes(1), "{left}");
}

#[tokio::test]
async fn a_use_is_recorded_once_a_minute() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let account = signed_up(&gateway).await;
    let used = || async {
        let at: time::OffsetDateTime =
            sqlx::query_scalar("select last_used_at from sessions").fetch_one(&cluster.database.pool).await.expect("time");
        at
    };
    let first = used().await;
    gateway.exchange(&account.session_token).await.expect("token");
    assert_eq!(used().await, first, "within the minute");
    age(&cluster, time::Duration::days(1), time::Duration::minutes(2)).await;
    gateway.exchange(&account.session_token).await.expect("token");
    assert!(used().await >= first, "recorded");
}

#[tokio::test]
async fn old_rows_are_deleted() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let (one, two) = (signed_up(&gateway).await, gateway.sign_in("ada@example.org", PASSWORD).await.expect("session"));
    gateway.sign_out(&two.session_token).await.expect("signed out");
    let pool = &cluster.database.pool;
    let delete_after = |days| auth::testing::delete_old_rows(pool, now() + time::Duration::days(days));
    assert_eq!(delete_after(0).await.expect("deleted"), 0);
    assert_eq!(delete_after(2).await.expect("deleted"), 1, "the revocation");
    gateway.exchange(&one.session_token).await.expect("the session stays");
    assert_eq!(auth::testing::end_expired(pool, now() + time::Duration::days(29)).await.expect("ended"), 0);
    assert_eq!(auth::testing::end_expired(pool, now() + time::Duration::days(31)).await.expect("ended"), 1, "the session");
    let ended: i64 = sqlx::query_scalar("select count(*) from revocations").fetch_one(pool).await.expect("count");
    assert_eq!(ended, 1, "gateways learn that it has ended");
    assert_eq!(delete_after(40).await.expect("deleted"), 1, "that revocation");
    assert_eq!(delete_after(181).await.expect("deleted"), 1, "the address");
    gateway.sign_in("ada@example.org", PASSWORD).await.expect("the account stays");
}
