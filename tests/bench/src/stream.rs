//! From the model server through agent-streaming and the gateway to an SSE client, compared with a pipe that commits before it delivers, as
//! Backlot does. The start of a turn is compared with a pipe that commits as often before it calls the model server.

use std::{collections::BTreeMap, future::Future, pin::Pin, time::Duration};

use anyhow::Result;
use chassis::task;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::{
    environment::{Cluster, Environment, Process, progress},
    sample::{Samples, median, rotated},
    table::{Goal, Table, Unit, shown},
    upstream::{self, Load, Upstream},
    watch::{Observation, watch},
};

const ROUNDS: usize = 3;
/// Sequential turns, for the latency on an idle machine and the time to the first event.
const ALONE: Plan = Plan {
    targets: &[Target::Direct, Target::Pipe, Target::Log, Target::Turn, Target::Backlot],
    turns: 40,
    spread: None,
    load: Load { deltas: 25, pace: Duration::from_millis(2) },
};
/// Concurrent turns with 50 deltas per second each, for the CPU per event.
const TOGETHER: Plan = Plan {
    targets: &[Target::Pipe, Target::Log, Target::Backlot],
    turns: 64,
    spread: Some(Duration::from_secs(1)),
    load: Load { deltas: 250, pace: Duration::from_millis(20) },
};

/// The load of a round.
#[derive(Debug, Clone, Copy)]
struct Plan {
    targets: &'static [Target],
    turns: usize,
    /// The time over which the starts of concurrent turns are spread; `None` for sequential turns.
    spread: Option<Duration>,
    load: Load,
}

/// A path from the model server to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Direct,
    /// Copies bytes.
    Pipe,
    /// Commits each chunk before it delivers it.
    Log,
    /// Also commits before it calls the model server.
    Turn,
    Backlot,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Pipe => "pipe",
            Self::Log => "pipe with commit",
            Self::Turn => "pipe with a turn's commits",
            Self::Backlot => "backlot",
        }
    }
}

/// The figures of a target over all rounds.
#[derive(Debug, Default)]
struct Figures {
    opened: Samples,
    first: Samples,
    first_latency: Samples,
    latency: Samples,
    /// CPU seconds per million events: of the process and of PostgreSQL.
    cpu: Vec<f64>,
    postgres: Vec<f64>,
    rate: Vec<f64>,
}

impl Figures {
    fn cpu(&self) -> f64 {
        median(self.cpu.clone())
    }

    fn postgres(&self) -> f64 {
        median(self.postgres.clone())
    }
}

type All = BTreeMap<Target, Figures>;

struct Bench<'a> {
    environment: &'a Environment,
    cluster: &'a Cluster,
    upstream: &'a Upstream,
    pipe: Process,
    http: reqwest::Client,
}

pub(crate) async fn measure(environment: &Environment, cluster: &Cluster, upstream: &Upstream, table: &mut Table) -> Result<()> {
    let pipe = environment.helper(&["pipe", &upstream.url, &environment.baseline_url()]).await?;
    let bench = Bench { environment, cluster, upstream, pipe, http: reqwest::Client::builder().no_proxy().build()? };
    for target in ALONE.targets {
        bench.round(*target, Plan { turns: 20, ..ALONE }, &mut Figures::default()).await?;
    }
    progress("stream: sequential turns");
    alone(table, &bench.rounds(ALONE).await?);
    progress("stream: 64 concurrent turns");
    together(table, &bench.rounds(TOGETHER).await?);
    Ok(())
}

impl Bench<'_> {
    /// Runs all rounds with all targets.
    async fn rounds(&self, plan: Plan) -> Result<All> {
        let mut all = All::new();
        for round in 0..ROUNDS {
            for index in rotated(plan.targets.len(), round) {
                let target = plan.targets[index];
                self.round(target, plan, all.entry(target).or_default()).await?;
            }
        }
        Ok(all)
    }

    async fn round(&self, target: Target, plan: Plan, figures: &mut Figures) -> Result<()> {
        self.upstream.set(plan.load);
        let mut requests = Vec::with_capacity(plan.turns);
        for _ in 0..plan.turns {
            requests.push(self.request(target).await?);
        }
        let process = match target {
            Target::Direct => None,
            Target::Pipe | Target::Log | Target::Turn => Some(&self.pipe),
            Target::Backlot => Some(&self.cluster.process),
        };
        let cpu = || Some((process?.cpu()?, self.environment.postgres_cpu()?));
        let (before, start) = (cpu(), upstream::now());
        let seen = match plan.spread {
            None => sequential(requests, plan.load.deltas).await?,
            Some(spread) => concurrent(requests, plan.load.deltas, spread).await?,
        };
        let took = upstream::now() - start;
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52 events")]
        let events = seen.iter().map(|seen| seen.deltas).sum::<usize>() as f64;
        if let (Some(before), Some(after)) = (before, cpu()) {
            figures.cpu.push((after.0 - before.0).as_secs_f64() * 1e6 / events);
            // The CPU time of an exiting child may be missing for a moment, so the difference may be negative.
            figures.postgres.push(after.1.saturating_sub(before.1).as_secs_f64() * 1e6 / events);
        }
        figures.rate.push(events / took.as_secs_f64());
        for seen in seen {
            figures.opened.push(seen.opened);
            figures.first.push(seen.first);
            figures.first_latency.push(seen.first_latency);
            figures.latency.extend(seen.latencies);
        }
        Ok(())
    }

    /// A request that is answered with a stream. Creates the project that it needs.
    async fn request(&self, target: Target) -> Result<RequestBuilder> {
        let pipe = |path: &str| self.http.post(format!("{}{path}", self.pipe.url)).body("{}");
        Ok(match target {
            Target::Direct => self.http.post(format!("{}/v1/messages", self.upstream.url)).body("{}"),
            Target::Pipe => pipe("/pipe"),
            Target::Log => pipe("/log"),
            Target::Turn => pipe("/turn"),
            Target::Backlot => {
                let project = self.cluster.person.post("/api/projects", json!({ "displayName": "bench" })).await?;
                let body = json!({ "projectId": project["id"], "prompt": "tell me the time, again and again" });
                self.cluster.person.request(Method::POST, "/api/agent/stream").json(&body)
            }
        })
    }
}

async fn sequential(requests: Vec<RequestBuilder>, deltas: usize) -> Result<Vec<Observation>> {
    let mut seen = Vec::with_capacity(requests.len());
    for request in requests {
        seen.push(watch(request, deltas).await?);
    }
    Ok(seen)
}

/// Sends the requests concurrently, with starts spread over `spread`.
async fn concurrent(requests: Vec<RequestBuilder>, deltas: usize, spread: Duration) -> Result<Vec<Observation>> {
    let step = spread / u32::try_from(requests.len().max(1))?;
    let delayed = |index: usize, work: Pin<Box<dyn Future<Output = Result<Observation>> + Send>>| async move {
        tokio::time::sleep(step * u32::try_from(index)?).await;
        work.await
    };
    let numbered = requests.into_iter().enumerate();
    let tasks: Vec<_> = numbered.map(|(index, request)| task::spawn(delayed(index, Box::pin(watch(request, deltas))))).collect();
    let mut seen = Vec::with_capacity(tasks.len());
    for task in tasks {
        seen.push(task.await??);
    }
    Ok(seen)
}

fn alone(table: &mut Table, all: &All) {
    let (direct, log, turn, ours) = (&all[&Target::Direct], &all[&Target::Log], &all[&Target::Turn], &all[&Target::Backlot]);
    let what = "stream, 1 turn";
    latency(table, what, log, ours);
    let added = |figures: &Figures, of: fn(&Samples) -> f64| of(&figures.first) - of(&direct.first);
    // The baseline has the same number of commits as the start of a turn.
    let start = format!("{what}: request to first delta, compared with the commits of a turn");
    table.row(format!("{start}, p50"), Unit::Time, (added(turn, Samples::p50), added(ours, Samples::p50)), Goal::Times(3.0));
    table.row(format!("{start}, p99"), Unit::Time, (added(turn, Samples::p99), added(ours, Samples::p99)), Goal::Shown);
    notes(table, what, all);
    let times = added(ours, Samples::p50) / added(log, Samples::p50);
    let start = shown(Unit::Time, added(ours, Samples::p50));
    table.note(format!(
        "{what}: request to first delta takes {start} including the start of the turn, {times:.1} times a pipe that only commits the delta"
    ));
    #[allow(clippy::cast_precision_loss, reason = "a few events")]
    let turns = ALONE.load.deltas as f64 / 1e6;
    let (cpu, postgres) = (shown(Unit::Time, ours.cpu() * turns), shown(Unit::Time, ours.postgres() * turns));
    table.note(format!("{what}: CPU of a whole turn of {} deltas: backlot {cpu}, PostgreSQL {postgres}", ALONE.load.deltas));
}

fn together(table: &mut Table, all: &All) {
    let (log, ours) = (&all[&Target::Log], &all[&Target::Backlot]);
    let what = "stream, 64 turns";
    table.row(format!("{what}: CPU per event"), Unit::CpuPerMillion, (log.cpu(), ours.cpu()), Goal::Times(2.7));
    let whole = (log.cpu() + log.postgres(), ours.cpu() + ours.postgres());
    table.row(format!("{what}: CPU per event with PostgreSQL"), Unit::CpuPerMillion, whole, Goal::None);
    latency(table, what, log, ours);
    notes(table, what, all);
}

/// From the model server to the client.
fn latency(table: &mut Table, what: &str, log: &Figures, ours: &Figures) {
    let first = format!("{what}: first delta, model server to client");
    table.row(format!("{first}, p50"), Unit::Time, (log.first_latency.p50(), ours.first_latency.p50()), Goal::Times(3.0));
    table.row(format!("{first}, p99"), Unit::Time, (log.first_latency.p99(), ours.first_latency.p99()), Goal::Tail(5.0));
    let every = format!("{what}: every delta, model server to client");
    table.row(format!("{every}, p50"), Unit::Time, (log.latency.p50(), ours.latency.p50()), Goal::None);
    table.row(format!("{every}, p99"), Unit::Time, (log.latency.p99(), ours.latency.p99()), Goal::Tail(5.0));
}

fn notes(table: &mut Table, what: &str, all: &All) {
    let both = |samples: &Samples| format!("{} / {}", shown(Unit::Time, samples.p50()), shown(Unit::Time, samples.p99()));
    for (target, figures) in all {
        table.note(format!(
            "{what}: {}: {}, CPU {}, PostgreSQL {}; p50 / p99: request to first byte {}, to first delta {}, latency of the first delta {}, latency of every delta {}",
            target.name(),
            shown(Unit::Rate, median(figures.rate.clone())),
            shown(Unit::CpuPerMillion, figures.cpu()),
            shown(Unit::CpuPerMillion, figures.postgres()),
            both(&figures.opened),
            both(&figures.first),
            both(&figures.first_latency),
            both(&figures.latency)
        ));
    }
}
