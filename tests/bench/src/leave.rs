//! The remaining work after all viewers have left: the time until the model server sees the end of its connection, and the CPU time of the
//! process. The streams of the pipe end with their viewers. A turn continues without viewers, so it is cancelled.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    environment::{Environment, Process, progress},
    sample::Samples,
    scale::{People, Viewers, settle},
    table::{Goal, Table, Unit, shown},
    upstream::{AbandonedAnswers, Load, Upstream, now},
};

/// The number of sequential cancels.
const TIMES: usize = 20;
/// The number of streams that end together.
const TURNS: usize = 256;
/// The time between two deltas. It is longer than the goal, so that a failed write is not mistaken for a closed connection.
const PACE: Duration = Duration::from_secs(1);
/// The time between two requests.
const PAUSE: Duration = Duration::from_millis(25);
const CANCELS_AT_ONCE: usize = 16;
/// The interval in which CPU time is measured.
const WINDOW: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(60);
/// The goals, in seconds.
const CLOSED: f64 = 0.1;
const CPU: f64 = 0.05;

pub(crate) async fn measure(environment: &Environment, upstream: &Upstream, table: &mut Table) -> Result<()> {
    let cluster = environment.cluster("leave", &upstream.url, &[]).await?;
    let pipe = environment.helper(&["pipe", &upstream.url, &environment.baseline_url()]).await?;
    let people = People::sign_up(&cluster.process.url, TURNS).await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let bench = Bench { upstream, people, pipe, http, process: cluster.process };
    upstream.set(Load::endless(PACE));
    bench.one(Target::Backlot).await?;

    progress("leave: sequential cancels");
    let (mut baseline, mut ours) = (Samples::default(), Samples::default());
    for _ in 0..TIMES {
        baseline.push(bench.one(Target::Pipe).await?);
        ours.push(bench.one(Target::Backlot).await?);
    }
    let what = "leave: model server sees the end";
    table.row(format!("{what}, from the cancel, p50, compared with a pipe"), Unit::Time, (baseline.p50(), ours.p50()), Goal::Bound(CLOSED));
    table.row(format!("{what}, the slowest of {TIMES}"), Unit::Time, (baseline.max(), ours.max()), Goal::Bound(CLOSED));

    progress(&format!("leave: {TURNS} together"));
    let (baseline, ours) = (bench.all(Target::Pipe).await?, bench.all(Target::Backlot).await?);
    let what = format!("leave, {TURNS} turns");
    let closed = (baseline.closed, ours.closed);
    table.row(format!("{what}: model server sees the last end, from the last cancel"), Unit::Time, closed, Goal::Bound(CLOSED));
    let cpu = (baseline.cpu, ours.cpu);
    table.row(format!("{what}: CPU in the {} s after", WINDOW.as_secs()), Unit::Time, cpu, Goal::Shown);
    let rest = (ours.idle, ours.rest);
    table.row(
        format!("{what}: CPU in {} s at rest, compared with before", WINDOW.as_secs()),
        Unit::Time,
        rest,
        Goal::Bound(ours.idle + CPU),
    );
    table.note(format!(
        "{what}: backlot is idle {:.0} s after the last cancel, {} CPU time per turn",
        ours.settled.0.as_secs_f64(),
        shown(Unit::Time, ours.settled.1.as_secs_f64() / f64::from(u32::try_from(TURNS)?)),
    ));
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Pipe,
    Backlot,
}

struct Bench<'a> {
    upstream: &'a Upstream,
    people: People,
    pipe: Process,
    http: reqwest::Client,
    process: Process,
}

/// The figures after many viewers have left together.
struct Figures {
    /// CPU seconds in a window: before the streams, after their end, and when the process was idle again.
    idle: f64,
    cpu: f64,
    rest: f64,
    closed: f64,
    settled: (Duration, Duration),
}

impl Bench<'_> {
    /// Ends one stream. Returns the time until the model server sees it.
    async fn one(&self, target: Target) -> Result<Duration> {
        let mut abandoned = self.upstream.abandoned();
        let before = abandoned.borrow_and_update().answers;
        let viewers = self.open_streams(target, 1);
        viewers.wait_until_started(TIMEOUT).await?;
        let start = now();
        self.end_streams(target, viewers).await?;
        Ok(after(&mut abandoned, before + 1).await?.saturating_sub(start))
    }

    async fn all(&self, target: Target) -> Result<Figures> {
        let process = match target {
            Target::Pipe => &self.pipe,
            Target::Backlot => &self.process,
        };
        settle(process).await?;
        let idle = spent(process).await?;
        let mut abandoned = self.upstream.abandoned();
        let before = abandoned.borrow_and_update().answers;
        let viewers = self.open_streams(target, TURNS);
        viewers.wait_until_started(TIMEOUT).await?;
        self.end_streams(target, viewers).await?;
        let (start, cpu_before) = (now(), process.cpu().context("no /proc")?);
        let cpu = spent(process).await?;
        let closed = after(&mut abandoned, before + TURNS).await?.saturating_sub(start).as_secs_f64();
        settle(process).await?;
        let settled = (now() - start, process.cpu().context("no /proc")? - cpu_before);
        Ok(Figures { idle, cpu, rest: spent(process).await?, closed, settled })
    }

    fn open_streams(&self, target: Target, turns: usize) -> Viewers {
        let request = |index: usize| match target {
            Target::Pipe => self.http.post(format!("{}/pipe", self.pipe.url)).body("{}"),
            Target::Backlot => self.people.turn(index),
        };
        Viewers::start((0..turns).map(request).collect(), PAUSE, b"")
    }

    /// Disconnects all viewers and cancels their turns.
    async fn end_streams(&self, target: Target, viewers: Viewers) -> Result<()> {
        let turns = viewers.turns();
        viewers.leave().await;
        ensure!(turns.is_empty() == (target == Target::Pipe), "only turns have ids");
        let cancels = stream::iter(turns)
            .map(|(index, turn)| async move { self.people.person(index).post(&format!("/api/turns/{turn}/cancel"), json!({})).await });
        cancels.buffer_unordered(CANCELS_AT_ONCE).try_for_each(|_| async { Ok(()) }).await
    }
}

/// The CPU seconds of a process in the next window.
async fn spent(process: &Process) -> Result<f64> {
    let before = process.cpu().context("no /proc")?;
    sleep(WINDOW).await;
    Ok((process.cpu().context("no /proc")? - before).as_secs_f64())
}

/// Waits until `answers` answers were abandoned. Returns the time of the last one.
async fn after(abandoned: &mut watch::Receiver<AbandonedAnswers>, answers: usize) -> Result<Duration> {
    let seen = timeout(TIMEOUT, abandoned.wait_for(|abandoned| abandoned.answers >= answers)).await;
    Ok(seen.context("the model server still answers")??.last)
}
