//! Breaks things. Each act breaks one thing, repairs it, and is counted only if it really happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use backlot::role::Role;
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use sqlx::AssertSqlSafe;
use test_support::canary::Stopwatch;
use tokio::time::sleep;

use super::failpoints;
use crate::deployment::{Deployment, Node, node::Failpoint};

/// The lease of the deployments here.
pub const LEASE: Duration = Duration::from_millis(1_500);
pub(super) const READY_WITHIN: Duration = Duration::from_secs(60);
/// Statements whose answers are dropped, by a part of their text.
const DOUBTFUL: [(Role, &str); 5] = [
    (Role::ProjectStorage, "COMMIT"),
    (Role::AgentStreaming, "INSERT INTO turn_events"),
    (Role::AgentStreaming, "COMMIT"),
    (Role::AgentStreaming, "lease_expires_at = clock_timestamp()"),
    (Role::AgentStreaming, "INSERT INTO turns"),
];
/// The time between two looks at the failpoints that have not fired.
const BETWEEN_HELPS: Duration = Duration::from_millis(500);
/// Callers are disconnected after each abort, otherwise only every so many times.
const HELPS_PER_CUT: u32 = 5;
/// How many of 20 kills each role gets.
const WEIGHTS: [(Role, u32); 5] =
    [(Role::AgentStreaming, 9), (Role::ProjectStorage, 5), (Role::Gateway, 4), (Role::Auth, 1), (Role::RateLimit, 1)];

/// Breaks things, with its own random numbers.
pub struct Nemesis {
    pub deployment: Arc<Deployment>,
    pub rng: StdRng,
    /// What happened, and how often.
    pub counts: BTreeMap<String, u64>,
}

impl Nemesis {
    pub(super) fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    fn pick(&mut self) -> Arc<Node> {
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

    /// SIGKILL at random instants. The killed process is back before the next kill.
    ///
    /// # Errors
    /// A process does not come back.
    pub async fn kills(&mut self, times: u64) -> Result<()> {
        for _ in 0..times {
            sleep(Duration::from_millis(self.rng.random_range(20..500))).await;
            let node = self.pick();
            ensure!(node.kill().await?, "{} was not running", node.name);
            self.count(format!("kill {}", node.role.name()));
            sleep(Duration::from_millis(self.rng.random_range(0..150))).await;
            node.start().await?;
            node.ready(READY_WITHIN).await?;
        }
        Ok(())
    }

    /// Stops one replica of each role for three leases, one after the other except for the short stops.
    ///
    /// # Errors
    /// A process was not there.
    pub async fn stops(&mut self, rounds: u64) -> Result<()> {
        for _ in 0..rounds {
            for roles in
                [&[Role::AgentStreaming, Role::Auth][..], &[Role::AgentStreaming, Role::Gateway], &[Role::ProjectStorage, Role::RateLimit]]
            {
                let mut stopped = Vec::new();
                for role in roles {
                    let nodes: Vec<_> = self.deployment.of(*role).cloned().collect();
                    let node = Arc::clone(nodes.choose(&mut self.rng).expect("every role has a replica"));
                    ensure!(node.pause().await, "{} was not running", node.name);
                    self.count(format!("stop {}", role.name()));
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

    /// PostgreSQL is killed and recovers.
    ///
    /// # Errors
    /// It does not come back.
    pub async fn postgres(&mut self, times: u64) -> Result<()> {
        for _ in 0..times {
            sleep(Duration::from_millis(self.rng.random_range(500..2_500))).await;
            let deployment = Arc::clone(&self.deployment);
            deployment.timeline.trouble("postgres");
            let crashed = deployment.engines.crash_postgres().await;
            deployment.timeline.over("postgres");
            crashed?;
            self.count("postgres killed");
        }
        Ok(())
    }

    /// Redis is flushed, killed and stopped.
    ///
    /// # Errors
    /// It does not come back.
    pub async fn redis(&mut self) -> Result<()> {
        let engines = Arc::clone(&self.deployment.engines);
        engines.flush_redis().await?;
        self.count("redis flushed");
        engines.hang_redis(Duration::from_secs(2)).await?;
        self.count("redis stopped");
        engines.crash_redis(Duration::from_secs(2)).await;
        self.count("redis killed");
        Ok(())
    }

    /// Links close their connections, stall and are slow.
    ///
    /// # Errors
    /// There is no link in use.
    pub async fn network(&mut self, times: u64) -> Result<()> {
        for _ in 0..times {
            let links: Vec<_> = self.deployment.used_links().cloned().collect();
            ensure!(!links.is_empty(), "no link is in use");
            let link = Arc::clone(links.choose(&mut self.rng).expect("not empty"));
            let name = link.name().to_owned();
            self.deployment.timeline.trouble(&name);
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
                    self.count("links slow");
                }
            }
            self.deployment.timeline.over(&name);
            sleep(Duration::from_millis(self.rng.random_range(50..300))).await;
        }
        Ok(())
    }

    /// Statements are executed and their answers are dropped.
    ///
    /// # Errors
    /// One of them is never sent.
    pub async fn doubts(&mut self, rounds: u64) -> Result<()> {
        for _ in 0..rounds {
            for (role, part) in DOUBTFUL {
                let link = Arc::clone(self.deployment.link(&format!("{} -> postgres", role.name())));
                let before = link.lost();
                link.lose_answer(part);
                let clock = Stopwatch::start();
                while link.lost() == before {
                    ensure!(clock.elapsed() < READY_WITHIN, "{} never sent {part:?}", role.name());
                    sleep(Duration::from_millis(20)).await;
                }
                self.count(format!("answer lost: {part}"));
            }
        }
        Ok(())
    }

    /// SIGTERM and a new start, one replica after the other.
    ///
    /// # Errors
    /// One does not drain cleanly.
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

    /// Fires every failpoint of the turn's services once in each of its modes. The second replica of each role runs with the failpoints
    /// that end the process, the first replica with the others. Returns the failpoints that did not fire.
    ///
    /// # Errors
    /// A process does not start.
    pub async fn failpoints(&mut self, within: Duration) -> Result<Vec<String>> {
        let roles = [Role::AgentStreaming, Role::ProjectStorage, Role::Gateway];
        let mut armed: Vec<(Arc<Node>, BTreeSet<Failpoint>)> = Vec::new();
        for role in roles {
            let points = failpoints::of(role)?;
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
        let (mut clock, mut left) = (Stopwatch::start(), waiting());
        let (mut aborts, mut patience) = (0, 0);
        while left > 0 && clock.elapsed() < within {
            sleep(BETWEEN_HELPS).await;
            if waiting() < left {
                (clock, left) = (Stopwatch::start(), waiting());
            }
            // On a slow machine a call that is disconnected again and again never ends.
            let aborted = self.aborts();
            let cut = aborted > aborts || patience == 0;
            (aborts, patience) = (aborted, if cut { HELPS_PER_CUT } else { patience - 1 });
            self.help(cut).await?;
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

    /// How often a failpoint has ended a replica of project-storage.
    fn aborts(&self) -> usize {
        self.deployment.of(Role::ProjectStorage).flat_map(|node| node.fired()).filter(|point| point.mode == "abort").count()
    }

    /// Makes calls reach the failpoints. Callers are disconnected, because otherwise they stay with the replica that did not die.
    async fn help(&mut self, cut: bool) -> Result<()> {
        let deployment = Arc::clone(&self.deployment);
        if deployment.of(Role::AgentStreaming).any(|node| !node.armed().is_empty()) {
            self.lose_a_worker().await?;
        }
        if cut {
            deployment.link("agent-streaming -> project-storage").cut();
            deployment.link("gateway -> project-storage").cut();
        }
        // The cache of one that starts is empty.
        for node in deployment.of(Role::ProjectStorage).filter(|node| lacks(node, "select-objects")) {
            node.kill().await?;
            node.start().await?;
        }
        Ok(())
    }

    /// Reaches code that only runs after a loss: a commit that another worker finishes, a drain that releases turns, a partition that is
    /// missing at a start.
    async fn lose_a_worker(&mut self) -> Result<()> {
        let deployment = Arc::clone(&self.deployment);
        let workers: Vec<_> = deployment.of(Role::AgentStreaming).collect();
        let drains = workers.iter().find(|node| lacks(node, "release-leases")).filter(|_| self.rng.random());
        let node = drains.unwrap_or_else(|| workers.choose(&mut self.rng).expect("there is a worker"));
        let gently = drains.is_some() || self.rng.random();
        let broken = async {
            sleep(Duration::from_millis(300)).await;
            if gently {
                node.terminate().await?;
            } else {
                node.kill().await?;
            }
            if lacks(node, "add-partition") {
                drop_newest_partition(&deployment).await?;
            }
            node.start().await
        };
        let link = deployment.link("agent-streaming -> project-storage");
        let (broken, ()) = tokio::join!(broken, link.stall(Duration::from_millis(600)));
        broken
    }
}

/// Whether a failpoint of a statement of this name has not fired there yet.
fn lacks(node: &Node, place: &str) -> bool {
    node.armed().iter().any(|point| point.place.starts_with(place))
}

/// The one of the day after tomorrow, which holds nothing yet.
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
