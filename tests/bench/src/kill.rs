//! The time from SIGKILL of the process that drives a turn to the next event at a viewer of another replica, and the same when the whole
//! cluster is killed and restarted. A turn cannot be claimed before its lease expires, so the lease is the baseline.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use proto::agent_streaming::{StartTurnRequest, agent_streaming_service_client::AgentStreamingServiceClient};
use serde_json::json;
use test_support::sse::Viewer;
use tokio::{net::TcpListener, time::timeout};
use tonic::Request;
use uuid::Uuid;

use crate::{
    environment::{Cluster, Environment, Process, progress},
    sample::Samples,
    table::{Goal, Table, Unit},
    upstream::{Load, Upstream},
};

/// The lease of the tests and the shipped one, with the number of kills.
const LEASES: [(&str, Duration, usize); 2] = [("1500ms", Duration::from_millis(1500), 8), ("15s", Duration::from_secs(15), 3)];
/// The number of kills of the whole cluster.
const RESTARTS: usize = 5;
const PACE: Duration = Duration::from_millis(20);
/// The number of deltas before a kill.
const DELTAS_BEFORE_KILL: usize = 10;
/// The most turns that are started until the replica to be killed claims one.
const MAX_TURNS: usize = 50;
const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) async fn measure(environment: &Environment, upstream: &Upstream, table: &mut Table) -> Result<()> {
    upstream.set(Load::endless(PACE));
    for (name, lease, times) in LEASES {
        progress(&format!("kill: one of two replicas, lease {name}"));
        let late = replicas(environment, upstream, (name, times)).await?;
        let what = format!("kill one of two replicas: next event, lease {name}");
        rows(table, &what, lease, (&late, times));
    }
    let (name, lease, _) = LEASES[0];
    progress(&format!("kill: the whole cluster, lease {name}"));
    let late = restarts(environment, upstream, name).await?;
    rows(table, &format!("kill and restart the cluster: next event, lease {name}"), lease, (&late, RESTARTS));
    Ok(())
}

fn rows(table: &mut Table, what: &str, lease: Duration, (late, times): (&Samples, usize)) {
    table.row(format!("{what}, p50"), Unit::Time, (lease.as_secs_f64(), late.p50()), Goal::Times(2.0));
    table.row(format!("{what}, the slowest of {times}"), Unit::Time, (lease.as_secs_f64(), late.max()), Goal::Times(2.0));
}

async fn replicas(environment: &Environment, upstream: &Upstream, (lease, times): (&str, usize)) -> Result<Samples> {
    let common = [("BACKLOT_LEASE", lease), ("REDIS_URL", environment.redis.url.as_str())];
    let name = format!("kill_{lease}");
    let cluster = environment.cluster(&name, &format!("{}/stays", upstream.url), &common).await?;
    let mut late = Samples::default();
    for _ in 0..times {
        let replica = environment.replica("killed", (&name, &cluster.grpc), &format!("{}/killed", upstream.url), &common).await?;
        let (turn, mut viewer) = driven_by(&replica, &cluster, upstream).await?;
        let killed = Instant::now();
        replica.kill().await?;
        late.push(superseded(&mut viewer, killed).await?);
        ensure!(upstream.last_path().starts_with("/stays"), "the turn was not resumed by the other replica");
        cluster.person.post(&format!("/api/turns/{turn}/cancel"), json!({})).await?;
    }
    Ok(late)
}

/// Starts a turn that the replica drives. Returns its id and a viewer on the other replica.
async fn driven_by(replica: &Process, cluster: &Cluster, upstream: &Upstream) -> Result<(String, Viewer)> {
    let mut client = AgentStreamingServiceClient::connect(replica.url.clone()).await?;
    let token = format!("Bearer {}", cluster.person.access_token().await?);
    for _ in 0..MAX_TURNS {
        let draft_id = Uuid::new_v4().to_string();
        let mut request = Request::new(StartTurnRequest { draft_id, prompt: "tell me the time".into(), ..StartTurnRequest::default() });
        request.metadata_mut().insert("authorization", token.parse()?);
        let turn = client.start_turn(request).await?.into_inner().turn.context("a turn")?.id;
        let mut viewer = cluster.person.follow(&turn, 0).await?;
        deltas(&mut viewer, DELTAS_BEFORE_KILL).await?;
        if upstream.last_path().starts_with("/killed") {
            return Ok((turn, viewer));
        }
        cluster.person.post(&format!("/api/turns/{turn}/cancel"), json!({})).await?;
    }
    bail!("the other replica claimed all {MAX_TURNS} turns")
}

async fn restarts(environment: &Environment, upstream: &Upstream, lease: &str) -> Result<Samples> {
    // A fixed address, so that the viewer can reconnect.
    let address: SocketAddr = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let address = address.to_string();
    let settings = [("BACKLOT_LEASE", lease), ("BACKLOT_LISTEN", address.as_str())];
    let mut cluster = environment.cluster("kill_cluster", &upstream.url, &settings).await?;
    let mut late = Samples::default();
    for _ in 0..RESTARTS {
        let person = cluster.person.clone();
        let mut viewer = person.stream(json!({ "draftId": Uuid::new_v4().to_string(), "prompt": "tell me the time" })).await?;
        let (turn, last) = deltas(&mut viewer, DELTAS_BEFORE_KILL).await?;
        let killed = Instant::now();
        cluster.process.kill().await?;
        cluster = environment.cluster("kill_cluster", &upstream.url, &settings).await?;
        late.push(superseded(&mut person.follow(&turn, last).await?, killed).await?);
        person.post(&format!("/api/turns/{turn}/cancel"), json!({})).await?;
    }
    Ok(late)
}

/// Reads `wanted` deltas. Returns the id of the turn and the number of the last event.
async fn deltas(viewer: &mut Viewer, wanted: usize) -> Result<(String, u32)> {
    let mut seen = 0;
    loop {
        let frame = timeout(TIMEOUT, viewer.next()).await.context("no event in time")??.context("the stream ended")?;
        seen += usize::from(frame.kind() == "text.delta");
        if seen == wanted {
            let turn = frame.json()["turnId"].as_str().context("a turn id")?.to_owned();
            return Ok((turn, frame.id));
        }
    }
}

/// Waits for `step.superseded`, the first event of the new worker, and for a delta. Returns the time from the kill to the first of them.
async fn superseded(viewer: &mut Viewer, killed: Instant) -> Result<Duration> {
    timeout(TIMEOUT, viewer.until("step.superseded")).await.context("no worker resumed the turn")??;
    let late = killed.elapsed();
    deltas(viewer, 1).await?;
    Ok(late)
}
