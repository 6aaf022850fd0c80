//! Faults at a chosen moment, which random kills would meet once in a thousand times, or never.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use backlot::role::Role;
use sqlx::{PgPool, Postgres, Transaction};
use test_support::canary::Stopwatch;
use tokio::time::sleep;

use super::nemesis::{LEASE, Nemesis, READY_WITHIN};
use crate::deployment::node::Failpoint;

/// Long enough that a batch is given up and sent again.
const HELD: Duration = Duration::from_millis(700);
/// Shorter than that: a batch is on its way all the time.
const ON_THE_WAY: Duration = Duration::from_millis(300);
/// How long Redis is unavailable, and with it every doorbell.
const DEAF: Duration = Duration::from_secs(15);
/// How many positions after the end of a log are locked.
const PLACES: i32 = 8;
/// Part of a heartbeat's statement.
const HEARTBEAT: &str = "SET lease_expires_at = clock_timestamp()";
/// More than all workers send within a lease.
const HEARTBEATS: usize = 10;
const FIRED_WITHIN: Duration = Duration::from_secs(30);

/// A failpoint of every replica of a role.
pub type Point = (Role, &'static str, &'static str);

impl Nemesis {
    /// The workers cannot write. First the batch is lost with its connection, then with the worker, and at last it is written long after
    /// its worker has died.
    ///
    /// # Errors
    /// A process does not come back.
    pub async fn unwritten(&mut self) -> Result<()> {
        let deployment = Arc::clone(&self.deployment);
        let link = deployment.link("agent-streaming -> postgres");
        deployment.timeline.trouble(link.name());
        link.hold();
        sleep(HELD).await;
        link.cut();
        link.heal();
        self.count("batches lost");
        sleep(LEASE).await;

        link.hold();
        sleep(ON_THE_WAY).await;
        self.kill_workers().await?;
        link.cut();
        link.heal();
        self.count("batches lost with their workers");
        self.start_workers().await?;
        sleep(LEASE).await;
        let late = self.late_statements().await;
        deployment.timeline.over(link.name());
        late
    }

    /// A transaction locks the positions of the next events of every running turn. Meanwhile the workers die. Their statements stay in the
    /// database and are executed after the workers were declared dead.
    async fn late_statements(&mut self) -> Result<()> {
        let pool = self.deployment.pool("agent-streaming").await?;
        let clock = Stopwatch::start();
        let holder = loop {
            match hold(&pool).await {
                Ok(Some(holder)) => break holder,
                // No turn was running, or a batch came in between.
                Ok(None) | Err(sqlx::Error::Database(_)) => {
                    ensure!(clock.elapsed() < FIRED_WITHIN, "the places of running turns cannot be held")
                }
                Err(error) => return Err(error.into()),
            }
            sleep(Duration::from_millis(20)).await;
        };
        sleep(ON_THE_WAY).await;
        self.kill_workers().await?;
        self.start_workers().await?;
        // Every lease has expired after this time.
        sleep(LEASE + ON_THE_WAY).await;
        holder.rollback().await?;
        self.count("statements later than their workers");
        Ok(())
    }

    async fn kill_workers(&mut self) -> Result<()> {
        for worker in self.deployment.of(Role::AgentStreaming) {
            worker.kill().await?;
        }
        Ok(())
    }

    async fn start_workers(&mut self) -> Result<()> {
        for worker in self.deployment.of(Role::AgentStreaming) {
            worker.start().await?;
        }
        for worker in self.deployment.of(Role::AgentStreaming) {
            worker.ready(READY_WITHIN).await?;
        }
        Ok(())
    }

    /// A worker is stopped until others have taken over its turns, and cannot notice when it continues, because the answers to its
    /// heartbeats are lost. Only the fence in the database protects the turns.
    ///
    /// # Errors
    /// A process was not there.
    pub async fn stale(&mut self) -> Result<()> {
        let deployment = Arc::clone(&self.deployment);
        let link = deployment.link("agent-streaming -> postgres");
        for worker in deployment.of(Role::AgentStreaming) {
            ensure!(worker.pause().await, "{} was not running", worker.name);
            sleep(LEASE * 2).await;
            (0..HEARTBEATS).for_each(|_| link.lose_answer(HEARTBEAT));
            worker.resume().await;
            sleep(LEASE).await;
            link.heal();
            self.count("workers that went on without a turn");
        }
        Ok(())
    }

    /// Redis is unavailable for a long time.
    ///
    /// # Errors
    /// It does not come back.
    pub async fn deaf(&mut self) {
        let engines = Arc::clone(&self.deployment.engines);
        engines.crash_redis(DEAF).await;
        self.count("redis away for long");
    }

    /// Fires these failpoints once on every replica. Returns those that did not fire.
    ///
    /// # Errors
    /// A process does not start.
    pub async fn fails(&mut self, points: &[Point]) -> Result<Vec<String>> {
        let deployment = Arc::clone(&self.deployment);
        let mut armed = Vec::new();
        for (role, place, mode) in points {
            for node in deployment.of(*role) {
                node.arm([Failpoint { place: (*place).to_owned(), mode: (*mode).to_owned() }]);
                node.kill().await?;
                node.start().await?;
                armed.push(node);
            }
        }
        let clock = Stopwatch::start();
        while armed.iter().any(|node| !node.armed().is_empty()) && clock.elapsed() < FIRED_WITHIN {
            sleep(Duration::from_millis(50)).await;
        }
        let left = armed.into_iter().flat_map(|node| node.armed().into_iter().map(|point| format!("{} {}", node.name, point.place)));
        Ok(left.collect())
    }
}

/// A transaction that locks the positions of the next events of every running turn; `None` if there is no such turn.
async fn hold(pool: &PgPool) -> sqlx::Result<Option<Transaction<'static, Postgres>>> {
    let mut holder = chassis::postgres::begin_in_query(pool).await?;
    // A batch that holds some of the positions and waits for others would be a deadlock.
    sqlx::query("SET LOCAL lock_timeout = '50ms'").execute(&mut *holder).await?;
    let places = sqlx::query(
        "INSERT INTO turn_events (turn_id, seq, payload)
        SELECT t.id, (SELECT max(e.seq) FROM turn_events e WHERE e.turn_id = t.id) + place, ''::bytea
        FROM turns t, generate_series(1, $1) place WHERE t.state = 'running' ON CONFLICT DO NOTHING",
    );
    let held = places.bind(PLACES).execute(&mut *holder).await?.rows_affected();
    Ok((held > 0).then_some(holder))
}
