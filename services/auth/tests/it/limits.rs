//! The policies of sign-ins as they ship: in 15 minutes 5 per address, and from new addresses 45 per account and 3 of one address.

use proto::error::{ErrorCode, Fault};
use rate_limit::policy::Policies;

use crate::harness::{Cluster, PASSWORD, Replica, Settings};

fn assert_refused(fault: &Fault) {
    assert_refused_by(fault, "auth", 5);
}

fn assert_refused_by(fault: &Fault, policy: &str, limit: usize) {
    assert_eq!((fault.code, fault.reason.as_str(), fault.domain.as_str()), (ErrorCode::RateLimited, "RATE_LIMITED", "auth.backlot.dev"));
    assert_eq!((fault.quota[0].policy.as_str(), fault.quota[0].description.as_str()), (policy, format!("{limit} per 900 s").as_str()));
    assert!(fault.retry_after.is_some());
    for (key, value) in [("policy", policy), ("limit", &limit.to_string()), ("remaining", "0"), ("window", "900")] {
        assert_eq!(fault.metadata.get(key).map(String::as_str), Some(value), "{key}");
    }
}

/// Guesses the password of an account from an address until it is refused; answers how many guesses there were, and the refusal.
async fn guesses(replica: &Replica, address: &str, email: &str) -> (usize, Box<Fault>) {
    let gateway = replica.gateway_for(address);
    for at in 0..10 {
        let fault = gateway.sign_in(email, "a guess").await.expect_err("wrong");
        if fault.reason != "BAD_CREDENTIALS" {
            return (at, fault);
        }
    }
    panic!("ten guesses");
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
        let email = format!("ada{host}@example.org");
        let fault = replica.gateway_for(&format!("2001:db8:1:2::{host}")).sign_in(&email, PASSWORD).await.expect_err("no account");
        assert_eq!(fault.reason, "BAD_CREDENTIALS");
    }
    assert_refused(&replica.gateway_for("2001:db8:1:2:ffff::").sign_in("eve@example.org", PASSWORD).await.expect_err("same network"));
    let fault = replica.gateway_for("2001:db8:1:3::1").sign_in("eve@example.org", PASSWORD).await.expect_err("no account");
    assert_eq!(fault.reason, "BAD_CREDENTIALS", "another network");
}

#[tokio::test]
async fn a_few_strangers_keep_no_owner_out() {
    let cluster = Cluster::limited(Policies::shipped()).await;
    let replica = cluster.auth().await;
    replica.gateway_for("198.51.100.7").sign_up("ada@example.org", PASSWORD).await.expect("account");
    for email in ["ada@example.org", "nobody@example.org"] {
        for host in 1..=10 {
            let (count, refusal) = guesses(&replica, &format!("203.0.113.{host}"), email).await;
            // The second account is tried from the same addresses, which have five attempts in all.
            let (most, policy, limit) = if email.starts_with("ada") { (3, "auth-guess", 3) } else { (2, "auth", 5) };
            assert_eq!(count, most);
            assert_refused_by(&refusal, policy, limit);
        }
    }
    replica.gateway_for("192.0.2.1").sign_in("ada@example.org", PASSWORD).await.expect("the owner, from a new address");
}

#[tokio::test]
async fn a_large_network_has_a_part_of_an_account() {
    let cluster = Cluster::limited(Policies::shipped()).await;
    let replica = cluster.auth().await;
    replica.gateway_for("198.51.100.7").sign_up("ada@example.org", PASSWORD).await.expect("account");
    let mut all = 0;
    for subnet in 0..10 {
        all += guesses(&replica, &format!("2001:db8:1:{subnet}00::1"), "ada@example.org").await.0;
    }
    assert_eq!(all, 12, "four times what one /64 has");
    replica.gateway_for("2001:db8:2::1").sign_in("ada@example.org", PASSWORD).await.expect("the owner, from a new network");
}

#[tokio::test]
async fn guesses_from_everywhere_end_at_the_account_and_not_its_owner() {
    let cluster = Cluster::limited(Policies::shipped()).await;
    let replica = cluster.auth().await;
    let home = replica.gateway_for("198.51.100.7");
    home.sign_up("ada@example.org", PASSWORD).await.expect("account");
    for (at, email) in ["ada@example.org", "nobody@example.org"].into_iter().enumerate() {
        for host in 1..=15 {
            assert_eq!(guesses(&replica, &format!("203.0.{at}.{host}"), email).await.0, 3);
        }
        let elsewhere = format!("192.0.2.{}", email.len());
        let refusal = replica.gateway_for(&elsewhere).sign_in(email, PASSWORD).await.expect_err("known or not");
        assert_refused_by(&refusal, "auth-account", 45);
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
