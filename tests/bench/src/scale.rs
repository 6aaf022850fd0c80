//! 1, 64, 512 and 2,000 concurrent turns, each on new processes: the cost and latency of an event, the memory of an open stream, and the
//! latency that other users see. There are two baselines in the same run: a pipe of bytes, and a pipe that commits what it delivers, which
//! is what Backlot promises.
//!
//! The figures are taken while all streams are open, so they do not include the start and the end of turns.
//! `crowd` has the viewers, `visit` the other users, `queries` counts database calls, and `rows` judges.

mod crowd;
mod queries;
mod rows;
mod visit;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use reqwest::RequestBuilder;
use tokio::time::sleep;

pub(crate) use self::crowd::{Audience, People};
use self::{queries::Queries, visit::Visitor};
use crate::{
    ground::{Cluster, Ground, Process, progress},
    proc,
    sample::{Samples, rotated},
    table::Table,
    upstream::{self, Load, Upstream},
};

/// How long figures are taken.
const WINDOW: Duration = Duration::from_secs(8);
/// Between the start of the last stream and the window.
const CALM: Duration = Duration::from_secs(1);
/// Turns before the first round, so that code and pools are there.
const WARM_UP: Size = Size { turns: 16, pace: Duration::from_millis(10), starts: 20, rounds: 1 };
/// How long a stream may take to begin, and a cluster to become quiet.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of one second; a cluster that uses less does nothing worth a word.
const QUIET: Duration = Duration::from_millis(100);
/// Sockets and files besides those of the streams.
const SPARE_FILES: usize = 500;

pub(crate) const SIZES: [Size; 4] = [
    Size { turns: 1, pace: Duration::from_millis(5), starts: 1, rounds: 3 },
    Size { turns: 64, pace: Duration::from_millis(50), starts: 20, rounds: 3 },
    Size { turns: 512, pace: Duration::from_millis(50), starts: 40, rounds: 1 },
    Size { turns: 2_000, pace: Duration::from_millis(200), starts: 40, rounds: 1 },
];

/// What is offered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) turns: usize,
    /// Between two deltas of a turn.
    pace: Duration,
    /// Turns that begin in a second.
    starts: u32,
    rounds: usize,
}

/// A way from the model server to the viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// Copies bytes.
    Pipe,
    /// Commits each piece before it delivers it.
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

    /// What only a whole answer ends with.
    fn last_words(self) -> &'static [u8] {
        match self {
            Self::Pipe | Self::Log => b"message_stop",
            Self::Backlot => b"turn.completed",
        }
    }
}

/// What a target did over all rounds.
#[derive(Debug, Default)]
struct Figures {
    /// CPU seconds for a million deltas: of the process, of PostgreSQL.
    cpu: Vec<f64>,
    postgres: Vec<f64>,
    /// Deltas a second: sent by the model server, seen by the viewers.
    offered: Vec<f64>,
    delivered: Vec<f64>,
    /// Bytes that the process has grown by, for each stream.
    memory: Vec<f64>,
    first: Samples,
    first_latency: Samples,
    latency: Samples,
    queries: Queries,
    failures: Vec<String>,
}

/// Everything that was measured at one size.
#[derive(Default)]
struct Outcome {
    targets: BTreeMap<Target, Figures>,
    /// Everybody else, beside an idle cluster and beside the streams.
    alone: visit::Visits,
    among: visit::Visits,
    /// From the end of the last turn until the cluster did nothing any more, and its CPU time for that.
    settled: Vec<(Duration, Duration)>,
}

struct Bench<'a> {
    ground: &'a Ground,
    upstream: &'a Upstream,
    cluster: Cluster,
    pipe: Process,
    people: People,
    http: reqwest::Client,
    visitor: Visitor,
}

pub(crate) async fn measure(ground: &Ground, upstream: &Upstream, sizes: &[Size], table: &mut Table) -> Result<()> {
    for size in sizes {
        // This process has both ends of every stream.
        let needed = size.turns * 2 + SPARE_FILES;
        let allowed = proc::open_files().unwrap_or(usize::MAX);
        ensure!(allowed >= needed, "{} streams need {needed} open files, the limit is {allowed}; see `ulimit -n`", size.turns);
        let cluster = ground.cluster("scale", &upstream.url, &[]).await?;
        let people = People::sign_up(&cluster.process.url, size.turns.max(WARM_UP.turns)).await?;
        let visitor = Visitor::arrive(&cluster).await?;
        let pipe = ground.helper(&["pipe", &upstream.url, &ground.floor_url()]).await?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let bench = Bench { ground, upstream, cluster, pipe, people, http, visitor };
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
            ensure!(figures.failures.is_empty(), "warming up: {:?}", figures.failures);
        }
        settle(&self.cluster.process).await?;
        outcome.alone = self.visitor.visit(WINDOW).await?;
        for round in 0..size.rounds {
            for place in rotated(Target::ALL.len(), round) {
                let target = Target::ALL[place];
                progress(&format!("scale: {} turns, round {}: {}", size.turns, round + 1, target.name()));
                let audience = self.round(target, size, outcome.targets.entry(target).or_default()).await?;
                if target == Target::Backlot {
                    outcome.among.extend(audience);
                    outcome.settled.push(settle(&self.cluster.process).await?);
                }
            }
        }
        Ok(outcome)
    }

    /// Fills the hall, takes the figures, and lets every stream come to its end. Answers what visitors saw meanwhile.
    async fn round(&self, target: Target, size: Size, figures: &mut Figures) -> Result<visit::Visits> {
        let process = self.process(target);
        self.upstream.set(Load::endless(size.pace));
        let (memory, sent) = (process.memory(), self.upstream.sent());
        let requests = (0..size.turns).map(|place| self.request(target, place)).collect();
        let audience = Audience::enter(requests, Duration::from_secs(1) / size.starts, target.last_words());
        audience.seated(PATIENCE).await?;
        sleep(CALM).await;
        self.window(target, &audience, figures).await?;
        #[allow(clippy::cast_precision_loss, reason = "a few thousand turns")]
        if let (Some(before), Some(after)) = (memory, process.memory()) {
            figures.memory.push((after - before).max(0.0) / size.turns as f64);
        }
        // After the figures were taken, so that nobody pays for visitors there.
        let visits = if target == Target::Backlot && size.turns != WARM_UP.turns {
            self.visitor.visit(WINDOW).await?
        } else {
            visit::Visits::default()
        };
        self.upstream.enough();
        let (viewed, failures) = audience.rest().await;
        let seen: u64 = viewed.iter().map(|viewed| viewed.deltas).sum();
        let sent = self.upstream.sent() - sent;
        figures.failures.extend(failures.into_iter().map(|error| format!("{error:#}")));
        ensure!(!figures.failures.is_empty() || seen == sent, "{}: {seen} of {sent} deltas arrived", target.name());
        for viewed in viewed {
            figures.first.push(viewed.first);
            figures.first_latency.push(viewed.first_latency);
            figures.latency.extend(viewed.latencies);
        }
        Ok(visits)
    }

    #[allow(clippy::cast_precision_loss, reason = "far below 2^52 deltas")]
    async fn window(&self, target: Target, audience: &Audience, figures: &mut Figures) -> Result<()> {
        let process = self.process(target);
        let usage = || Some((process.cpu()?, self.ground.postgres_cpu()?));
        let queries = self.queries(target).await?;
        let (start, before, sent, seen) = (upstream::now(), usage(), self.upstream.sent(), audience.deltas());
        audience.record(true);
        sleep(WINDOW).await;
        audience.record(false);
        let (took, after) = (upstream::now() - start, usage());
        let (sent, seen) = ((self.upstream.sent() - sent) as f64, (audience.deltas() - seen) as f64);
        if let (Some(before), Some(after)) = (before, after) {
            figures.cpu.push((after.0 - before.0).as_secs_f64() * 1e6 / seen);
            // Of a server that forgets a child between its own death and its last count, less may be seen than before.
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

    fn request(&self, target: Target, place: usize) -> RequestBuilder {
        let pipe = |path: &str| self.http.post(format!("{}{path}", self.pipe.url)).body("{}");
        match target {
            Target::Pipe => pipe("/pipe"),
            Target::Log => pipe("/log"),
            Target::Backlot => self.people.turn(place),
        }
    }
}

/// Waits until a process does nothing any more: how long that took, and its CPU time for it.
pub(crate) async fn settle(process: &Process) -> Result<(Duration, Duration)> {
    let start = upstream::now();
    let first = process.cpu().context("no /proc")?;
    let mut before = first;
    while upstream::now() - start < PATIENCE {
        sleep(Duration::from_secs(1)).await;
        let cpu = process.cpu().context("no /proc")?;
        if cpu - before < QUIET {
            return Ok((upstream::now() - start, cpu - first));
        }
        before = cpu;
    }
    anyhow::bail!("the process is still busy after {PATIENCE:?}")
}
