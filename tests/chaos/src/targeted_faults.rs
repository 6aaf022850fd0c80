//! Faults at a chosen moment, which random faults would hit rarely or never.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use backlot::role::Role;
use chassis::testing::{self, Signal};
use sqlx::{PgPool, Postgres, Transaction};
use test_support::canary::Stopwatch;
use tokio::time::sleep;

use super::fault_injector::{FaultInjector, LEASE, READY_WITHIN};
use crate::deployment::node::Failpoint;

/// Long enough that a batch times out and is sent again.
const STALL_TIME: Duration = Duration::from_millis(700);
/// Shorter than the timeout of a batch, so that a batch is in flight.
const IN_FLIGHT_TIME: Duration = Duration::from_millis(300);
/// How long Redis is unavailable. Doorbells are lost meanwhile.
const OUTAGE_TIME: Duration = Duration::from_secs(15);
/// The number of sequence numbers after the end of a log that are locked.
const LOCKED_EVENTS: i32 = 8;
/// A part of the statement of a heartbeat.
const HEARTBEAT: &str = "SET lease_expires_at = clock_timestamp()";
/// More heartbeats than all workers send within a lease.
const MAX_HEARTBEATS: usize = 10;
/// The time between two looks for processes of the compiler, which run for some milliseconds.
const COMPILER_POLL: Duration = Duration::from_millis(2);
const FAULT_WITHIN: Duration = Duration::from_secs(30);

/// The role, the name and the mode of a failpoint.
pub type Point = (Role, &'static str, &'static str);

impl FaultInjector {
    /// Stalls the writes of the workers. First a batch is lost with its connection, then with its worker, and finally it is written after its
    /// worker has died.
    ///
    /// # Errors
    /// A process does not restart.
    pub async fn lost_writes(&mut self) -> Result<()> {
        let deployment = Arc::clone(&self.deployment);
        let link = deployment.link("agent-streaming -> postgres");
        deployment.timeline.begin_outage(link.name());
        link.hold();
        sleep(STALL_TIME).await;
        link.cut();
        link.heal();
        self.count("batches lost");
        sleep(LEASE).await;

        link.hold();
        sleep(IN_FLIGHT_TIME).await;
        self.kill_workers().await?;
        link.cut();
        link.heal();
        self.count("batches lost with their workers");
        self.start_workers().await?;
        sleep(LEASE).await;
        let late = self.late_statements().await;
        deployment.timeline.end_outage(link.name());
        late
    }

    /// Locks the next sequence numbers of every running turn and kills the workers. Their statements wait in the database and are executed
    /// after the leases have expired.
    async fn late_statements(&mut self) -> Result<()> {
        let pool = self.deployment.pool("agent-streaming").await?;
        let clock = Stopwatch::start();
        let lock = loop {
            match lock_next_events(&pool).await {
                Ok(Some(lock)) => break lock,
                // No turn was running, or a batch was written at the same time.
                Ok(None) | Err(sqlx::Error::Database(_)) => {
                    ensure!(clock.elapsed() < FAULT_WITHIN, "the sequence numbers of running turns cannot be locked")
                }
                Err(error) => return Err(error.into()),
            }
            sleep(Duration::from_millis(20)).await;
        };
        sleep(IN_FLIGHT_TIME).await;
        self.kill_workers().await?;
        self.start_workers().await?;
        // All leases have expired after this time.
        sleep(LEASE + IN_FLIGHT_TIME).await;
        lock.rollback().await?;
        self.count("statements after the death of their workers");
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

    /// Pauses each worker until others have taken over its turns, and then drops the answers to its heartbeats, so that it does not notice
    /// the loss. Only the fence in the database protects the turns.
    ///
    /// # Errors
    /// A process was not running.
    pub async fn stale_workers(&mut self) -> Result<()> {
        let deployment = Arc::clone(&self.deployment);
        let link = deployment.link("agent-streaming -> postgres");
        for worker in deployment.of(Role::AgentStreaming) {
            ensure!(worker.pause().await, "{} was not running", worker.name);
            sleep(LEASE * 2).await;
            (0..MAX_HEARTBEATS).for_each(|_| link.drop_answer(HEARTBEAT));
            worker.resume().await;
            sleep(LEASE).await;
            link.heal();
            self.count("workers that continued lost turns");
        }
        Ok(())
    }

    /// Kills processes of the compiler while they work, as they appear. Their replicas of compile go on.
    ///
    /// # Errors
    /// None appears in time.
    pub async fn kill_compilers(&mut self, times: usize) -> Result<()> {
        let clock = Stopwatch::start();
        let mut killed = BTreeSet::new();
        while killed.len() < times {
            ensure!(clock.elapsed() < READY_WITHIN, "only {} of {times} compilers were found", killed.len());
            let mut replicas = Vec::new();
            for node in self.deployment.of(Role::Compile) {
                replicas.extend(node.process().await);
            }
            for process in children(&replicas)?.into_iter().filter(|process| compiles(*process)) {
                if killed.insert(process) && testing::signal(process, Signal::Kill).is_ok() {
                    self.count("compilers killed in mid-build");
                }
            }
            sleep(COMPILER_POLL).await;
        }
        Ok(())
    }

    /// Kills Redis and keeps it down for a long time.
    pub async fn redis_outage(&mut self) {
        let engines = Arc::clone(&self.deployment.engines);
        engines.crash_redis(OUTAGE_TIME).await;
        self.count("long redis outages");
    }

    /// Fires these failpoints once on every replica of their roles. Returns the failpoints that did not fire.
    ///
    /// # Errors
    /// A process does not start.
    pub async fn chosen_failpoints(&mut self, points: &[Point]) -> Result<Vec<String>> {
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
        while armed.iter().any(|node| !node.armed().is_empty()) && clock.elapsed() < FAULT_WITHIN {
            sleep(Duration::from_millis(50)).await;
        }
        let unfired = armed.into_iter().flat_map(|node| node.armed().into_iter().map(|point| format!("{} {}", node.name, point.place)));
        Ok(unfired.collect())
    }
}

/// The processes that these have started.
fn children(parents: &[u32]) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for parent in parents {
        // A process that ends meanwhile has no file.
        let Ok(threads) = std::fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for thread in threads.flatten() {
            let Ok(list) = std::fs::read_to_string(thread.path().join("children")) else { continue };
            found.extend(list.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
    }
    Ok(found)
}

/// Whether it is a process of the compiler that does not fetch packages. The end of one that does is no refusal: its page says that the
/// registry does not answer. A test of compile kills one.
fn compiles(process: u32) -> bool {
    let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let mut parts = line.split(|byte| *byte == 0);
    // Before it is the compiler, it has the command line of its parent.
    let is_compiler = parts.next() == Some(testing::compiler().as_os_str().as_encoded_bytes());
    is_compiler && parts.next().is_some_and(|argument| argument != b"fetch")
}

/// Begins a transaction that locks the next sequence numbers of every running turn. Returns `None` if no turn is running.
async fn lock_next_events(pool: &PgPool) -> sqlx::Result<Option<Transaction<'static, Postgres>>> {
    let mut transaction = chassis::postgres::begin_in_query(pool).await?;
    // The timeout resolves a deadlock with a batch that has locked some of the numbers and waits for others.
    sqlx::query("SET LOCAL lock_timeout = '50ms'").execute(&mut *transaction).await?;
    let insert = sqlx::query(
        "INSERT INTO turn_events (turn_id, seq, payload)
        SELECT t.id, (SELECT max(e.seq) FROM turn_events e WHERE e.turn_id = t.id) + place, ''::bytea
        FROM turns t, generate_series(1, $1) place WHERE t.state = 'running' ON CONFLICT DO NOTHING",
    );
    let held = insert.bind(LOCKED_EVENTS).execute(&mut *transaction).await?.rows_affected();
    Ok((held > 0).then_some(transaction))
}
