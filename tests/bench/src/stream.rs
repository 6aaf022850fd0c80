//! From the model server through agent-streaming and the gateway to an SSE client, compared with a pipe that commits what it delivers,
//! which is what Backlot promises. The work of a turn before it calls the model is compared with a pipe that commits as often.

use std::{collections::BTreeMap, future::Future, pin::Pin, time::Duration};

use anyhow::Result;
use chassis::task;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::{
    ground::{Cluster, Ground, Process, progress},
    sample::{Samples, median, rotated},
    table::{Goal, Table, Unit, shown},
    upstream::{self, Load, Upstream},
    watch::{Seen, watch},
};

const ROUNDS: usize = 3;
/// One turn after the other: the first event counts, and the path of an idle machine.
const ALONE: Plan = Plan {
    targets: &[Target::Direct, Target::Pipe, Target::Log, Target::Turn, Target::Backlot],
    turns: 40,
    spread: None,
    load: Load { deltas: 25, pace: Duration::from_millis(2) },
};
/// Many turns side by side, 50 deltas a second each: CPU per event counts.
const TOGETHER: Plan = Plan {
    targets: &[Target::Pipe, Target::Log, Target::Backlot],
    turns: 64,
    spread: Some(Duration::from_secs(1)),
    load: Load { deltas: 250, pace: Duration::from_millis(20) },
};

/// What a round asks of each target.
#[derive(Debug, Clone, Copy)]
struct Plan {
    targets: &'static [Target],
    turns: usize,
    /// The time over which turns that run side by side begin.
    spread: Option<Duration>,
    load: Load,
}

/// A way from the model server to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Direct,
    /// Copies bytes.
    Pipe,
    /// Commits each piece before it delivers it.
    Log,
    /// Commits before it calls the model server, too.
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

/// What a target did over all rounds.
#[derive(Debug, Default)]
struct Figures {
    opened: Samples,
    first: Samples,
    first_latency: Samples,
    latency: Samples,
    /// CPU seconds for a million events: of the process, of PostgreSQL.
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
    ground: &'a Ground,
    cluster: &'a Cluster,
    upstream: &'a Upstream,
    pipe: Process,
    http: reqwest::Client,
}

pub(crate) async fn measure(ground: &Ground, cluster: &Cluster, upstream: &Upstream, table: &mut Table) -> Result<()> {
    let pipe = ground.helper(&["pipe", &upstream.url, &ground.floor_url()]).await?;
    let bench = Bench { ground, cluster, upstream, pipe, http: reqwest::Client::builder().no_proxy().build()? };
    for target in ALONE.targets {
        bench.round(*target, Plan { turns: 20, ..ALONE }, &mut Figures::default()).await?;
    }
    progress("stream: one turn after the other");
    alone(table, &bench.rounds(ALONE).await?);
    progress("stream: 64 turns side by side");
    together(table, &bench.rounds(TOGETHER).await?);
    Ok(())
}

impl Bench<'_> {
    /// All targets in turn, in every round.
    async fn rounds(&self, plan: Plan) -> Result<All> {
        let mut all = All::new();
        for round in 0..ROUNDS {
            for place in rotated(plan.targets.len(), round) {
                let target = plan.targets[place];
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
        let cpu = || Some((process?.cpu()?, self.ground.postgres_cpu()?));
        let (before, start) = (cpu(), upstream::now());
        let seen = match plan.spread {
            None => one_by_one(requests, plan.load.deltas).await?,
            Some(spread) => side_by_side(requests, plan.load.deltas, spread).await?,
        };
        let took = upstream::now() - start;
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52 events")]
        let events = seen.iter().map(|seen| seen.deltas).sum::<usize>() as f64;
        if let (Some(before), Some(after)) = (before, cpu()) {
            figures.cpu.push((after.0 - before.0).as_secs_f64() * 1e6 / events);
            // Of a server that forgets a child between its own death and its last count, less may be seen than before.
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

    /// A request that will be answered with a stream; whatever it needs exists.
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

async fn one_by_one(requests: Vec<RequestBuilder>, deltas: usize) -> Result<Vec<Seen>> {
    let mut seen = Vec::with_capacity(requests.len());
    for request in requests {
        seen.push(watch(request, deltas).await?);
    }
    Ok(seen)
}

/// Spread over a time, so that they do not all begin at once.
async fn side_by_side(requests: Vec<RequestBuilder>, deltas: usize, spread: Duration) -> Result<Vec<Seen>> {
    let step = spread / u32::try_from(requests.len().max(1))?;
    let late = |place: usize, work: Pin<Box<dyn Future<Output = Result<Seen>> + Send>>| async move {
        tokio::time::sleep(step * u32::try_from(place)?).await;
        work.await
    };
    let numbered = requests.into_iter().enumerate();
    let tasks: Vec<_> = numbered.map(|(place, request)| task::spawn(late(place, Box::pin(watch(request, deltas))))).collect();
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
    // Relays have no turn to begin; what a turn owes to whoever may crash is part of its floor.
    let start = format!("{what}: request to first delta, beside a turn's commits");
    table.row(format!("{start}, p50"), Unit::Time, (added(turn, Samples::p50), added(ours, Samples::p50)), Goal::Times(3.0));
    table.row(format!("{start}, p99"), Unit::Time, (added(turn, Samples::p99), added(ours, Samples::p99)), Goal::Shown);
    notes(table, what, all);
    let times = added(ours, Samples::p50) / added(log, Samples::p50);
    let start = shown(Unit::Time, added(ours, Samples::p50));
    table.note(format!(
        "{what}: request to first delta takes {start}, the start of the turn included: {times:.1} times a relay that only commits the delta"
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
            "{what}: {}: {}, CPU {}, PostgreSQL {}; p50 / p99: request to first byte {}, to first delta {}, its way {}, every delta's way {}",
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
