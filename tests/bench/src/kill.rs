//! The time from SIGKILL of the process that runs a turn to the next event at a viewer on another replica, and the same when the whole
//! cluster is killed and restarted. A turn cannot be taken over before its lease expires, so the lease is the baseline.

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
    ground::{Cluster, Ground, Process, progress},
    sample::Samples,
    table::{Goal, Table, Unit},
    upstream::{Load, Upstream},
};

/// The lease of the tests and the one that ships, and how often a replica is killed under each.
const LEASES: [(&str, Duration, usize); 2] = [("1500ms", Duration::from_millis(1500), 8), ("15s", Duration::from_secs(15), 3)];
/// How often the whole cluster is killed.
const RESTARTS: usize = 5;
const PACE: Duration = Duration::from_millis(20);
/// Deltas before a kill.
const BEFORE: usize = 10;
/// The replica that may be killed does not get every turn.
const TRIES: usize = 50;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(ground: &Ground, upstream: &Upstream, table: &mut Table) -> Result<()> {
    upstream.set(Load::endless(PACE));
    for (name, lease, times) in LEASES {
        progress(&format!("kill: one of two replicas, lease {name}"));
        let late = replicas(ground, upstream, (name, times)).await?;
        let what = format!("kill one of two replicas: next event, lease {name}");
        rows(table, &what, lease, (&late, times));
    }
    let (name, lease, _) = LEASES[0];
    progress(&format!("kill: the whole cluster, lease {name}"));
    let late = restarts(ground, upstream, name).await?;
    rows(table, &format!("kill the cluster and start it again: next event, lease {name}"), lease, (&late, RESTARTS));
    Ok(())
}

fn rows(table: &mut Table, what: &str, lease: Duration, (late, times): (&Samples, usize)) {
    table.row(format!("{what}, p50"), Unit::Time, (lease.as_secs_f64(), late.p50()), Goal::Times(2.0));
    table.row(format!("{what}, the slowest of {times}"), Unit::Time, (lease.as_secs_f64(), late.max()), Goal::Times(2.0));
}

async fn replicas(ground: &Ground, upstream: &Upstream, (lease, times): (&str, usize)) -> Result<Samples> {
    let common = [("BACKLOT_LEASE", lease), ("REDIS_URL", ground.redis.url.as_str())];
    let name = format!("kill_{lease}");
    let cluster = ground.cluster(&name, &format!("{}/stays", upstream.url), &common).await?;
    let mut late = Samples::default();
    for _ in 0..times {
        let replica = ground.replica("killed", (&name, &cluster.grpc), &format!("{}/killed", upstream.url), &common).await?;
        let (turn, mut viewer) = driven_by(&replica, &cluster, upstream).await?;
        let killed = Instant::now();
        replica.kill().await?;
        late.push(superseded(&mut viewer, killed).await?);
        ensure!(upstream.asked().starts_with("/stays"), "somebody else went on with the turn");
        cluster.person.post(&format!("/api/turns/{turn}/cancel"), json!({})).await?;
    }
    Ok(late)
}

/// A turn that the replica drives, and a viewer who follows it elsewhere.
async fn driven_by(replica: &Process, cluster: &Cluster, upstream: &Upstream) -> Result<(String, Viewer)> {
    let mut client = AgentStreamingServiceClient::connect(replica.url.clone()).await?;
    let token = format!("Bearer {}", cluster.person.access_token().await?);
    for _ in 0..TRIES {
        let draft_id = Uuid::new_v4().to_string();
        let mut request = Request::new(StartTurnRequest { draft_id, prompt: "tell me the time".into(), ..StartTurnRequest::default() });
        request.metadata_mut().insert("authorization", token.parse()?);
        let turn = client.start_turn(request).await?.into_inner().turn.context("a turn")?.id;
        let mut viewer = cluster.person.follow(&turn, 0).await?;
        deltas(&mut viewer, BEFORE).await?;
        if upstream.asked().starts_with("/killed") {
            return Ok((turn, viewer));
        }
        cluster.person.post(&format!("/api/turns/{turn}/cancel"), json!({})).await?;
    }
    bail!("the other replica took all of {TRIES} turns")
}

async fn restarts(ground: &Ground, upstream: &Upstream, lease: &str) -> Result<Samples> {
    // A viewer comes back to where it was.
    let address: SocketAddr = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let address = address.to_string();
    let settings = [("BACKLOT_LEASE", lease), ("BACKLOT_LISTEN", address.as_str())];
    let mut cluster = ground.cluster("kill_cluster", &upstream.url, &settings).await?;
    let mut late = Samples::default();
    for _ in 0..RESTARTS {
        let person = cluster.person.clone();
        let mut viewer = person.stream(json!({ "draftId": Uuid::new_v4().to_string(), "prompt": "tell me the time" })).await?;
        let (turn, last) = deltas(&mut viewer, BEFORE).await?;
        let killed = Instant::now();
        cluster.process.kill().await?;
        cluster = ground.cluster("kill_cluster", &upstream.url, &settings).await?;
        late.push(superseded(&mut person.follow(&turn, last).await?, killed).await?);
        person.post(&format!("/api/turns/{turn}/cancel"), json!({})).await?;
    }
    Ok(late)
}

/// Reads so many; the turn's id and the number of the last.
async fn deltas(viewer: &mut Viewer, wanted: usize) -> Result<(String, u32)> {
    let mut seen = 0;
    loop {
        let frame = timeout(PATIENCE, viewer.next()).await.context("no event in time")??.context("the stream ended")?;
        seen += usize::from(frame.kind() == "text.delta");
        if seen == wanted {
            let turn = frame.json()["turnId"].as_str().context("a turn id")?.to_owned();
            return Ok((turn, frame.id));
        }
    }
}

/// Whoever takes over says first which events do not count any more; what came before was under way when its owner died.
async fn superseded(viewer: &mut Viewer, killed: Instant) -> Result<Duration> {
    timeout(PATIENCE, viewer.until("step.superseded")).await.context("nobody took over")??;
    let late = killed.elapsed();
    deltas(viewer, 1).await?;
    Ok(late)
}
