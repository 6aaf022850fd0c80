//! From the model server through agent-streaming and the gateway to an SSE client, beside a pipe of bytes and beside a pipe that
//! commits what it delivers, which is what Backlot promises. Straight from the model server is what all three add to.

use std::{future::Future, time::Duration};

use anyhow::Result;
use chassis::task;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::{
    ground::{Cluster, Ground, Process, progress},
    sample::{Samples, median, rotated},
    table::{Goal, Table, Unit, shown},
    upstream::{Load, Upstream},
    watch::{Seen, watch},
};

const ROUNDS: usize = 3;
/// One turn after the other: the first event counts, and the path of an idle machine.
const ALONE: Plan = Plan { together: 1, turns: 40, load: Load { deltas: 25, pace: Duration::from_millis(2) } };
/// Many turns side by side, 50 deltas a second each: CPU per event counts.
const TOGETHER: Plan = Plan { together: 64, turns: 64, load: Load { deltas: 250, pace: Duration::from_millis(20) } };

/// What a target is put to in a round.
#[derive(Debug, Clone, Copy)]
struct Plan {
    together: usize,
    turns: usize,
    load: Load,
}

/// A way from the model server to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Direct,
    Pipe,
    Log,
    Backlot,
}

const TARGETS: [Target; 4] = [Target::Direct, Target::Pipe, Target::Log, Target::Backlot];

/// What a target did over all rounds.
#[derive(Debug, Default)]
struct Figures {
    first: Samples,
    latency: Samples,
    /// CPU seconds for a million events: of the process, of PostgreSQL.
    cpu: Vec<f64>,
    postgres: Vec<f64>,
    rate: Vec<f64>,
}

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
    for target in TARGETS {
        bench.round(target, Plan { turns: 5, ..ALONE }, &mut Figures::default()).await?;
    }
    progress("stream: one turn after the other");
    alone(table, &bench.rounds(ALONE).await?);
    progress("stream: 64 turns side by side");
    together(table, &bench.rounds(TOGETHER).await?);
    Ok(())
}

impl Bench<'_> {
    /// All targets in turn, in every round.
    async fn rounds(&self, plan: Plan) -> Result<[Figures; 4]> {
        let mut figures: [Figures; 4] = Default::default();
        for round in 0..ROUNDS {
            for place in rotated(TARGETS.len(), round) {
                self.round(TARGETS[place], plan, &mut figures[place]).await?;
            }
        }
        Ok(figures)
    }

    async fn round(&self, target: Target, plan: Plan, figures: &mut Figures) -> Result<()> {
        self.upstream.set(plan.load);
        let mut requests = Vec::with_capacity(plan.turns);
        for _ in 0..plan.turns {
            requests.push(self.request(target).await?);
        }
        let process = match target {
            Target::Direct => None,
            Target::Pipe | Target::Log => Some(&self.pipe),
            Target::Backlot => Some(&self.cluster.process),
        };
        let cpu = || Some((process?.cpu()?, self.ground.postgres_cpu()?));
        let (before, start) = (cpu(), crate::upstream::now());
        let seen = if plan.together == 1 { one_by_one(requests, plan).await? } else { side_by_side(requests, plan).await? };
        let took = crate::upstream::now() - start;
        let events: usize = seen.iter().map(|seen| seen.deltas).sum();
        if let (Some(before), Some(after)) = (before, cpu()) {
            figures.cpu.push(per_million(after.0 - before.0, events));
            figures.postgres.push(per_million(after.1 - before.1, events));
        }
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52 events")]
        figures.rate.push(events as f64 / took.as_secs_f64());
        for seen in seen {
            figures.first.push(seen.first);
            figures.latency.extend(seen.latencies);
        }
        Ok(())
    }

    /// A request that will be answered with a stream; whatever it needs exists.
    async fn request(&self, target: Target) -> Result<RequestBuilder> {
        let post = |url: String| self.http.post(url).body("{}");
        Ok(match target {
            Target::Direct => post(format!("{}/v1/messages", self.upstream.url)),
            Target::Pipe => post(format!("{}/pipe", self.pipe.url)),
            Target::Log => post(format!("{}/log", self.pipe.url)),
            Target::Backlot => {
                let project = self.cluster.person.post("/api/projects", json!({ "displayName": "bench" })).await?;
                let body = json!({ "projectId": project["id"], "prompt": "tell me the time, again and again" });
                self.cluster.person.request(Method::POST, "/api/agent/stream").json(&body)
            }
        })
    }
}

async fn one_by_one(requests: Vec<RequestBuilder>, plan: Plan) -> Result<Vec<Seen>> {
    let mut seen = Vec::with_capacity(requests.len());
    for request in requests {
        seen.push(watch(request, plan.load.deltas).await?);
    }
    Ok(seen)
}

/// Spread over the time between two deltas, so that they do not all come at once.
async fn side_by_side(requests: Vec<RequestBuilder>, plan: Plan) -> Result<Vec<Seen>> {
    let step = plan.load.pace / u32::try_from(requests.len().max(1))?;
    let late = |place: usize, work: std::pin::Pin<Box<dyn Future<Output = Result<Seen>> + Send>>| async move {
        tokio::time::sleep(step * u32::try_from(place)?).await;
        work.await
    };
    let tasks: Vec<_> = requests
        .into_iter()
        .enumerate()
        .map(|(place, request)| task::spawn(late(place, Box::pin(watch(request, plan.load.deltas)))))
        .collect();
    let mut seen = Vec::with_capacity(tasks.len());
    for task in tasks {
        seen.push(task.await??);
    }
    Ok(seen)
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52 events")]
fn per_million(cpu: Duration, events: usize) -> f64 {
    cpu.as_secs_f64() * 1e6 / events as f64
}

fn alone(table: &mut Table, [direct, pipe, log, ours]: &[Figures; 4]) {
    let added = |figures: &Figures, of: fn(&Samples) -> f64| of(&figures.first) - of(&direct.first);
    let what = "stream, 1 turn: first event added";
    table.row(format!("{what}, p50"), Unit::Time, (added(log, Samples::p50), added(ours, Samples::p50)), Goal::Times(3.0));
    table.row(format!("{what}, p99"), Unit::Time, (added(log, Samples::p99), added(ours, Samples::p99)), Goal::Times(5.0));
    latency(table, "stream, 1 turn", log, ours);
    table.note(format!(
        "stream, 1 turn: first event p50/p99: direct {}, pipe {}, pipe with commit {}, backlot {}",
        both(&direct.first),
        both(&pipe.first),
        both(&log.first),
        both(&ours.first)
    ));
}

fn together(table: &mut Table, [direct, pipe, log, ours]: &[Figures; 4]) {
    let cpu = |figures: &Figures| median(figures.cpu.clone());
    let postgres = |figures: &Figures| median(figures.postgres.clone());
    let what = "stream, 64 turns";
    table.row(format!("{what}: CPU per event"), Unit::CpuPerMillion, (cpu(log), cpu(ours)), Goal::Times(2.7));
    let all = (cpu(log) + postgres(log), cpu(ours) + postgres(ours));
    table.row(format!("{what}: CPU per event with PostgreSQL"), Unit::CpuPerMillion, all, Goal::None);
    latency(table, what, log, ours);
    for (name, figures) in [("direct", direct), ("pipe", pipe), ("pipe with commit", log), ("backlot", ours)] {
        table.note(format!(
            "{what}: {name}: {} events, CPU {}, PostgreSQL {}, first event {}, event latency {}",
            shown(Unit::Rate, median(figures.rate.clone())),
            shown(Unit::CpuPerMillion, cpu(figures)),
            shown(Unit::CpuPerMillion, postgres(figures)),
            both(&figures.first),
            both(&figures.latency)
        ));
    }
}

fn latency(table: &mut Table, what: &str, log: &Figures, ours: &Figures) {
    table.row(format!("{what}: event latency, p50"), Unit::Time, (log.latency.p50(), ours.latency.p50()), Goal::None);
    table.row(format!("{what}: event latency, p99"), Unit::Time, (log.latency.p99(), ours.latency.p99()), Goal::Times(5.0));
}

fn both(samples: &Samples) -> String {
    format!("{} / {}", shown(Unit::Time, samples.p50()), shown(Unit::Time, samples.p99()))
}
