//! Attacks with the event streams of turns.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use h2::{SendStream, client::ResponseFuture};
use http::{Method, Request};
use prost::Message as _;
use proto::agent_streaming::StreamTurnEventsRequest;
use serde_json::json;
use test_support::Person;
use tokio::time::sleep;

use crate::{
    target::{Scale, Target},
    wire::{ATTACKER, Frames, call, prefix},
};

/// The number of users in [`unread_events`].
const USERS: usize = 4;
/// The least number of bytes of a long turn.
const LONG_TURN: usize = 200_000;
/// Almost as many viewers as one user may have.
const VIEWERS: usize = 60;
/// More streams than a service has database connections.
const STREAMS: usize = 40;
/// The least duration of an attack: longer than the limit of any call.
const MIN_DURATION: Duration = Duration::from_secs(12);
/// The time between two unfinished requests of [`unread_events`], shorter than the timeout of a body.
const RENEW_INTERVAL: Duration = Duration::from_secs(3);
/// The limit for the first refusal of replays.
const REFUSED_WITHIN: Duration = Duration::from_secs(60);

/// A call whose answer is never read.
type Unread = (ResponseFuture, SendStream<Bytes>);

/// Viewers with closed windows, and an unfinished request on the same connections. The unread bytes exceed the window of a connection between
/// services.
pub(super) async fn unread_events(target: &Target, scale: Scale) -> Result<()> {
    let mut people = Vec::new();
    for _ in 0..USERS * scale.times {
        let person = Person::sign_up(&target.url).await?;
        let path = format!("/api/turns/{}/events", long_turn(&person).await?);
        people.push((person.access_token().await?, path));
    }
    let mut connections = Vec::new();
    for (token, path) in people {
        let (frames, mut held) = (Frames::open(target.main, 0).await?, Vec::new());
        for _ in 0..VIEWERS {
            held.push(request(target, &frames, &token, (Method::GET, &path)).await?);
        }
        connections.push((frames, token, held));
    }
    let started = Instant::now();
    while started.elapsed() < scale.lasts.max(MIN_DURATION) {
        for (frames, token, held) in &mut connections {
            held.push(request(target, frames, token, (Method::POST, "/api/projects")).await?);
        }
        sleep(RENEW_INTERVAL).await;
    }
    Ok(())
}

/// Runs a turn with more events than the gateway buffers for a viewer. It rewrites a page in which every second character is escaped in JSON.
async fn long_turn(person: &Person) -> Result<String> {
    let created = person.post("/api/projects", json!({ "displayName": "long" })).await?;
    let page = format!("{}\n", "\"a".repeat(30)).repeat(690);
    let changes = json!([{ "path": "index.html", "write": { "text": page } }]);
    person.post("/api/projects/save", json!({ "projectId": created["id"], "changes": changes })).await?;
    let done = person.turn(json!({ "projectId": created["id"], "prompt": "hello there" })).await?;
    let bytes: usize = done.frames.iter().map(|frame| frame.data.len()).sum();
    let end = done.frames.last().map(|frame| &frame.data);
    ensure!(bytes > LONG_TURN, "the turn has only {bytes} bytes and ends with {end:?}");
    Ok(done.turn)
}

/// Sends a request. Only a GET request is complete.
async fn request(target: &Target, frames: &Frames, token: &str, (method, path): (Method, &str)) -> Result<Unread> {
    let is_whole = method == Method::GET;
    let request = Request::builder().method(method).uri(format!("http://localhost:{}{path}", target.main.port()));
    let request = request.header("authorization", format!("Bearer {token}")).header("content-type", "application/json").body(())?;
    let mut send = frames.send.clone().ready().await.context("the connection is closed")?;
    Ok(send.send_request(request, is_whole)?)
}

/// Replays a turn from its beginning as often as possible.
pub(super) async fn replayed_events(target: &Target, scale: Scale) -> Result<()> {
    let token = target.attacker.access_token().await?;
    let http = reqwest::Client::builder().no_proxy().local_address(std::net::IpAddr::V4(ATTACKER)).build()?;
    let url = format!("{}/api/turns/{}/events", target.url, target.turn);
    let replay = async || {
        let answer = http.get(&url).bearer_auth(&token).send().await?;
        let status = answer.status().as_u16();
        answer.bytes().await?;
        anyhow::Ok(status)
    };
    let (mut refused, started) = (0, Instant::now());
    while started.elapsed() < scale.lasts || (refused == 0 && started.elapsed() < REFUSED_WITHIN) {
        let answers = futures::future::join_all((0..32).map(|_| replay())).await;
        refused += answers.into_iter().flatten().filter(|status| *status == 429).count();
    }
    ensure!(refused > 0, "no replay was refused");
    Ok(())
}

/// Streams of a turn directly at agent-streaming of which one byte is read, and a health watch that is read.
pub(super) async fn unread_turn_streams(target: &Target, scale: Scale) -> Result<()> {
    let to = *target.grpc.get("agent-streaming").context("no agent-streaming")?;
    let token = target.attacker.access_token().await?;
    let (frames, mut held) = (Frames::open(to, 1).await?, Vec::new());
    let asked = StreamTurnEventsRequest { turn_id: target.turn.clone(), ..Default::default() }.encode_to_vec();
    let asked = [&prefix(u32::try_from(asked.len())?)[..], &asked].concat();
    let path = "/backlot.agent_streaming.v1.AgentStreamingService/StreamTurnEvents";
    let begin = async |path: &str, message: &[u8]| -> Result<Unread> {
        let (answer, mut body) = frames.send.clone().ready().await?.send_request(call(to, path, Some(&token)), false)?;
        // An error means that the server has already refused.
        _ = body.send_data(Bytes::copy_from_slice(message), true);
        Ok((answer, body))
    };
    for _ in 0..STREAMS * scale.times {
        held.push(begin(path, &asked).await?);
    }
    let mut watch = begin("/grpc.health.v1.Health/Watch", &prefix(0)).await?.0.await?.into_body();
    let watching = async {
        while let Some(Ok(data)) = watch.data().await {
            _ = watch.flow_control().release_capacity(data.len());
        }
        std::future::pending::<()>().await;
    };
    _ = tokio::time::timeout(scale.lasts.max(MIN_DURATION), watching).await;
    Ok(())
}
