//! The same tests for every counter, which compare it with `window.rs` and `gcra.rs`. Redis runs as one server, as one server that is
//! called like a cluster, and as a real cluster of one node, which refuses scripts whose keys are in several slots.

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

use super::{Check, Clock, Counter, Unreachable, memory::Memory, redis::Redis};
use crate::{
    decision::{Decision, Micros},
    policy::{Policies, Policy, Rule},
    window::Log,
};

/// Long, because these tests are about the answers of Redis and not about their time.
const REDIS_TIMEOUT: Duration = Duration::from_secs(20);
const MINUTE: Micros = 60_000_000;
/// The windows are hours long, so that no key expires by the clock of Redis while a test uses a manual clock.
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

fn check(name: &str, subject: &str, cost: u32) -> Check {
    Check { policy: policy(name), subject: subject.to_owned(), cost }
}

/// The algorithms without a store, one request after the other.
#[derive(Default)]
struct Oracle {
    logs: HashMap<(String, String), Log>,
    free_at: HashMap<(String, String), Micros>,
}

impl Oracle {
    fn take(&mut self, checks: &[Check], now: Micros) -> Vec<Decision> {
        let peeked: Vec<_> = checks.iter().map(|check| self.one(check, now, false)).collect();
        if peeked.iter().all(|d| d.allowed) { checks.iter().map(|check| self.one(check, now, check.cost > 0)).collect() } else { peeked }
    }

    fn one(&mut self, check: &Check, now: Micros, take: bool) -> Decision {
        let key = (check.policy.name.clone(), check.subject.clone());
        match check.policy.rule {
            Rule::SlidingLog(window) => {
                let log = self.logs.entry(key).or_default();
                if take { log.take(window, now, check.cost) } else { log.peek(window, now, check.cost) }
            }
            Rule::Gcra(rate) => {
                let free_at = self.free_at.entry(key).or_default();
                if !take {
                    return rate.peek(*free_at, now, check.cost);
                }
                let (next, decision) = rate.take(*free_at, now, check.cost);
                *free_at = next;
                decision
            }
        }
    }
}

/// How the clock of a test moves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Steps {
    /// Forwards, and rarely backwards.
    BothWays,
    /// Only forwards. A refund leaves the time at which the units were taken, which matters only if the clock steps back.
    Forward,
}

/// How far the clock moves, and the checks after that.
type Step = (i64, Vec<(usize, usize, u32)>);

fn steps(clock: Steps) -> impl Strategy<Value = Vec<Step>> {
    let earliest = if clock == Steps::BothWays { -15_i64 } else { 0 };
    let pause = prop_oneof![9 => 0_i64..40, 1 => earliest..=0];
    let checks = proptest::collection::vec((0_usize..3, 0_usize..2, 0_u32..4), 1..5);
    proptest::collection::vec((pause, checks), 1..40)
}

/// For all checks and times the counter decides like the oracle.
fn agrees_with_the_oracle<C: Counter>(runtime: &Runtime, cases: u32, clock: Steps, make: impl Fn(Clock) -> C) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&steps(clock), |steps| {
        let clock = Arc::new(AtomicU64::new(1_800_000_000_000_000));
        let (counter, mut oracle) = (make(Clock::Manual(Arc::clone(&clock))), Oracle::default());
        for (pause, requested) in steps {
            let now = clock.load(Ordering::Relaxed).saturating_add_signed(pause * i64::try_from(MINUTE).expect("small"));
            clock.store(now, Ordering::Relaxed);
            let mut checks: Vec<Check> = Vec::new();
            for (p, s, cost) in requested {
                let next = check(["few", "more", "steady"][p], ["ann", "b{e}n"][s], cost);
                if !checks.iter().any(|a| a.policy == next.policy && a.subject == next.subject) {
                    checks.push(Check { cost: cost.min(next.policy.max_cost()), ..next });
                }
            }
            let expected = oracle.take(&checks, now);
            let found = runtime.block_on(counter.take(&checks)).expect("reachable");
            prop_assert_eq!(found, expected, "at {} for {:?}", now, checks);
        }
        Ok(())
    });
    result.unwrap_or_else(|e| panic!("{e}"));
}

async fn race<C: Counter + 'static>(counter: &Arc<C>, callers: usize, each: usize, checks: &[Check]) -> u32 {
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (counter, checks) = (Arc::clone(counter), checks.to_vec());
            chassis::task::spawn(async move {
                let mut granted = 0;
                for _ in 0..each {
                    let decisions = counter.take(&checks).await.expect("reachable");
                    granted += u32::from(decisions.iter().all(|d| d.allowed));
                }
                granted
            })
        })
        .collect();
    futures::future::join_all(tasks).await.into_iter().map(|granted| granted.expect("no panic")).sum()
}

async fn remaining(counter: &impl Counter, name: &str, subject: &str) -> u32 {
    counter.take(&[check(name, subject, 0)]).await.expect("reachable")[0].remaining
}

/// 64 concurrent callers get exactly the limit. Of several policies the strictest one decides, and no other units are taken.
async fn exactly_the_limit_under_a_race<C: Counter + 'static>(counter: C) {
    let counter = Arc::new(counter);
    for (name, limit) in [("race-a", 50), ("race-c", 30)] {
        assert_eq!(race(&counter, 64, 4, &[check(name, "one", 1)]).await, limit, "{name}");
        assert_eq!(remaining(&*counter, name, "one").await, 0);
    }
    let all = [check("race-a", "two", 1), check("race-b", "two", 1), check("race-c", "two", 1)];
    assert_eq!(race(&counter, 64, 4, &all).await, 20);
    assert_eq!(remaining(&*counter, "race-a", "two").await, 30);
    assert_eq!(remaining(&*counter, "race-b", "two").await, 0);
    assert_eq!(remaining(&*counter, "race-c", "two").await, 10);
}

/// Units are free again after the window, by the clock of the counter.
async fn units_become_free_again<C: Counter>(counter: C) {
    let short =
        Policies::shipped().with("policies: [{name: s, limit: 2, window: 300ms}, {name: g, limit: 2, window: 300ms, algorithm: gcra}]");
    for name in ["s", "g"] {
        let policy = Arc::clone(short.as_ref().expect("legal").named(name).expect("known"));
        let checks = [Check { policy, subject: "x".into(), cost: 2 }];
        assert!(counter.take(&checks).await.expect("reachable")[0].allowed);
        let refused = counter.take(&checks).await.expect("reachable")[0];
        assert!(!refused.allowed && refused.retry_after <= Duration::from_millis(300));
        // This sleep is no synchronisation: the test asserts that the wait of the answer is long enough.
        tokio::time::sleep(refused.retry_after).await;
        assert!(counter.take(&checks).await.expect("reachable")[0].allowed, "{name}");
    }
}

/// Redis, called as on a cluster.
struct BySubject(Redis);

impl Counter for BySubject {
    fn take(&self, checks: &[Check]) -> impl Future<Output = Result<Vec<Decision>, Unreachable>> + Send {
        self.0.take_by_subject(checks)
    }
}

struct Server<S = TestRedis> {
    runtime: Runtime,
    _server: S,
    pool: fred::clients::Pool,
    counters: AtomicU64,
}

impl Server<Cluster> {
    fn cluster() -> Self {
        let runtime = Runtime::new().expect("runtime");
        let (server, pool) = runtime.block_on(Cluster::start());
        Self { runtime, _server: server, pool, counters: AtomicU64::new(0) }
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
        Self { runtime, _server: server, pool, counters: AtomicU64::new(0) }
    }
}

async fn connect(url: &str) -> Option<fred::clients::Pool> {
    let config = chassis::redis::Config { url: Some(Secret::new(url)), password: None, prefix: String::new() };
    chassis::redis::connect(&config).await.ok().flatten()
}

impl<S> Server<S> {
    /// Counters that share no keys with earlier ones.
    fn counter(&self, clock: Clock) -> Redis {
        let prefix = format!("{}:", self.counters.fetch_add(1, Ordering::Relaxed));
        Redis::new(self.pool.clone(), &prefix, REDIS_TIMEOUT, clock)
    }
}

#[test]
fn memory_agrees_with_the_oracle() {
    let runtime = Runtime::new().expect("runtime");
    agrees_with_the_oracle(&runtime, 200, Steps::BothWays, |clock| Memory::new(10_000, clock));
}

#[test]
fn redis_agrees_with_the_oracle() {
    let server = Server::start();
    agrees_with_the_oracle(&server.runtime, 60, Steps::BothWays, |clock| server.counter(clock));
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
    server.runtime.block_on(exactly_the_limit_under_a_race(server.counter(Clock::System)));
}

#[test]
fn memory_grants_exactly_the_limit() {
    let runtime = Runtime::new().expect("runtime");
    runtime.block_on(exactly_the_limit_under_a_race(Memory::new(10_000, Clock::System)));
    runtime.block_on(units_become_free_again(Memory::new(10_000, Clock::System)));
}

#[test]
fn redis_grants_exactly_the_limit() {
    let server = Server::start();
    server.runtime.block_on(exactly_the_limit_under_a_race(server.counter(Clock::System)));
    server.runtime.block_on(exactly_the_limit_under_a_race(BySubject(server.counter(Clock::System))));
    server.runtime.block_on(units_become_free_again(server.counter(Clock::System)));
}

/// Several subjects on a cluster: at most the limit, and a refusal refunds the units that it took.
#[test]
fn a_refusal_by_one_subject_refunds_the_units_of_the_other() {
    let server = Server::start();
    let counter = Arc::new(BySubject(server.counter(Clock::System)));
    server.runtime.block_on(async {
        let both = [check("race-b", "zoe", 1), check("race-a", "ann", 1), check("race-c", "ann", 1)];
        let granted = race(&counter, 64, 4, &both).await;
        assert!(granted <= 20, "{granted}");
        assert_eq!(remaining(&*counter, "race-b", "zoe").await, 20 - granted);
        assert_eq!(remaining(&*counter, "race-a", "ann").await, 50 - granted);
        assert_eq!(remaining(&*counter, "race-c", "ann").await, 30 - granted);
    });
}

#[test]
fn a_server_without_the_script_gets_it_again_and_keys_expire() {
    let server = Server::start();
    let counter = server.counter(Clock::System);
    server.runtime.block_on(async {
        assert!(counter.take(&[check("few", "ann", 1), check("steady", "ann", 1)]).await.expect("reachable").iter().all(|d| d.allowed));
        let flush = fred::types::CustomCommand::new_static("SCRIPT", None, false);
        server.pool.custom::<(), _>(flush, vec!["FLUSH"]).await.expect("flushed");
        assert_eq!(counter.take(&[check("few", "ann", 1)]).await.expect("reachable")[0].remaining, 1);
        for key in ["0:rl:{ann}:few:log", "0:rl:{ann}:steady:gcra"] {
            let left: i64 = server.pool.pttl(key).await.expect("answered");
            assert!((1..=3_600_000).contains(&left), "{key}: {left}");
        }
    });
}
