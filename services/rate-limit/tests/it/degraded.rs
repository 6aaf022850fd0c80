//! While Redis is down or stopped, the service still answers quickly, and says that its counts are degraded.

use std::time::{Duration, Instant};

use chassis::{
    identity::Caller,
    testing::{Signal, eventually, redis, signal},
};
use proto::rate_limit::CheckResponse;

use crate::harness::{Client, check, one_unit, start_with_timeout, units};

/// How long a check waits for Redis: far longer than an answer takes without it.
const REDIS_TIMEOUT: Duration = Duration::from_secs(1);
const RECOVERY_LIMIT: Duration = Duration::from_secs(20);

async fn timed(client: &mut Client, subject: &str) -> (CheckResponse, Duration) {
    let began = Instant::now();
    let answer = check(client, vec![one_unit("agent", subject)]).await.expect("an answer");
    (answer, began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_degraded_while_redis_is_down() {
    let mut server = redis().await;
    let running = start_with_timeout(&[("REDIS_URL", &server.url)], "1s").await;
    let mut client = running.client(Caller::AgentStreaming);
    assert!(check(&mut client, vec![units("agent", "ann", 3)]).await.expect("an answer").allowed);

    server.kill().await;
    let mut waits = Vec::new();
    for i in 0..20 {
        let (answer, took) = timed(&mut client, &format!("user {i}")).await;
        assert!(answer.allowed && answer.degraded);
        waits.push(took);
    }
    waits.sort();
    assert!(waits[waits.len() / 2] < REDIS_TIMEOUT, "{waits:?}");
    // Each replica allows the full limit and not more.
    let allowed = async |client: &mut Client| {
        let mut allowed = 0;
        for _ in 0..10 {
            allowed += u32::from(check(client, vec![one_unit("agent", "ann")]).await.expect("an answer").allowed);
        }
        allowed
    };
    assert_eq!(allowed(&mut client).await, 3);

    server.restart().await;
    let recovered = eventually(RECOVERY_LIMIT, || {
        let mut client = client.clone();
        async move { Some(check(&mut client, vec![one_unit("save", "ann")]).await.expect("an answer")).filter(|a| !a.degraded) }
    });
    assert_eq!(recovered.await.decisions[0].remaining, 29, "Redis counts again");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_redis_delays_only_one_request_per_interval() {
    let server = redis().await;
    let running = start_with_timeout(&[("REDIS_URL", &server.url)], "1s").await;
    let mut client = running.client(Caller::AgentStreaming);
    // The start needs Redis. It is complete when there is an answer.
    assert!(!check(&mut client, vec![one_unit("agent", "first")]).await.expect("an answer").degraded);
    signal(server.process(), Signal::Stop).expect("stopped");

    let mut waits = Vec::new();
    for i in 0..50 {
        let (answer, took) = timed(&mut client, &format!("user {i}")).await;
        assert!(answer.allowed);
        if answer.degraded {
            waits.push(took);
        }
    }
    signal(server.process(), Signal::Continue).expect("continued");
    assert!(waits.len() >= 40, "{}", waits.len());
    waits.sort();
    // A request that waits for Redis waits for the whole timeout.
    assert!(waits[waits.len() / 2] < REDIS_TIMEOUT, "most do not wait for Redis: {waits:?}");

    eventually(RECOVERY_LIMIT, || {
        let mut client = client.clone();
        async move { Some(check(&mut client, vec![one_unit("general", "ann")]).await.expect("an answer")).filter(|a| !a.degraded) }
    })
    .await;
    running.stop().await;
}
