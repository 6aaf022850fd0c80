//! Redis goes away, for good or for a while, and comes back: answers keep coming, quickly, and say what they are worth.

use std::time::{Duration, Instant};

use chassis::{
    identity::Caller,
    testing::{Signal, eventually, redis, signal},
};
use proto::rate_limit::CheckResponse;

use crate::harness::{Client, ask, check, cost, start_with_timeout};

/// How long a caller waits for Redis: far longer than an answer takes without it.
const REDIS_TIMEOUT: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

async fn timed(client: &mut Client, subject: &str) -> (CheckResponse, Duration) {
    let began = Instant::now();
    let answer = check(client, vec![ask("agent", subject)]).await.expect("an answer");
    (answer, began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_degrades_the_limits_until_it_is_back() {
    let mut server = redis().await;
    let running = start_with_timeout(&[("REDIS_URL", &server.url)], "1s").await;
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
    assert!(waits[waits.len() / 2] < REDIS_TIMEOUT, "{waits:?}");
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
    let running = start_with_timeout(&[("REDIS_URL", &server.url)], "1s").await;
    let mut client = running.client(Caller::AgentStreaming);
    // A start needs Redis: it is over once there is an answer.
    assert!(!check(&mut client, vec![ask("agent", "first")]).await.expect("an answer").degraded);
    signal(server.process(), Signal::Stop).expect("stopped");

    let mut waits = Vec::new();
    for i in 0..50 {
        let (answer, took) = timed(&mut client, &format!("user {i}")).await;
        assert!(answer.allowed);
        if answer.degraded {
            waits.push(took);
        }
    }
    signal(server.process(), Signal::Continue).expect("goes on");
    assert!(waits.len() >= 40, "{}", waits.len());
    waits.sort();
    // Whoever waits for Redis waits its whole timeout.
    assert!(waits[waits.len() / 2] < REDIS_TIMEOUT, "most do not wait for Redis: {waits:?}");

    eventually(PATIENCE, || {
        let mut client = client.clone();
        async move { Some(check(&mut client, vec![ask("general", "ann")]).await.expect("an answer")).filter(|a| !a.degraded) }
    })
    .await;
    running.stop().await;
}
