//! Injects random faults. Each method injects a fault, repairs it, and counts it if it took effect.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use backlot::role::Role;
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use sqlx::AssertSqlSafe;
use test_support::canary::Stopwatch;
use tokio::time::sleep;

use super::{backoff::Backoff, failpoints};
use crate::deployment::{Deployment, Node, node::Failpoint};

/// How many failpoints that give an error are fired for one that ends the process, if not all are.
const ERRORS_PER_ABORT: u64 = 5;
/// The lease of turns in a deployment.
pub const LEASE: Duration = Duration::from_millis(1_500);
pub(super) const READY_WITHIN: Duration = Duration::from_secs(60);
/// Statements whose answers are dropped: the role, and a part of the text.
const LOST_ANSWERS: [(Role, &str); 6] = [
    (Role::ProjectStorage, "COMMIT"),
    (Role::Auth, "COMMIT"),
    (Role::AgentStreaming, "INSERT INTO turn_events"),
    (Role::AgentStreaming, "COMMIT"),
    (Role::AgentStreaming, "lease_expires_at = clock_timestamp()"),
    (Role::AgentStreaming, "INSERT INTO turns"),
];
/// The time between two attempts to trigger the failpoints that have not fired.
const TRIGGER_INTERVAL: Duration = Duration::from_millis(500);
/// Callers of a role are disconnected after each abort of it, and those of all roles after this number of attempts without a fired failpoint,
/// which doubles each time up to the maximum: a process that is disturbed too often reaches no other failpoint.
const TRIGGERS_PER_CUT: u32 = 5;
const MAX_TRIGGERS_PER_CUT: u32 = 40;
/// A worker is restarted at each attempt. The number of attempts for one restart doubles up to this while no failpoint of a worker fires, so
/// that longer work gets done.
const MAX_TRIGGERS_PER_RESTART: u32 = 8;
/// The number of kills of each role among 20.
const WEIGHTS: [(Role, u32); 6] =
    [(Role::AgentStreaming, 7), (Role::ProjectStorage, 5), (Role::Gateway, 4), (Role::Auth, 2), (Role::RateLimit, 1), (Role::Compile, 1)];

/// How many failpoints have ended a replica, by role.
pub(super) type Aborts = BTreeMap<&'static str, usize>;

/// Injects faults, with its own random numbers.
pub struct FaultInjector {
    pub deployment: Arc<Deployment>,
    pub rng: StdRng,
    /// The number of faults by their description.
    pub counts: BTreeMap<String, u64>,
}

impl FaultInjector {
    pub(super) fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    fn random_node(&mut self) -> Arc<Node> {
        let mut at = self.rng.random_range(0..20);
        let role = WEIGHTS
            .iter()
            .find(|(_, weight)| {
                at < *weight || {
                    at -= weight;
                    false
                }
            })
            .map_or(Role::AgentStreaming, |(role, _)| *role);
        let nodes: Vec<_> = self.deployment.of(role).cloned().collect();
        Arc::clone(nodes.choose(&mut self.rng).expect("every role has a replica"))
    }

    /// Kills random processes at random times. A killed process is restarted before the next kill.
    ///
    /// # Errors
    /// A process does not restart.
    pub async fn kills(&mut self, times: u64) -> Result<()> {
        for _ in 0..times {
            sleep(Duration::from_millis(self.rng.random_range(20..500))).await;
            let node = self.random_node();
            ensure!(node.kill().await?, "{} was not running", node.name);
            self.count(format!("kill {}", node.role.name()));
            sleep(Duration::from_millis(self.rng.random_range(0..150))).await;
            node.start().await?;
            node.ready(READY_WITHIN).await?;
        }
        Ok(())
    }

    /// Pauses one replica of each role with SIGSTOP for three leases, two roles at a time.
    ///
    /// # Errors
    /// A process was not running.
    pub async fn pauses(&mut self, rounds: u64) -> Result<()> {
        for _ in 0..rounds {
            for roles in [
                &[Role::AgentStreaming, Role::Auth][..],
                &[Role::AgentStreaming, Role::Gateway],
                &[Role::ProjectStorage, Role::RateLimit, Role::Compile],
            ] {
                let mut stopped = Vec::new();
                for role in roles {
                    let nodes: Vec<_> = self.deployment.of(*role).cloned().collect();
                    let node = Arc::clone(nodes.choose(&mut self.rng).expect("every role has a replica"));
                    ensure!(node.pause().await, "{} was not running", node.name);
                    self.count(format!("pause {}", role.name()));
                    stopped.push(node);
                }
                sleep(LEASE * 3).await;
                for node in stopped {
                    node.resume().await;
                }
                sleep(Duration::from_millis(500)).await;
            }
        }
        Ok(())
    }

    /// Kills PostgreSQL and waits until it has recovered.
    ///
    /// # Errors
    /// It does not recover.
    pub async fn postgres(&mut self, times: u64) -> Result<()> {
        for _ in 0..times {
            sleep(Duration::from_millis(self.rng.random_range(500..2_500))).await;
            let deployment = Arc::clone(&self.deployment);
            deployment.timeline.begin_outage("postgres");
            let crashed = deployment.engines.crash_postgres().await;
            deployment.timeline.end_outage("postgres");
            crashed?;
            self.count("postgres killed");
        }
        Ok(())
    }

    /// Flushes, pauses and kills Redis.
    ///
    /// # Errors
    /// It does not recover.
    pub async fn redis(&mut self) -> Result<()> {
        let engines = Arc::clone(&self.deployment.engines);
        engines.flush_redis().await?;
        self.count("redis flushed");
        engines.pause_redis(Duration::from_secs(2)).await?;
        self.count("redis paused");
        engines.crash_redis(Duration::from_secs(2)).await;
        self.count("redis killed");
        Ok(())
    }

    /// Cuts, stalls and delays random links.
    ///
    /// # Errors
    /// No link has connections.
    pub async fn network(&mut self, times: u64) -> Result<()> {
        for _ in 0..times {
            let links: Vec<_> = self.deployment.used_links().cloned().collect();
            ensure!(!links.is_empty(), "no link is in use");
            let link = Arc::clone(links.choose(&mut self.rng).expect("not empty"));
            let name = link.name().to_owned();
            self.deployment.timeline.begin_outage(&name);
            match self.rng.random_range(0..4) {
                0..2 => {
                    if link.cut() > 0 {
                        self.count("links cut");
                    }
                }
                2 => {
                    link.stall(Duration::from_millis(self.rng.random_range(200..2_500))).await;
                    self.count("links stalled");
                }
                _ => {
                    link.delay(Duration::from_millis(self.rng.random_range(20..150)));
                    sleep(Duration::from_secs(1)).await;
                    link.heal();
                    self.count("links delayed");
                }
            }
            self.deployment.timeline.end_outage(&name);
            sleep(Duration::from_millis(self.rng.random_range(50..300))).await;
        }
        Ok(())
    }

    /// Drops the answers of executed statements.
    ///
    /// # Errors
    /// A statement is never sent.
    pub async fn lost_answers(&mut self, rounds: u64) -> Result<()> {
        for _ in 0..rounds {
            for (role, part) in LOST_ANSWERS {
                let link = Arc::clone(self.deployment.link(&format!("{} -> postgres", role.name())));
                let before = link.dropped_answers();
                link.drop_answer(part);
                let clock = Stopwatch::start();
                while link.dropped_answers() == before {
                    ensure!(clock.elapsed() < READY_WITHIN, "{} never sent {part:?}", role.name());
                    sleep(Duration::from_millis(20)).await;
                }
                self.count(format!("answer lost: {part}"));
            }
        }
        Ok(())
    }

    /// Restarts one replica after the other, with SIGTERM.
    ///
    /// # Errors
    /// A replica does not exit cleanly.
    pub async fn rolling(&mut self, rounds: u64) -> Result<()> {
        for _ in 0..rounds {
            for node in self.deployment.nodes.clone() {
                let status = node.terminate().await?;
                ensure!(status.is_some_and(|status| status.success()), "{} ended with {status:?}", node.name);
                self.count(format!("drained {}", node.role.name()));
                node.start().await?;
                node.ready(READY_WITHIN).await?;
            }
        }
        Ok(())
    }

    /// Fires every failpoint of agent-streaming, project-storage, auth, the gateway and compile once in each mode. The second replica of each
    /// role gets the failpoints that end the process, and the first replica the others. Of those that end the process, only one of `sample` is
    /// fired, chosen at random: each costs a restart. Of the others [`ERRORS_PER_ABORT`] times as many are. Ends when none has fired `within` this time. Returns the failpoints that did not fire.
    ///
    /// # Errors
    /// A process does not start with its failpoints.
    pub async fn failpoints(&mut self, within: Duration, sample: u64) -> Result<Vec<String>> {
        let deployment = Arc::clone(&self.deployment);
        let roles = [Role::AgentStreaming, Role::ProjectStorage, Role::Auth, Role::Gateway, Role::Compile];
        let mut armed: Vec<(Arc<Node>, BTreeSet<Failpoint>)> = Vec::new();
        for role in roles {
            let mut points = failpoints::of(role)?;
            points.aborts.retain(|_| self.rng.random_range(0..sample) == 0);
            points.errors.retain(|_| self.rng.random_range(0..sample.div_ceil(ERRORS_PER_ABORT)) == 0);
            let nodes: Vec<_> = self.deployment.of(role).cloned().collect();
            for (node, points) in nodes.iter().zip([points.errors, points.aborts]) {
                node.arm(points.clone());
                armed.push((Arc::clone(node), points));
            }
        }
        for (node, _) in &armed {
            node.kill().await?;
            node.start().await?;
        }
        let waiting = || armed.iter().map(|(node, _)| node.armed().len()).sum::<usize>();
        let of_workers = || deployment.of(Role::AgentStreaming).map(|node| node.armed().len()).sum::<usize>();
        let (mut clock, mut left, mut left_of_workers, mut are_ended) = (Stopwatch::start(), waiting(), of_workers(), false);
        let (mut aborts, mut cuts, mut restarts) =
            (Aborts::default(), Backoff::new(TRIGGERS_PER_CUT, MAX_TRIGGERS_PER_CUT), Backoff::new(1, MAX_TRIGGERS_PER_RESTART));
        while left > 0 && clock.elapsed() < within {
            sleep(TRIGGER_INTERVAL).await;
            for (node, _) in &armed {
                node.check_starts()?;
            }
            if waiting() < left {
                (clock, left) = (Stopwatch::start(), waiting());
                cuts.progress();
                self.start_others(&mut are_ended).await?;
            }
            if of_workers() < left_of_workers {
                left_of_workers = of_workers();
                restarts.progress();
            }
            self.prefer_armed();
            let aborted = self.aborted(&mut aborts);
            let is_quiet = cuts.is_due(aborted.contains(&Role::ProjectStorage));
            if is_quiet {
                self.empty_object_caches().await?;
                self.end_or_start_others(&mut are_ended).await?;
            }
            if left_of_workers > 0 && restarts.is_due(false) {
                self.restart_a_worker().await?;
            }
            self.disconnect_callers(Some(&aborted[..]).filter(|_| !is_quiet)).await?;
        }
        let mut left = Vec::new();
        for (node, points) in armed {
            let fired: BTreeSet<_> = node.fired().into_iter().filter(|point| points.contains(point)).collect();
            for point in &fired {
                self.count(format!("failpoints {}", point.mode));
            }
            left.extend(points.difference(&fired).map(|point| format!("{} {} {}", node.name, point.place, point.mode)));
        }
        Ok(left)
    }

    /// Restarts a worker, to run code that needs it: a commit that another worker finishes, a drain that releases leases, the creation of a
    /// partition at the start. Then leaves all workers alone for as long as the start took, which on a busy machine is longer than the time
    /// between two attempts.
    async fn restart_a_worker(&mut self) -> Result<()> {
        let deployment = Arc::clone(&self.deployment);
        let workers: Vec<_> = deployment.of(Role::AgentStreaming).collect();
        let to_drain = workers.iter().find(|node| has_armed(node, "release-leases")).filter(|_| self.rng.random());
        let node = to_drain.unwrap_or_else(|| workers.choose(&mut self.rng).expect("there is a worker"));
        let is_clean = to_drain.is_some() || self.rng.random();
        let restart = async {
            sleep(Duration::from_millis(300)).await;
            if is_clean {
                node.terminate().await?;
            } else {
                node.kill().await?;
            }
            if has_armed(node, "add-partition") {
                drop_newest_partition(&deployment).await?;
            }
            node.start().await
        };
        let link = deployment.link("agent-streaming -> project-storage");
        let (restarted, ()) = tokio::join!(restart, link.stall(Duration::from_millis(600)));
        restarted?;
        let clock = Instant::now();
        for node in workers {
            node.ready(READY_WITHIN).await?;
        }
        sleep(clock.elapsed()).await;
        Ok(())
    }
}

/// Whether a failpoint whose name starts with `place` is armed.
fn has_armed(node: &Node, place: &str) -> bool {
    node.armed().iter().any(|point| point.place.starts_with(place))
}

/// Drops the newest partition, which is for the day after tomorrow and is empty.
async fn drop_newest_partition(deployment: &Deployment) -> Result<()> {
    let pool = deployment.pool("agent-streaming").await?;
    let mut transaction = chassis::postgres::begin(&pool).await?;
    let newest: Option<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'turn_events'::regclass ORDER BY 1 DESC LIMIT 1",
    )
    .fetch_optional(&mut *transaction)
    .await?;
    if let Some(newest) = newest {
        sqlx::query(AssertSqlSafe(format!("DROP TABLE {newest}"))).execute(&mut *transaction).await?;
    }
    Ok(transaction.commit().await?)
}
