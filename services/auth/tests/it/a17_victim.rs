//! Row A17 of the reliability reference with the shipped policies: many networks attack one account. Its owner gets in from an address that the
//! account knows, from a new one with a solved challenge, and from a new one by a reset.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{StreamExt as _, stream};
use proto::error::ErrorCode;
use rate_limit::Policies;

use crate::{
    a17::{HOME, VICTIM, challenge, flag, policy, sign_in_with, solve},
    harness::{Client, Cluster, PASSWORD, Settings},
    mailbox::Mailbox,
};

const NEW_PASSWORD: &str = "another horse battery staple";
const WITH_CHALLENGES: (&str, &str) = ("BACKLOT_SIGN_IN_CHALLENGE", "under-attack");
const NETWORKS: usize = 200;
/// One more than the shipped policies allow for a network.
const TRIES: usize = 6;
/// Networks at a time.
const CONCURRENT: usize = 16;
/// The networks that also ask for resets.
const RESETTERS: usize = 5;

/// Guesses the password of the victim from each network. Returns how many guesses were checked; all others were refused.
async fn attack(gateway: &Client) -> usize {
    let checked = AtomicUsize::new(0);
    stream::iter(0..NETWORKS)
        .for_each_concurrent(CONCURRENT, async |number| {
            let client = gateway.at(&format!("203.0.113.{number}"));
            for at in 0..TRIES {
                let fault = client.sign_in(VICTIM, &format!("guess {number}-{at}")).await.expect_err("a guess");
                if fault.reason == "BAD_CREDENTIALS" {
                    checked.fetch_add(1, Ordering::Relaxed);
                } else {
                    assert_eq!(fault.code, ErrorCode::RateLimited, "{fault:?}");
                }
            }
        })
        .await;
    checked.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a17_guesses_from_two_hundred_networks_do_not_lock_the_victim_out() {
    let (cluster, mailbox) = (Cluster::with_policies(Policies::shipped()).await, Mailbox::new());
    let replica = mailbox.auth(&cluster, &[WITH_CHALLENGES]).await;
    let home = replica.gateway_for(HOME);
    home.sign_up(VICTIM, PASSWORD).await.expect("account");
    for number in 0..RESETTERS {
        replica.gateway_for(&format!("198.51.100.{}", 100 + number)).request_reset(VICTIM).await.expect("accepted");
    }
    assert_eq!(mailbox.settled(&cluster).await.len(), 3, "all mails that the count allows");
    assert_eq!(attack(&home).await, 45, "the limit of the account");

    home.sign_in(VICTIM, PASSWORD).await.expect("from an address that the account knows");

    let abroad = replica.gateway_for("192.0.2.50");
    let given = challenge(&abroad.sign_in(VICTIM, PASSWORD).await.expect_err("the limit of the account is used up"));
    sign_in_with(&abroad, PASSWORD, &solve(&given)).await.expect("from a new address with a solved challenge");

    let elsewhere = replica.gateway_for("192.0.2.60");
    challenge(&elsewhere.sign_in(VICTIM, PASSWORD).await.expect_err("a new address"));
    // The links of the attackers' resets have expired.
    let age = "with m as (update mail_queue set sent_at = sent_at - interval '31 minutes')
               update email_tokens set expires_at = expires_at - interval '31 minutes'";
    sqlx::query(age).execute(&cluster.database.pool).await.expect("aged");
    mailbox.reset(&cluster, &elsewhere, (VICTIM, NEW_PASSWORD)).await;
    elsewhere.sign_in(VICTIM, NEW_PASSWORD).await.expect("from the address of the reset");
}

/// The account may be one that does not exist: the limits are the same.
#[tokio::test]
async fn a17_sign_ins_with_solved_challenges_have_a_limit_of_their_own() {
    let few = "policies: [{name: auth-account, limit: 1, window: 15m}, {name: auth-challenge, limit: 1, window: 15m}]";
    let cluster = Cluster::with_policies(Policies::shipped().with(few).expect("policies")).await;
    let replica = cluster.auth_with(Settings(&[WITH_CHALLENGES])).await;
    let client = replica.gateway_for("203.0.113.1");
    assert_eq!(client.sign_in(VICTIM, "a guess").await.expect_err("wrong").reason, "BAD_CREDENTIALS");
    let given = challenge(&client.sign_in(VICTIM, "a guess").await.expect_err("the limit of the account"));
    let solved = sign_in_with(&client, "a guess", &solve(&given)).await.expect_err("wrong");
    assert_eq!(solved.reason, "BAD_CREDENTIALS");
    let given = challenge(&client.sign_in(VICTIM, "a guess").await.expect_err("the limit of the account"));
    let refused = sign_in_with(&client, "a guess", &solve(&given)).await.expect_err("the limit of challenges");
    assert_eq!((refused.reason.as_str(), policy(&refused)), ("RATE_LIMITED", "auth-challenge"));
}

/// Somebody else in the network of a person tries a list of passwords.
#[tokio::test]
async fn a17_a_reset_admits_a_person_in_a_flagged_network() {
    let policies = Policies::shipped().with("policies: [{name: auth, limit: 100, window: 15m}]").expect("policies");
    let (cluster, mailbox) = (Cluster::with_policies(policies).await, Mailbox::new());
    let replica = mailbox.auth(&cluster, &[]).await;
    replica.gateway_for(HOME).sign_up(VICTIM, PASSWORD).await.expect("account");
    let flagged = replica.gateway_for("203.0.113.1");
    flag(&flagged).await;
    let refused = flagged.sign_in(VICTIM, PASSWORD).await.expect_err("flagged");
    assert_eq!((refused.code, policy(&refused)), (ErrorCode::RateLimited, "auth-stuffing"));
    mailbox.reset(&cluster, &flagged, (VICTIM, NEW_PASSWORD)).await;
    flagged.sign_in(VICTIM, NEW_PASSWORD).await.expect("the account knows the address");
}
