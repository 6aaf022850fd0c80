//! The same tests over every counter, with `window.rs` and `gcra.rs` as oracles. Redis runs as one server, as one server that
//! is asked like a cluster, and as a real cluster of one node, which refuses scripts whose keys lie in several slots.

mod cluster;

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chassis::{config::Secret, testing::TestRedis};
use cluster::Cluster;
use fred::interfaces::{ClientLike, KeysInterface};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::runtime::Runtime;

use super::{Ask, Away, Clock, Counter, memory::Memory, redis::Redis};
use crate::{
    decision::{Decision, Micros},
    policy::{Policies, Policy, Rule},
    window::Log,
};

/// What is tested here is what Redis says, not when.
const PATIENCE: Duration = Duration::from_secs(20);
const MINUTE: Micros = 60_000_000;
/// Windows of hours: a key must not end by Redis's own clock while a test turns the hands.
const FILE: &str = "
policies:
  - {name: few, limit: 3, window: 1h}
  - {name: more, limit: 7, window: 5h}
  - {name: steady, limit: 6, window: 1h, algorithm: gcra, burst: 2}
  - {name: race-a, limit: 50, window: 1h}
  - {name: race-b, limit: 20, window: 1h}
  - {name: race-c, limit: 30, window: 31d, algorithm: gcra}
";

fn policy(name: &str) -> Arc<Policy> {
    Arc::clone(Policies::shipped().with(FILE).expect("legal").named(name).expect("known"))
}

fn ask(name: &str, subject: &str, cost: u32) -> Ask {
    Ask { policy: policy(name), subject: subject.to_owned(), cost }
}

/// The rules themselves, one request after the other.
#[derive(Default)]
struct Oracle {
    logs: HashMap<(String, String), Log>,
    free_at: HashMap<(String, String), Micros>,
}

impl Oracle {
    fn take(&mut self, asks: &[Ask], now: Micros) -> Vec<Decision> {
        let looks: Vec<_> = asks.iter().map(|ask| self.one(ask, now, false)).collect();
        if looks.iter().all(|d| d.allowed) { asks.iter().map(|ask| self.one(ask, now, ask.cost > 0)).collect() } else { looks }
    }

    fn one(&mut self, ask: &Ask, now: Micros, take: bool) -> Decision {
        let key = (ask.policy.name.clone(), ask.subject.clone());
        match ask.policy.rule {
            Rule::SlidingLog(window) => {
                let log = self.logs.entry(key).or_default();
                if take { log.take(window, now, ask.cost) } else { log.look(window, now, ask.cost) }
            }
            Rule::Gcra(rate) => {
                let free_at = self.free_at.entry(key).or_default();
                if !take {
                    return rate.look(*free_at, now, ask.cost);
                }
                let (next, decision) = rate.take(*free_at, now, ask.cost);
                *free_at = next;
                decision
            }
        }
    }
}

/// How the clock of a test moves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Steps {
    /// Seldom backwards.
    AlsoBack,
    /// What is given back leaves the time of the taking behind, which only a clock that steps back could tell from nothing.
    Forward,
}

/// How far the clock moves, and what is asked then.
type Step = (i64, Vec<(usize, usize, u32)>);

fn steps(clock: Steps) -> impl Strategy<Value = Vec<Step>> {
    let earliest = if clock == Steps::AlsoBack { -15_i64 } else { 0 };
    let pause = prop_oneof![9 => 0_i64..40, 1 => earliest..=0];
    let asks = proptest::collection::vec((0_usize..3, 0_usize..2, 0_u32..4), 1..5);
    proptest::collection::vec((pause, asks), 1..40)
}

/// Whatever is asked and whenever, the counter says what the oracle says.
fn agrees_with_the_oracle<C: Counter>(runtime: &Runtime, cases: u32, clock: Steps, make: impl Fn(Clock) -> C) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&steps(clock), |steps| {
        let clock = Arc::new(AtomicU64::new(1_800_000_000_000_000));
        let (counter, mut oracle) = (make(Clock::Set(Arc::clone(&clock))), Oracle::default());
        for (pause, asked) in steps {
            let now = clock.load(Ordering::Relaxed).saturating_add_signed(pause * i64::try_from(MINUTE).expect("small"));
            clock.store(now, Ordering::Relaxed);
            let mut asks: Vec<Ask> = Vec::new();
            for (p, s, cost) in asked {
                let next = ask(["few", "more", "steady"][p], ["ann", "b{e}n"][s], cost);
                if !asks.iter().any(|a| a.policy == next.policy && a.subject == next.subject) {
                    asks.push(Ask { cost: cost.min(next.policy.max_cost()), ..next });
                }
            }
            let expected = oracle.take(&asks, now);
            let found = runtime.block_on(counter.take(&asks)).expect("reachable");
            prop_assert_eq!(found, expected, "at {} for {:?}", now, asks);
        }
        Ok(())
    });
    result.unwrap_or_else(|e| panic!("{e}"));
}

async fn race<C: Counter + 'static>(counter: &Arc<C>, callers: usize, each: usize, asks: &[Ask]) -> u32 {
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (counter, asks) = (Arc::clone(counter), asks.to_vec());
            chassis::task::spawn(async move {
                let mut granted = 0;
                for _ in 0..each {
                    let decisions = counter.take(&asks).await.expect("reachable");
                    granted += u32::from(decisions.iter().all(|d| d.allowed));
                }
                granted
            })
        })
        .collect();
    futures::future::join_all(tasks).await.into_iter().map(|granted| granted.expect("no panic")).sum()
}

async fn remaining(counter: &impl Counter, name: &str, subject: &str) -> u32 {
    counter.take(&[ask(name, subject, 0)]).await.expect("reachable")[0].remaining
}

/// 64 racing callers get exactly the limit; of several policies the strictest decides and nothing else is taken.
async fn exactly_the_limit_under_a_race<C: Counter + 'static>(counter: C) {
    let counter = Arc::new(counter);
    for (name, limit) in [("race-a", 50), ("race-c", 30)] {
        assert_eq!(race(&counter, 64, 4, &[ask(name, "one", 1)]).await, limit, "{name}");
        assert_eq!(remaining(&*counter, name, "one").await, 0);
    }
    let all = [ask("race-a", "two", 1), ask("race-b", "two", 1), ask("race-c", "two", 1)];
    assert_eq!(race(&counter, 64, 4, &all).await, 20);
    assert_eq!(remaining(&*counter, "race-a", "two").await, 30);
    assert_eq!(remaining(&*counter, "race-b", "two").await, 0);
    assert_eq!(remaining(&*counter, "race-c", "two").await, 10);
}

/// A policy in which one unit is free again after less than a second, by the counter's own clock.
async fn units_come_back<C: Counter>(counter: C) {
    let short =
        Policies::shipped().with("policies: [{name: s, limit: 2, window: 300ms}, {name: g, limit: 2, window: 300ms, algorithm: gcra}]");
    for name in ["s", "g"] {
        let policy = Arc::clone(short.as_ref().expect("legal").named(name).expect("known"));
        let asks = [Ask { policy, subject: "x".into(), cost: 2 }];
        assert!(counter.take(&asks).await.expect("reachable")[0].allowed);
        let refused = counter.take(&asks).await.expect("reachable")[0];
        assert!(!refused.allowed && refused.retry_after <= Duration::from_millis(300));
        // The wait that the answer named is enough.
        tokio::time::sleep(refused.retry_after).await;
        assert!(counter.take(&asks).await.expect("reachable")[0].allowed, "{name}");
    }
}

/// Redis as a cluster asks it.
struct BySubject(Redis);

impl Counter for BySubject {
    fn take(&self, asks: &[Ask]) -> impl Future<Output = Result<Vec<Decision>, Away>> + Send {
        self.0.take_by_subject(asks)
    }
}

struct Server<S = TestRedis> {
    runtime: Runtime,
    _server: S,
    pool: fred::clients::Pool,
    made: AtomicU64,
}

impl Server<Cluster> {
    fn cluster() -> Self {
        let runtime = Runtime::new().expect("runtime");
        let (server, pool) = runtime.block_on(Cluster::start());
        Self { runtime, _server: server, pool, made: AtomicU64::new(0) }
    }
}

impl Server {
    fn start() -> Self {
        let runtime = Runtime::new().expect("runtime");
        let (server, pool) = runtime.block_on(async {
            let server = chassis::testing::redis().await;
            let pool = connect(&server.url).await.expect("reachable");
            (server, pool)
        });
        Self { runtime, _server: server, pool, made: AtomicU64::new(0) }
    }
}

async fn connect(url: &str) -> Option<fred::clients::Pool> {
    let config = chassis::redis::Config { url: Some(Secret::new(url)), password: None, prefix: String::new() };
    chassis::redis::connect(&config).await.ok().flatten()
}

impl<S> Server<S> {
    /// Counters that share nothing with earlier ones.
    fn counter(&self, clock: Clock) -> Redis {
        let prefix = format!("{}:", self.made.fetch_add(1, Ordering::Relaxed));
        Redis::new(self.pool.clone(), &prefix, PATIENCE, clock)
    }
}

#[test]
fn memory_agrees_with_the_oracle() {
    let runtime = Runtime::new().expect("runtime");
    agrees_with_the_oracle(&runtime, 200, Steps::AlsoBack, |clock| Memory::new(10_000, clock));
}

#[test]
fn redis_agrees_with_the_oracle() {
    let server = Server::start();
    agrees_with_the_oracle(&server.runtime, 60, Steps::AlsoBack, |clock| server.counter(clock));
}

#[test]
fn redis_by_subject_agrees_with_the_oracle() {
    let server = Server::start();
    agrees_with_the_oracle(&server.runtime, 60, Steps::Forward, |clock| BySubject(server.counter(clock)));
}

#[test]
fn a_cluster_agrees_with_the_oracle_and_grants_exactly_the_limit() {
    let server = Server::cluster();
    agrees_with_the_oracle(&server.runtime, 40, Steps::Forward, |clock| server.counter(clock));
    server.runtime.block_on(exactly_the_limit_under_a_race(server.counter(Clock::Own)));
}

#[test]
fn memory_grants_exactly_the_limit() {
    let runtime = Runtime::new().expect("runtime");
    runtime.block_on(exactly_the_limit_under_a_race(Memory::new(10_000, Clock::Own)));
    runtime.block_on(units_come_back(Memory::new(10_000, Clock::Own)));
}

#[test]
fn redis_grants_exactly_the_limit() {
    let server = Server::start();
    server.runtime.block_on(exactly_the_limit_under_a_race(server.counter(Clock::Own)));
    server.runtime.block_on(exactly_the_limit_under_a_race(BySubject(server.counter(Clock::Own))));
    server.runtime.block_on(units_come_back(server.counter(Clock::Own)));
}

/// Several subjects on a cluster: never more than the limit, and what a refusal had taken comes back.
#[test]
fn a_refusal_by_one_subject_gives_back_what_the_other_gave() {
    let server = Server::start();
    let counter = Arc::new(BySubject(server.counter(Clock::Own)));
    server.runtime.block_on(async {
        let both = [ask("race-b", "zoe", 1), ask("race-a", "ann", 1), ask("race-c", "ann", 1)];
        let granted = race(&counter, 64, 4, &both).await;
        assert!(granted <= 20, "{granted}");
        assert_eq!(remaining(&*counter, "race-b", "zoe").await, 20 - granted);
        assert_eq!(remaining(&*counter, "race-a", "ann").await, 50 - granted);
        assert_eq!(remaining(&*counter, "race-c", "ann").await, 30 - granted);
    });
}

#[test]
fn a_server_that_forgot_the_script_gets_it_again_and_keys_end() {
    let server = Server::start();
    let counter = server.counter(Clock::Own);
    server.runtime.block_on(async {
        assert!(counter.take(&[ask("few", "ann", 1), ask("steady", "ann", 1)]).await.expect("reachable").iter().all(|d| d.allowed));
        let flush = fred::types::CustomCommand::new_static("SCRIPT", None, false);
        server.pool.custom::<(), _>(flush, vec!["FLUSH"]).await.expect("flushed");
        assert_eq!(counter.take(&[ask("few", "ann", 1)]).await.expect("reachable")[0].remaining, 1);
        for key in ["0:rl:{ann}:few:log", "0:rl:{ann}:steady:gcra"] {
            let left: i64 = server.pool.pttl(key).await.expect("answered");
            assert!((1..=3_600_000).contains(&left), "{key}: {left}");
        }
    });
}
