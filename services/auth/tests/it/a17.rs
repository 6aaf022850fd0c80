//! Row A17 of the reliability reference: a list of stolen passwords is tried from many networks, also with changing IPv6 addresses. Each
//! network is refused soon, and nobody else is.

use std::sync::atomic::{AtomicUsize, Ordering};

use chassis::identity::sha256;
use futures::{StreamExt as _, future::join_all, stream};
use proto::{
    auth::{SignInRequest, SignInResponse},
    error::{ErrorCode, Fault},
};
use rate_limit::Policies;

use crate::harness::{Client, Cluster, PASSWORD, Settings, answer};

pub(crate) const HOME: &str = "198.51.100.7";
pub(crate) const VICTIM: &str = "ada@example.org";
/// Networks, and the tries of each one: 20,000 calls of auth.
const NETWORKS: usize = 200;
const TRIES: usize = 100;
/// Networks at a time.
const CONCURRENT: usize = 16;

/// The shipped policies, without the limit of all sign-ins of an address, which would need hours here.
async fn cluster() -> Cluster {
    with("policies: [{name: auth, limit: 100000, window: 15m, algorithm: gcra}]").await
}

async fn with(policies: &str) -> Cluster {
    Cluster::with_policies(Policies::shipped().with(policies).expect("policies")).await
}

/// How an attacker uses a network, and how many wrong pairs the detector allows for it.
#[derive(Debug, Clone, Copy)]
enum Source {
    V4,
    /// Every address of a /64.
    V6,
    /// Every /64 of a /56.
    V6Wide,
    /// Every /56 of a /48.
    V6Site,
}

impl Source {
    fn of(number: usize) -> Self {
        match number % 10 {
            0..=5 => Self::V4,
            6 | 7 => Self::V6,
            8 => Self::V6Wide,
            _ => Self::V6Site,
        }
    }

    fn allowed(self) -> usize {
        match self {
            Self::V4 | Self::V6 => 25,
            Self::V6Wide => 50,
            Self::V6Site => 100,
        }
    }

    /// The address of a try.
    fn address(self, number: usize, at: usize) -> String {
        match self {
            Self::V4 => format!("203.0.{}.{}", number / 250, number % 250),
            Self::V6 => format!("2001:db8:{number:x}::{at:x}"),
            Self::V6Wide => format!("2001:db8:{number:x}:{at:x}::1"),
            Self::V6Site => format!("2001:db8:{number:x}:{at:x}00::1"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a17_a_list_of_passwords_is_noticed_and_its_victims_get_in() {
    // The owner signs in often; each pair of the list is tried once.
    let cluster = with(
        "policies: [{name: auth, limit: 100000, window: 15m, algorithm: gcra}, {name: auth-guess, limit: 100000, window: 15m, algorithm: gcra}, \
         {name: auth-account, limit: 100000, window: 15m, algorithm: gcra}]",
    )
    .await;
    let replica = cluster.auth().await;
    let home = replica.gateway_for(HOME);
    home.sign_up(VICTIM, PASSWORD).await.expect("account");
    let tried = AtomicUsize::new(0);
    stream::iter(0..NETWORKS)
        .for_each_concurrent(CONCURRENT, async |number| {
            let source = Source::of(number);
            let wrong = attack(&home, source, number, &tried).await;
            assert_eq!(wrong, source.allowed(), "{source:?} {number}");
            home.sign_in(VICTIM, PASSWORD).await.expect("the owner gets in from an address of an earlier sign-in");
        })
        .await;
    assert_eq!(tried.load(Ordering::Relaxed), NETWORKS * TRIES);
    replica.gateway_for("192.0.2.99").sign_up("eve@example.org", PASSWORD).await.expect("others are not affected");
}

/// Tries a list from one network. Returns how many of its pairs were checked; all later ones are refused.
async fn attack(gateway: &Client, source: Source, number: usize, tried: &AtomicUsize) -> usize {
    let (mut wrong, mut is_flagged) = (0, false);
    for at in 0..TRIES {
        tried.fetch_add(1, Ordering::Relaxed);
        let client = gateway.at(&source.address(number, at));
        let fault = client.sign_in(&format!("person{number}-{at}@example.org"), "stolen").await.expect_err("refused");
        if fault.reason == "BAD_CREDENTIALS" {
            assert!(!is_flagged, "{source:?} {number}: checked after the network was flagged");
            wrong += 1;
        } else {
            is_flagged = true;
            assert_eq!((fault.code, policy(&fault)), (ErrorCode::RateLimited, "auth-stuffing"), "{fault:?}");
            assert!(fault.retry_after.is_some());
        }
    }
    wrong
}

pub(crate) fn policy(fault: &Fault) -> &str {
    fault.metadata.get("policy").map_or("", String::as_str)
}

/// Each try is admitted by what was counted before, and is counted when its password was hashed.
#[tokio::test(flavor = "multi_thread")]
async fn a17_tries_at_the_same_moment_are_bounded_by_the_threads_of_a_network() {
    let cluster = cluster().await;
    // An address may use a third of the threads.
    for (threads, of_network) in [("2", 1), ("12", 3)] {
        let replica = cluster.auth_with(Settings(&[("BACKLOT_HASH_THREADS", threads)])).await;
        let source = replica.gateway_for(&format!("203.0.113.{of_network}"));
        let pairs: Vec<_> = (0..TRIES).map(|at| format!("person{at}@example.org")).collect();
        let tries = pairs.iter().map(|email| source.sign_in(email, "stolen"));
        let faults = join_all(tries).await.into_iter().map(|answer| answer.expect_err("wrong"));
        let (checked, refused): (Vec<_>, Vec<_>) = faults.partition(|fault| fault.reason == "BAD_CREDENTIALS");
        let allowed = Source::V4.allowed();
        assert!((allowed..allowed + of_network).contains(&checked.len()), "{} with {threads} threads", checked.len());
        assert!(refused.iter().all(|fault| policy(fault) == "auth-stuffing"), "{refused:?}");
    }
}

#[tokio::test]
async fn a17_a_pair_that_is_tried_again_counts_once() {
    let cluster = cluster().await;
    let replica = cluster.auth().await;
    // A program that has an old password.
    let program = replica.gateway_for("203.0.113.1");
    let mut reasons = Vec::new();
    for _ in 0..50 {
        let fault = program.sign_in(VICTIM, "an old password").await.expect_err("wrong");
        reasons.push(if fault.reason == "BAD_CREDENTIALS" { fault.reason } else { policy(&fault).to_owned() });
    }
    assert_eq!(reasons[..5], ["BAD_CREDENTIALS"; 5]);
    assert!(reasons[5..].iter().all(|reason| reason == "auth-guess"), "{reasons:?}");
    for at in 0..24 {
        let fault = program.sign_in(&format!("person{at}@example.org"), "stolen").await.expect_err("wrong");
        assert_eq!(fault.reason, "BAD_CREDENTIALS", "{at}");
    }
    let fault = program.sign_in("one@example.org", "more").await.expect_err("the 26th pair");
    assert_eq!(policy(&fault), "auth-stuffing");
}

/// Flags the network of a client.
pub(crate) async fn flag(client: &Client) {
    for at in 0..25 {
        let fault = client.sign_in(&format!("person{at}@example.org"), "stolen").await.expect_err("wrong");
        assert_eq!(fault.reason, "BAD_CREDENTIALS");
    }
}

/// The challenge of a refusal.
pub(crate) fn challenge(fault: &Fault) -> (String, u32) {
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::RateLimited, "CHALLENGE_REQUIRED"), "{fault:?}");
    assert!(fault.retry_after.is_some(), "a client that solves nothing can wait");
    (fault.metadata["challenge"].clone(), fault.metadata["bits"].parse().expect("a number"))
}

/// The solution, as the contract describes it.
pub(crate) fn solve((challenge, bits): &(String, u32)) -> String {
    let leading = |text: &str| u32::from_be_bytes(sha256(text.as_bytes())[..4].try_into().expect("four bytes")).leading_zeros();
    let mut solutions = (0_u64..).map(|number| format!("{challenge}.{number}"));
    solutions.find(|solution| leading(solution) >= *bits).expect("a solution")
}

pub(crate) async fn sign_in_with(client: &Client, password: &str, solution: &str) -> Result<SignInResponse, Box<Fault>> {
    let message =
        SignInRequest { email: VICTIM.into(), password: password.into(), challenge_solution: solution.into(), ..Default::default() };
    answer(client.client.clone().sign_in(client.request(message)).await)
}

#[tokio::test]
async fn a17_a_flagged_network_may_solve_a_challenge_for_each_sign_in() {
    let cluster = cluster().await;
    let replica = cluster.auth_with(Settings(&[("BACKLOT_SIGN_IN_CHALLENGE", "under-attack")])).await;
    replica.gateway_for(HOME).sign_up(VICTIM, PASSWORD).await.expect("account");
    let (flagged, other) = (replica.gateway_for("203.0.113.1"), replica.gateway_for("203.0.113.2"));
    flag(&flagged).await;
    flag(&other).await;

    let given = challenge(&flagged.sign_in(VICTIM, PASSWORD).await.expect_err("flagged"));
    challenge(&sign_in_with(&flagged, PASSWORD, &given.0).await.expect_err("not solved"));
    challenge(&sign_in_with(&flagged, PASSWORD, &format!("{}.1.2", given.0)).await.expect_err("not a solution"));
    let solution = solve(&given);
    challenge(&sign_in_with(&other, PASSWORD, &solution).await.expect_err("of another network"));
    let wrong = sign_in_with(&flagged, "a guess", &solution).await.expect_err("wrong");
    assert_eq!(wrong.reason, "BAD_CREDENTIALS");
    let again = challenge(&sign_in_with(&flagged, PASSWORD, &solution).await.expect_err("used before"));
    sign_in_with(&flagged, PASSWORD, &solve(&again)).await.expect("solved");
    flagged.sign_in(VICTIM, PASSWORD).await.expect("the account knows the address now");
}

#[tokio::test]
async fn a_solution_has_a_limit() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let fault = sign_in_with(&gateway, PASSWORD, &"1".repeat(257)).await.expect_err("too long");
    assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "challenge_solution"));
    assert_eq!(sign_in_with(&gateway, PASSWORD, &"1".repeat(256)).await.expect_err("no account").reason, "BAD_CREDENTIALS");
}
