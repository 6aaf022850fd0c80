//! Redis goes away, for good or for a while, and comes back: answers keep coming, quickly, and say what they are worth.

use std::time::{Duration, Instant};

use chassis::{
    config::Secret,
    identity::Caller,
    testing::{eventually, redis},
};
use fred::{interfaces::ClientLike, types::CustomCommand};
use proto::rate_limit::CheckResponse;

use crate::harness::{Client, ask, check, cost, start_with_timeout};

/// Far above what an answer takes without Redis, far below what a caller waits.
const QUICK: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(20);

async fn timed(client: &mut Client, subject: &str) -> (CheckResponse, Duration) {
    let began = Instant::now();
    let answer = check(client, vec![ask("agent", subject)]).await.expect("an answer");
    (answer, began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_degrades_the_limits_until_it_is_back() {
    let mut server = redis().await;
    let running = start_with_timeout(&[("REDIS_URL", &server.url)], "100ms").await;
    let mut client = running.client(Caller::AgentStreaming);
    assert!(check(&mut client, vec![cost("agent", "ann", 3)]).await.expect("an answer").allowed);

    server.kill().await;
    let mut waits = Vec::new();
    for i in 0..20 {
        let (answer, took) = timed(&mut client, &format!("user {i}")).await;
        assert!(answer.allowed && answer.degraded);
        waits.push(took);
    }
    waits.sort();
    assert!(waits[waits.len() / 2] < QUICK, "{waits:?}");
    // The full limit per replica, and not more.
    let allowed = async |client: &mut Client| {
        let mut allowed = 0;
        for _ in 0..10 {
            allowed += u32::from(check(client, vec![ask("agent", "ann")]).await.expect("an answer").allowed);
        }
        allowed
    };
    assert_eq!(allowed(&mut client).await, 3);

    server.restart().await;
    let back = eventually(PATIENCE, || {
        let mut client = client.clone();
        async move { Some(check(&mut client, vec![ask("save", "ann")]).await.expect("an answer")).filter(|a| !a.degraded) }
    });
    assert_eq!(back.await.decisions[0].remaining, 29, "Redis counts again");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_holds_up_one_request_in_a_while() {
    let server = redis().await;
    let running = start_with_timeout(&[("REDIS_URL", &server.url)], "100ms").await;
    let mut client = running.client(Caller::AgentStreaming);
    // A start needs Redis: it is over once there is an answer.
    assert!(!check(&mut client, vec![ask("agent", "first")]).await.expect("an answer").degraded);
    let config = chassis::redis::Config { url: Some(Secret::new(server.url.as_str())), prefix: String::new() };
    let operator = chassis::redis::connect(&config).await.expect("reachable").expect("configured");
    operator.custom::<(), _>(CustomCommand::new_static("CLIENT", None, false), vec!["PAUSE", "5000", "ALL"]).await.expect("paused");

    let mut waits = Vec::new();
    for i in 0..50 {
        let (answer, took) = timed(&mut client, &format!("user {i}")).await;
        assert!(answer.allowed);
        if answer.degraded {
            waits.push(took);
        }
    }
    assert!(waits.len() >= 40, "the pause outlasts fifty answers: {}", waits.len());
    waits.sort();
    // Whoever waits for Redis waits its whole timeout.
    assert!(waits[waits.len() / 2] < Duration::from_millis(100), "most do not wait for Redis: {waits:?}");

    eventually(PATIENCE, || {
        let mut client = client.clone();
        async move { Some(check(&mut client, vec![ask("general", "ann")]).await.expect("an answer")).filter(|a| !a.degraded) }
    })
    .await;
    running.stop().await;
}
