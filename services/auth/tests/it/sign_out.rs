use proto::{auth::SignOutRequest, error::ErrorCode};

use crate::harness::{Cluster, PASSWORD, answer, bearing};

#[tokio::test]
async fn a_session_that_was_ended_opens_nothing_and_ends_again() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let made = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let other = gateway.sign_in("ada@example.org", PASSWORD).await.expect("session");
    let access = gateway.exchange(&made.session_token).await.expect("token");

    gateway.sign_out(&made.session_token).await.expect("signed out");
    assert_eq!(gateway.exchange(&made.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    let fault = gateway.session(&access.access_token).await.expect_err("ended");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "SESSION_ENDED"));
    gateway.sign_out(&made.session_token).await.expect("again");
    gateway.sign_out("never was one").await.expect("as if it had ended");
    gateway.exchange(&other.session_token).await.expect("the other session lives");

    let log: i64 = sqlx::query_scalar("select count(*) from revocations").fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!(log, 1);
}

#[tokio::test]
async fn an_access_token_ends_the_session_that_it_was_made_from() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    let made = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let access = gateway.exchange(&made.session_token).await.expect("token").access_token;
    let out = || bearing(tonic::Request::new(SignOutRequest::default()), &access);
    answer(replica.direct().sign_out(out()).await).expect("signed out");
    assert_eq!(gateway.exchange(&made.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    answer(replica.direct().sign_out(out()).await).expect("again");
}

#[tokio::test]
async fn somebody_must_be_named() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let fault = gateway.sign_out("").await.expect_err("nobody");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "TOKEN_MISSING"));
    let fault = gateway.sign_out(&"x".repeat(257)).await.expect_err("long");
    assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "session_token"));
}
