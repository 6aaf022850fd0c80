use proto::{auth::SignOutRequest, error::ErrorCode};

use crate::harness::{Cluster, PASSWORD, answer, with_token};

#[tokio::test]
async fn an_ended_session_is_refused_and_can_be_ended_again() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let account = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let other = gateway.sign_in("ada@example.org", PASSWORD).await.expect("session");
    let access = gateway.exchange(&account.session_token).await.expect("token");

    gateway.sign_out(&account.session_token).await.expect("signed out");
    assert_eq!(gateway.exchange(&account.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    let fault = gateway.session(&access.access_token).await.expect_err("ended");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "SESSION_ENDED"));
    gateway.sign_out(&account.session_token).await.expect("again");
    gateway.sign_out("never was one").await.expect("like an ended session");
    gateway.exchange(&other.session_token).await.expect("the other session is still valid");

    let log: i64 = sqlx::query_scalar("select count(*) from revocations").fetch_one(&cluster.database.pool).await.expect("count");
    assert_eq!(log, 1);
}

#[tokio::test]
async fn an_access_token_ends_its_session() {
    let cluster = Cluster::start().await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway();
    let account = gateway.sign_up("ada@example.org", PASSWORD).await.expect("account");
    let access = gateway.exchange(&account.session_token).await.expect("token").access_token;
    let request = || with_token(tonic::Request::new(SignOutRequest::default()), &access);
    answer(replica.direct().sign_out(request()).await).expect("signed out");
    assert_eq!(gateway.exchange(&account.session_token).await.expect_err("ended").reason, "SESSION_ENDED");
    answer(replica.direct().sign_out(request()).await).expect("again");
}

#[tokio::test]
async fn a_sign_out_needs_a_session_token_or_an_access_token() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let fault = gateway.sign_out("").await.expect_err("no session");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "TOKEN_MISSING"));
    let fault = gateway.sign_out(&"x".repeat(257)).await.expect_err("long");
    assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "session_token"));
}
