//! 1, 64, 512 and 2,000 concurrent turns, each on new processes: the cost and latency of an event, the memory of an open stream, and the
//! latency of other users. There are two baselines in the same run: a byte pipe, and a pipe that commits before it delivers, as Backlot
//! does.
//!
//! The figures are measured while all streams are open, so they do not include the start and the end of turns. `viewers` follows the turns,
//! `other_user` sends requests meanwhile, `queries` counts database calls, and `rows` adds the rows of the table.

mod other_user;
mod queries;
mod rows;
mod viewers;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use reqwest::RequestBuilder;
use tokio::time::sleep;

pub(crate) use self::viewers::{People, Viewers};
use self::{other_user::OtherUser, queries::Queries};
use crate::{
    environment::{Cluster, Environment, Process, progress},
    proc,
    sample::{Samples, rotated},
    table::Table,
    upstream::{self, Load, Upstream},
};

/// The duration of a measurement.
const WINDOW: Duration = Duration::from_secs(8);
/// The time between the start of the last stream and the measurement.
const SETTLE_TIME: Duration = Duration::from_secs(1);
/// The turns before the first round, which fill caches and pools.
const WARM_UP: Size = Size { turns: 16, pace: Duration::from_millis(10), starts: 20, rounds: 1 };
/// The limit for the start of a stream, and for a cluster to become idle.
const TIMEOUT: Duration = Duration::from_secs(120);
/// A process that uses less CPU time per second counts as idle.
const IDLE_CPU: Duration = Duration::from_millis(100);
/// The number of descriptors besides those of the streams.
const SPARE_FILES: usize = 500;

pub(crate) const SIZES: [Size; 4] = [
    Size { turns: 1, pace: Duration::from_millis(5), starts: 1, rounds: 3 },
    Size { turns: 64, pace: Duration::from_millis(50), starts: 20, rounds: 3 },
    Size { turns: 512, pace: Duration::from_millis(50), starts: 40, rounds: 1 },
    Size { turns: 2_000, pace: Duration::from_millis(200), starts: 40, rounds: 1 },
];

/// The load of a measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) turns: usize,
    /// The time between two deltas of a turn.
    pace: Duration,
    /// The number of turns that start per second.
    starts: u32,
    rounds: usize,
}

/// A path from the model server to the viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// Copies bytes.
    Pipe,
    /// Commits each chunk before it delivers it.
    Log,
    Backlot,
}

impl Target {
    const ALL: [Self; 3] = [Self::Pipe, Self::Log, Self::Backlot];

    fn name(self) -> &'static str {
        match self {
            Self::Pipe => "bare pipe",
            Self::Log => "pipe with commit",
            Self::Backlot => "backlot",
        }
    }

    /// The marker at the end of a complete answer.
    fn end_marker(self) -> &'static [u8] {
        match self {
            Self::Pipe | Self::Log => b"message_stop",
            Self::Backlot => b"turn.completed",
        }
    }
}

/// The figures of a target over all rounds.
#[derive(Debug, Default)]
struct Figures {
    /// CPU seconds per million deltas: of the process and of PostgreSQL.
    cpu: Vec<f64>,
    postgres: Vec<f64>,
    /// Deltas per second: sent by the model server and received by the viewers.
    offered: Vec<f64>,
    delivered: Vec<f64>,
    /// The growth of the process in bytes per stream.
    memory: Vec<f64>,
    first: Samples,
    first_latency: Samples,
    latency: Samples,
    queries: Queries,
    failures: Vec<String>,
}

/// The figures of one size.
#[derive(Default)]
struct Outcome {
    targets: BTreeMap<Target, Figures>,
    /// The requests of another user on an idle cluster and during the streams.
    idle: other_user::Requests,
    during: other_user::Requests,
    /// The time from the end of the last turn until the cluster was idle, and its CPU time in that.
    settled: Vec<(Duration, Duration)>,
}

struct Bench<'a> {
    environment: &'a Environment,
    upstream: &'a Upstream,
    cluster: Cluster,
    pipe: Process,
    people: People,
    http: reqwest::Client,
    other_user: OtherUser,
}

pub(crate) async fn measure(environment: &Environment, upstream: &Upstream, sizes: &[Size], table: &mut Table) -> Result<()> {
    for size in sizes {
        // This process has two descriptors per stream.
        let needed = size.turns * 2 + SPARE_FILES;
        let allowed = proc::open_files().unwrap_or(usize::MAX);
        ensure!(allowed >= needed, "{} streams need {needed} open files, the limit is {allowed}; see `ulimit -n`", size.turns);
        let cluster = environment.cluster("scale", &upstream.url, &[]).await?;
        let people = People::sign_up(&cluster.process.url, size.turns.max(WARM_UP.turns)).await?;
        let other_user = OtherUser::new(&cluster).await?;
        let pipe = environment.helper(&["pipe", &upstream.url, &environment.baseline_url()]).await?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let bench = Bench { environment, upstream, cluster, pipe, people, http, other_user };
        let outcome = bench.outcome(*size).await.with_context(|| format!("{} turns", size.turns))?;
        rows::add(table, *size, &outcome);
    }
    Ok(())
}

impl Bench<'_> {
    async fn outcome(&self, size: Size) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        for target in Target::ALL {
            let mut figures = Figures::default();
            self.round(target, WARM_UP, &mut figures).await?;
            ensure!(figures.failures.is_empty(), "warm-up: {:?}", figures.failures);
        }
        settle(&self.cluster.process).await?;
        outcome.idle = self.other_user.send_requests(WINDOW).await?;
        for round in 0..size.rounds {
            for index in rotated(Target::ALL.len(), round) {
                let target = Target::ALL[index];
                progress(&format!("scale: {} turns, round {}: {}", size.turns, round + 1, target.name()));
                let viewers = self.round(target, size, outcome.targets.entry(target).or_default()).await?;
                if target == Target::Backlot {
                    outcome.during.extend(viewers);
                    outcome.settled.push(settle(&self.cluster.process).await?);
                }
            }
        }
        Ok(outcome)
    }

    /// Opens all streams, measures, and waits for their ends. Returns the requests of another user meanwhile.
    async fn round(&self, target: Target, size: Size, figures: &mut Figures) -> Result<other_user::Requests> {
        let process = self.process(target);
        self.upstream.set(Load::endless(size.pace));
        let (memory, sent) = (process.memory(), self.upstream.sent());
        let requests = (0..size.turns).map(|index| self.request(target, index)).collect();
        let viewers = Viewers::start(requests, Duration::from_secs(1) / size.starts, target.end_marker());
        viewers.wait_until_started(TIMEOUT).await?;
        sleep(SETTLE_TIME).await;
        self.window(target, &viewers, figures).await?;
        #[allow(clippy::cast_precision_loss, reason = "a few thousand turns")]
        if let (Some(before), Some(after)) = (memory, process.memory()) {
            figures.memory.push((after - before).max(0.0) / size.turns as f64);
        }
        // After the measurement, which must not include these requests.
        let requests_of_other = if target == Target::Backlot && size.turns != WARM_UP.turns {
            self.other_user.send_requests(WINDOW).await?
        } else {
            other_user::Requests::default()
        };
        self.upstream.end_answers();
        let (observations, failures) = viewers.rest().await;
        let seen: u64 = observations.iter().map(|observation| observation.deltas).sum();
        let sent = self.upstream.sent() - sent;
        figures.failures.extend(failures.into_iter().map(|error| format!("{error:#}")));
        ensure!(!figures.failures.is_empty() || seen == sent, "{}: {seen} of {sent} deltas arrived", target.name());
        for observation in observations {
            figures.first.push(observation.first);
            figures.first_latency.push(observation.first_latency);
            figures.latency.extend(observation.latencies);
        }
        Ok(requests_of_other)
    }

    #[allow(clippy::cast_precision_loss, reason = "far below 2^52 deltas")]
    async fn window(&self, target: Target, viewers: &Viewers, figures: &mut Figures) -> Result<()> {
        let process = self.process(target);
        let usage = || Some((process.cpu()?, self.environment.postgres_cpu()?));
        let queries = self.queries(target).await?;
        let (start, before, sent, seen) = (upstream::now(), usage(), self.upstream.sent(), viewers.deltas());
        viewers.record(true);
        sleep(WINDOW).await;
        viewers.record(false);
        let (took, after) = (upstream::now() - start, usage());
        let (sent, seen) = ((self.upstream.sent() - sent) as f64, (viewers.deltas() - seen) as f64);
        if let (Some(before), Some(after)) = (before, after) {
            figures.cpu.push((after.0 - before.0).as_secs_f64() * 1e6 / seen);
            // The CPU time of an exiting child may be missing for a moment, so the difference may be negative.
            figures.postgres.push(after.1.saturating_sub(before.1).as_secs_f64() * 1e6 / seen);
        }
        figures.offered.push(sent / took.as_secs_f64());
        figures.delivered.push(seen / took.as_secs_f64());
        figures.queries.add(&self.queries(target).await?.since(&queries));
        Ok(())
    }

    async fn queries(&self, target: Target) -> Result<Queries> {
        match target {
            Target::Backlot => Queries::read(&self.http, &self.cluster.metrics).await,
            Target::Pipe | Target::Log => Ok(Queries::default()),
        }
    }

    fn process(&self, target: Target) -> &Process {
        match target {
            Target::Pipe | Target::Log => &self.pipe,
            Target::Backlot => &self.cluster.process,
        }
    }

    fn request(&self, target: Target, index: usize) -> RequestBuilder {
        let pipe = |path: &str| self.http.post(format!("{}{path}", self.pipe.url)).body("{}");
        match target {
            Target::Pipe => pipe("/pipe"),
            Target::Log => pipe("/log"),
            Target::Backlot => self.people.turn(index),
        }
    }
}

/// Waits until a process is idle. Returns the time and the CPU time that this took.
pub(crate) async fn settle(process: &Process) -> Result<(Duration, Duration)> {
    let start = upstream::now();
    let first = process.cpu().context("no /proc")?;
    let mut before = first;
    while upstream::now() - start < TIMEOUT {
        sleep(Duration::from_secs(1)).await;
        let cpu = process.cpu().context("no /proc")?;
        if cpu - before < IDLE_CPU {
            return Ok((upstream::now() - start, cpu - first));
        }
        before = cpu;
    }
    anyhow::bail!("the process is still busy after {TIMEOUT:?}")
}
