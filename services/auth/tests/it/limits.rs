//! The policy `auth` as it ships: 5 per 15 minutes.

use proto::error::{ErrorCode, Fault};
use rate_limit::policy::Policies;

use crate::harness::{Cluster, PASSWORD, Settings};

fn assert_refused(fault: &Fault) {
    assert_eq!((fault.code, fault.reason.as_str(), fault.domain.as_str()), (ErrorCode::RateLimited, "RATE_LIMITED", "auth.backlot.dev"));
    assert_eq!((fault.quota[0].policy.as_str(), fault.quota[0].description.as_str()), ("auth", "5 per 900 s"));
    assert!(fault.retry_after.is_some());
    for (key, value) in [("policy", "auth"), ("limit", "5"), ("remaining", "0"), ("window", "900")] {
        assert_eq!(fault.metadata.get(key).map(String::as_str), Some(value), "{key}");
    }
}

#[tokio::test]
async fn an_address_has_five_attempts_whatever_they_are() {
    let cluster = Cluster::limited(Policies::shipped()).await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway_for("198.51.100.7");
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("1");
    gateway.sign_up("ada@example.org", PASSWORD).await.expect_err("2: taken");
    gateway.sign_in("ada@example.org", PASSWORD).await.expect("3");
    gateway.sign_in("ada@example.org", "not the password").await.expect_err("4");
    let last = gateway.sign_in("ada@example.org", PASSWORD).await.expect("5");
    assert_refused(&gateway.sign_in("ada@example.org", PASSWORD).await.expect_err("6"));
    assert_refused(&gateway.sign_up("eve@example.org", PASSWORD).await.expect_err("6"));

    gateway.exchange(&last.session_token).await.expect("what is signed in goes on");
    gateway.sign_out(&last.session_token).await.expect("and may leave");
    replica.gateway_for("198.51.100.8").sign_in("ada@example.org", PASSWORD).await.expect("another address");
}

#[tokio::test]
async fn what_is_no_attempt_costs_nothing() {
    let cluster = Cluster::limited(Policies::shipped()).await;
    let gateway = cluster.auth().await.gateway();
    for _ in 0..6 {
        assert_eq!(gateway.sign_up("no address", "short").await.expect_err("invalid").reason, "INVALID_FIELD");
        assert_eq!(gateway.sign_in("", "").await.expect_err("invalid").reason, "INVALID_FIELD");
    }
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("the first attempt");
}

#[tokio::test]
async fn an_ipv6_network_is_one_client() {
    let cluster = Cluster::limited(Policies::shipped()).await;
    let replica = cluster.auth().await;
    for host in 1..=5 {
        let fault =
            replica.gateway_for(&format!("2001:db8:1:2::{host}")).sign_in("ada@example.org", PASSWORD).await.expect_err("no account");
        // Five guesses are also what the account has; the next address names another one.
        assert_eq!(fault.reason, "BAD_CREDENTIALS");
    }
    assert_refused(&replica.gateway_for("2001:db8:1:2:ffff::").sign_in("eve@example.org", PASSWORD).await.expect_err("same network"));
    let fault = replica.gateway_for("2001:db8:1:3::1").sign_in("eve@example.org", PASSWORD).await.expect_err("no account");
    assert_eq!(fault.reason, "BAD_CREDENTIALS", "another network");
}

#[tokio::test]
async fn guesses_from_everywhere_end_at_the_account_and_not_its_owner() {
    let cluster = Cluster::limited(Policies::shipped()).await;
    let replica = cluster.auth().await;
    let home = replica.gateway_for("198.51.100.7");
    home.sign_up("ada@example.org", PASSWORD).await.expect("account");
    for email in ["ada@example.org", "nobody@example.org"] {
        for host in 1..=5 {
            let fault = replica.gateway_for(&format!("203.0.113.{host}")).sign_in(email, "a guess").await.expect_err("wrong");
            // Both accounts are tried from the same five addresses, twice each.
            assert_eq!(fault.reason, "BAD_CREDENTIALS");
        }
        let elsewhere = format!("192.0.2.{}", email.len());
        assert_refused(&replica.gateway_for(&elsewhere).sign_in(email, PASSWORD).await.expect_err("the sixth, known or not"));
    }
    home.sign_in("ada@example.org", "a typo").await.expect_err("wrong");
    home.sign_in("ADA@example.org", PASSWORD).await.expect("from where the owner signed in before");
}

#[tokio::test]
async fn without_rate_limit_nobody_gets_a_guess() {
    let cluster = Cluster::start().await;
    let cut = cluster.auth_with(Settings(&[("BACKLOT_RATE_LIMIT_URL", "http://127.0.0.1:1")])).await;
    let fault = cut.gateway().sign_in("ada@example.org", PASSWORD).await.expect_err("unchecked");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unavailable, "UNAVAILABLE"));
}
