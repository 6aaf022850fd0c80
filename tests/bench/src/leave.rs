//! What remains after all viewers have left: how soon the model server sees that its answer is no longer wanted, and how much work the
//! process still does. The streams of the pipe end with their viewers. A turn continues without viewers, so it is cancelled.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    ground::{Ground, Process, progress},
    sample::Samples,
    scale::{Audience, People, settle},
    table::{Goal, Table, Unit, shown},
    upstream::{Abandoned, Load, Upstream, now},
};

/// Cancels, one after the other.
const TIMES: usize = 20;
/// Streams that end together.
const TURNS: usize = 256;
/// Longer than the goal, so that a write that fails at last is not taken for a close that was seen.
const PACE: Duration = Duration::from_secs(1);
/// From request to request.
const PAUSE: Duration = Duration::from_millis(25);
const CANCELS_AT_ONCE: usize = 16;
/// How long CPU time is counted.
const WINDOW: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);
/// The goals, in seconds.
const CLOSED: f64 = 0.1;
const CPU: f64 = 0.05;

pub(crate) async fn measure(ground: &Ground, upstream: &Upstream, table: &mut Table) -> Result<()> {
    let cluster = ground.cluster("leave", &upstream.url, &[]).await?;
    let pipe = ground.helper(&["pipe", &upstream.url, &ground.floor_url()]).await?;
    let people = People::sign_up(&cluster.process.url, TURNS).await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let bench = Bench { upstream, people, pipe, http, process: cluster.process };
    upstream.set(Load::endless(PACE));
    bench.one(Target::Backlot).await?;

    progress("leave: one after the other");
    let (mut floor, mut ours) = (Samples::default(), Samples::default());
    for _ in 0..TIMES {
        floor.push(bench.one(Target::Pipe).await?);
        ours.push(bench.one(Target::Backlot).await?);
    }
    let what = "leave: model server sees the end";
    table.row(format!("{what}, from the cancel, p50, beside a pipe"), Unit::Time, (floor.p50(), ours.p50()), Goal::Bound(CLOSED));
    table.row(format!("{what}, the slowest of {TIMES}"), Unit::Time, (floor.max(), ours.max()), Goal::Bound(CLOSED));

    progress(&format!("leave: {TURNS} together"));
    let (floor, ours) = (bench.all(Target::Pipe).await?, bench.all(Target::Backlot).await?);
    let what = format!("leave, {TURNS} turns");
    let closed = (floor.closed, ours.closed);
    table.row(format!("{what}: model server sees the last end, from the last cancel"), Unit::Time, closed, Goal::Bound(CLOSED));
    let cpu = (floor.cpu, ours.cpu);
    table.row(format!("{what}: CPU in the {} s after", WINDOW.as_secs()), Unit::Time, cpu, Goal::Shown);
    let rest = (ours.idle, ours.rest);
    table.row(
        format!("{what}: CPU in {} s at rest, beside the same before", WINDOW.as_secs()),
        Unit::Time,
        rest,
        Goal::Bound(ours.idle + CPU),
    );
    table.note(format!(
        "{what}: backlot is at rest {:.0} s after the last cancel, {} CPU time for each turn",
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

/// After many have left together.
struct Left {
    /// CPU seconds: before they came, since they left, and when everything was done.
    idle: f64,
    cpu: f64,
    rest: f64,
    closed: f64,
    settled: (Duration, Duration),
}

impl Bench<'_> {
    /// One stream that begins and is not wanted any more: how long until the model server sees that.
    async fn one(&self, target: Target) -> Result<Duration> {
        let mut abandoned = self.upstream.abandoned();
        let before = abandoned.borrow_and_update().answers;
        let audience = self.enter(target, 1);
        audience.seated(PATIENCE).await?;
        let start = now();
        self.part(target, audience).await?;
        Ok(after(&mut abandoned, before + 1).await?.saturating_sub(start))
    }

    async fn all(&self, target: Target) -> Result<Left> {
        let process = match target {
            Target::Pipe => &self.pipe,
            Target::Backlot => &self.process,
        };
        settle(process).await?;
        let idle = spent(process).await?;
        let mut abandoned = self.upstream.abandoned();
        let before = abandoned.borrow_and_update().answers;
        let audience = self.enter(target, TURNS);
        audience.seated(PATIENCE).await?;
        self.part(target, audience).await?;
        let (start, cpu_before) = (now(), process.cpu().context("no /proc")?);
        let cpu = spent(process).await?;
        let closed = after(&mut abandoned, before + TURNS).await?.saturating_sub(start).as_secs_f64();
        settle(process).await?;
        let settled = (now() - start, process.cpu().context("no /proc")? - cpu_before);
        Ok(Left { idle, cpu, rest: spent(process).await?, closed, settled })
    }

    fn enter(&self, target: Target, turns: usize) -> Audience {
        let request = |place: usize| match target {
            Target::Pipe => self.http.post(format!("{}/pipe", self.pipe.url)).body("{}"),
            Target::Backlot => self.people.turn(place),
        };
        Audience::enter((0..turns).map(request).collect(), PAUSE, b"")
    }

    /// The viewers leave; what goes on without them is cancelled.
    async fn part(&self, target: Target, audience: Audience) -> Result<()> {
        let turns = audience.turns();
        audience.leave().await;
        ensure!(turns.is_empty() == (target == Target::Pipe), "a turn has an id, a pipe has not");
        let cancels = stream::iter(turns)
            .map(|(place, turn)| async move { self.people.person(place).post(&format!("/api/turns/{turn}/cancel"), json!({})).await });
        cancels.buffer_unordered(CANCELS_AT_ONCE).try_for_each(|_| async { Ok(()) }).await
    }
}

/// CPU seconds of a process in the next seconds.
async fn spent(process: &Process) -> Result<f64> {
    let before = process.cpu().context("no /proc")?;
    sleep(WINDOW).await;
    Ok((process.cpu().context("no /proc")? - before).as_secs_f64())
}

/// When so many answers had been abandoned.
async fn after(abandoned: &mut watch::Receiver<Abandoned>, answers: usize) -> Result<Duration> {
    let seen = timeout(PATIENCE, abandoned.wait_for(|abandoned| abandoned.answers >= answers)).await;
    Ok(seen.context("the model server still answers")??.last)
}
