//! The shipped policies of sign-ins. In 15 minutes: 5 per address, 5 per account and address, and from new addresses 45 per account.

use proto::error::{ErrorCode, Fault};
use rate_limit::Policies;

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

/// Guesses the password of an account from an address until a limit refuses. Returns the number of guesses and the refusal.
async fn guess_until_refused(replica: &Replica, address: &str, email: &str) -> (usize, Box<Fault>) {
    let gateway = replica.gateway_for(address);
    for count in 0..10 {
        let fault = gateway.sign_in(email, "a guess").await.expect_err("wrong");
        if fault.reason != "BAD_CREDENTIALS" {
            return (count, fault);
        }
    }
    panic!("ten guesses were not refused");
}

#[tokio::test]
async fn an_address_has_five_attempts_of_any_kind() {
    let cluster = Cluster::with_policies(Policies::shipped()).await;
    let replica = cluster.auth().await;
    let gateway = replica.gateway_for("198.51.100.7");
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("1");
    gateway.sign_up("ada@example.org", PASSWORD).await.expect_err("2: taken");
    let last = gateway.sign_in("ada@example.org", PASSWORD).await.expect("3");
    gateway.sign_in("ada@example.org", "not the password").await.expect_err("4");
    gateway.sign_up("ada@example.org", PASSWORD).await.expect_err("5: taken");
    assert_refused(&gateway.sign_in("ada@example.org", PASSWORD).await.expect_err("6"));
    assert_refused(&gateway.sign_up("eve@example.org", PASSWORD).await.expect_err("6"));

    gateway.exchange(&last.session_token).await.expect("an existing session is not limited");
    gateway.sign_out(&last.session_token).await.expect("a sign-out is not limited");
    replica.gateway_for("198.51.100.8").sign_in("ada@example.org", PASSWORD).await.expect("another address");
}

#[tokio::test]
async fn an_invalid_request_does_not_count() {
    let cluster = Cluster::with_policies(Policies::shipped()).await;
    let gateway = cluster.auth().await.gateway();
    for _ in 0..6 {
        assert_eq!(gateway.sign_up("no address", "short").await.expect_err("invalid").reason, "INVALID_FIELD");
        assert_eq!(gateway.sign_in("", "").await.expect_err("invalid").reason, "INVALID_FIELD");
    }
    gateway.sign_up("ada@example.org", PASSWORD).await.expect("the first attempt");
}

#[tokio::test]
async fn an_ipv6_network_counts_as_one_address() {
    let cluster = Cluster::with_policies(Policies::shipped()).await;
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
async fn guesses_from_a_few_addresses_do_not_lock_the_owner_out() {
    let cluster = Cluster::with_policies(Policies::shipped()).await;
    let replica = cluster.auth().await;
    replica.gateway_for("198.51.100.7").sign_up("ada@example.org", PASSWORD).await.expect("account");
    for email in ["ada@example.org", "nobody@example.org"] {
        for host in 1..=8 {
            let (count, refusal) = guess_until_refused(&replica, &format!("203.0.113.{host}"), email).await;
            // The second account is tried from the same addresses, each of which has five attempts in total.
            let (expected, policy) = if email.starts_with("ada") { (5, "auth-guess") } else { (0, "auth") };
            assert_eq!(count, expected);
            assert_refused_by(&refusal, policy, 5);
        }
    }
    replica.gateway_for("192.0.2.1").sign_in("ada@example.org", PASSWORD).await.expect("the owner, from a new address");
}

#[tokio::test]
async fn a_person_who_mistypes_at_home_has_five_attempts() {
    let cluster = Cluster::with_policies(Policies::shipped()).await;
    let home = cluster.auth().await.gateway_for("198.51.100.7");
    home.sign_up("ada@example.org", PASSWORD).await.expect("1");
    for _ in 2..=4 {
        assert_eq!(home.sign_in("ada@example.org", "a typo").await.expect_err("wrong").reason, "BAD_CREDENTIALS");
    }
    home.sign_in("ada@example.org", PASSWORD).await.expect("5");
}

/// Somebody who shares the address of a person guesses addresses.
#[tokio::test]
async fn an_address_that_an_account_knows_has_the_limits_of_one_without_an_account() {
    // The sign-ups count for `auth`, too.
    let policies = || Policies::shipped().with("policies: [{name: auth, limit: 10, window: 15m}]").expect("policies");
    let cluster = Cluster::with_policies(policies()).await;
    let replica = cluster.auth().await;
    for (address, email) in [("198.51.100.7", "ada@example.org"), ("2001:db8:1:2::9", "eve@example.org")] {
        replica.gateway_for(address).sign_up(email, PASSWORD).await.expect("account");
    }
    for (address, email) in [
        ("198.51.100.7", "ada@example.org"),
        ("2001:db8:1:2::8", "eve@example.org"),
        ("198.51.100.8", "ada@example.org"),
        ("198.51.100.9", "nobody@example.org"),
    ] {
        let (count, refusal) = guess_until_refused(&replica, address, email).await;
        assert_eq!(count, 5, "{email} from {address}");
        assert_refused_by(&refusal, "auth-guess", 5);
    }
    // Guesses from elsewhere in the network of a person do not count for the address that the account knows.
    let neighbour = Cluster::with_policies(policies()).await;
    let replica = neighbour.auth().await;
    let home = replica.gateway_for("2001:db8:1:2::9");
    home.sign_up("eve@example.org", PASSWORD).await.expect("account");
    for subnet in ["300", "400", "500", "600"] {
        guess_until_refused(&replica, &format!("2001:db8:1:{subnet}::1"), "eve@example.org").await;
    }
    home.sign_in("eve@example.org", PASSWORD).await.expect("the owner");
}

#[tokio::test]
async fn a_large_network_can_use_only_a_part_of_the_limit_of_an_account() {
    let cluster = Cluster::with_policies(Policies::shipped()).await;
    let replica = cluster.auth().await;
    replica.gateway_for("198.51.100.7").sign_up("ada@example.org", PASSWORD).await.expect("account");
    let mut total = 0;
    for subnet in 0..10 {
        total += guess_until_refused(&replica, &format!("2001:db8:1:{subnet}00::1"), "ada@example.org").await.0;
    }
    assert_eq!(total, 20, "four times the limit of one /64");
    replica.gateway_for("2001:db8:2::1").sign_in("ada@example.org", PASSWORD).await.expect("the owner, from a new network");
}

#[tokio::test]
async fn the_limit_of_an_account_stops_guesses_but_not_its_owner() {
    let cluster = Cluster::with_policies(Policies::shipped()).await;
    let replica = cluster.auth().await;
    let home = replica.gateway_for("198.51.100.7");
    home.sign_up("ada@example.org", PASSWORD).await.expect("account");
    for (index, email) in ["ada@example.org", "nobody@example.org"].into_iter().enumerate() {
        for host in 1..=9 {
            assert_eq!(guess_until_refused(&replica, &format!("203.0.{index}.{host}"), email).await.0, 5);
        }
        let elsewhere = format!("192.0.2.{}", email.len());
        let refusal =
            replica.gateway_for(&elsewhere).sign_in(email, PASSWORD).await.expect_err("refused whether the account exists or not");
        assert_refused_by(&refusal, "auth-account", 45);
    }
    home.sign_in("ada@example.org", "a typo").await.expect_err("wrong");
    home.sign_in("ADA@example.org", PASSWORD).await.expect("an address of an earlier sign-in");
}

#[tokio::test]
async fn sign_ins_are_refused_while_rate_limit_is_down() {
    let cluster = Cluster::start().await;
    let isolated = cluster.auth_with(Settings(&[("BACKLOT_RATE_LIMIT_URL", "http://127.0.0.1:1")])).await;
    let fault = isolated.gateway().sign_in("ada@example.org", PASSWORD).await.expect_err("refused");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unavailable, "UNAVAILABLE"));
}
