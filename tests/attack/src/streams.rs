//! Attacks with event streams of a turn.

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
    wire::{Frames, STRANGER, call, prefix},
};

/// Of [`unread_events`].
const PEOPLE: usize = 4;
/// Bytes of events.
const LONG_TURN: usize = 200_000;
/// What one person may have open, but for a few.
const VIEWERS: usize = 60;
/// More than a service has connections to its database.
const STREAMS: usize = 40;
/// A call that waits for the whole attack has failed.
const OUTLASTS_CALLS: Duration = Duration::from_secs(12);
/// Before an unfinished request of [`unread_events`] has had the time of a body.
const RENEWED: Duration = Duration::from_secs(3);
/// How long replays may take to be noticed.
const NOTICED: Duration = Duration::from_secs(60);

/// A call whose answer nobody reads.
type Unread = (ResponseFuture, SendStream<Bytes>);

/// Viewers of a few people that keep their windows shut, beside a request of the same connection that does not end. What they leave
/// unread is more than the window of one connection between services.
pub(super) async fn unread_events(target: &Target, scale: Scale) -> Result<()> {
    let mut people = Vec::new();
    for _ in 0..PEOPLE * scale.times {
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
    let began = Instant::now();
    while began.elapsed() < scale.lasts.max(OUTLASTS_CALLS) {
        for (frames, token, held) in &mut connections {
            held.push(request(target, frames, token, (Method::POST, "/api/projects")).await?);
        }
        sleep(RENEWED).await;
    }
    Ok(())
}

/// A turn with more events than the gateway takes before its viewer reads: it writes a page anew, of which every other character is
/// longer in JSON.
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

/// A request that ends only if it has no body.
async fn request(target: &Target, frames: &Frames, token: &str, (method, path): (Method, &str)) -> Result<Unread> {
    let is_whole = method == Method::GET;
    let request = Request::builder().method(method).uri(format!("http://localhost:{}{path}", target.main.port()));
    let request = request.header("authorization", format!("Bearer {token}")).header("content-type", "application/json").body(())?;
    let mut send = frames.send.clone().ready().await.context("the connection is closed for one stream")?;
    Ok(send.send_request(request, is_whole)?)
}

/// One turn from its beginning, again and again, as fast as it comes.
pub(super) async fn replayed_events(target: &Target, scale: Scale) -> Result<()> {
    let token = target.attacker.access_token().await?;
    let http = reqwest::Client::builder().no_proxy().local_address(std::net::IpAddr::V4(STRANGER)).build()?;
    let url = format!("{}/api/turns/{}/events", target.url, target.turn);
    let replay = async || {
        let answer = http.get(&url).bearer_auth(&token).send().await?;
        let status = answer.status().as_u16();
        answer.bytes().await?;
        anyhow::Ok(status)
    };
    let (mut refused, began) = (0, Instant::now());
    while began.elapsed() < scale.lasts || (refused == 0 && began.elapsed() < NOTICED) {
        let answers = futures::future::join_all((0..32).map(|_| replay())).await;
        refused += answers.into_iter().flatten().filter(|status| *status == 429).count();
    }
    ensure!(refused > 0, "every replay has passed");
    Ok(())
}

/// The streams of a turn at agent-streaming itself, of which a byte is read, beside a health watch that is read.
pub(super) async fn unread_turn_streams(target: &Target, scale: Scale) -> Result<()> {
    let to = *target.grpc.get("agent-streaming").context("no agent-streaming")?;
    let token = target.attacker.access_token().await?;
    let (frames, mut held) = (Frames::open(to, 1).await?, Vec::new());
    let asked = StreamTurnEventsRequest { turn_id: target.turn.clone(), ..Default::default() }.encode_to_vec();
    let asked = [&prefix(u32::try_from(asked.len())?)[..], &asked].concat();
    let path = "/backlot.agent_streaming.v1.AgentStreamingService/StreamTurnEvents";
    let begin = async |path: &str, message: &[u8]| -> Result<Unread> {
        let (answer, mut body) = frames.send.clone().ready().await?.send_request(call(to, path, Some(&token)), false)?;
        // The other end may have refused already.
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
    _ = tokio::time::timeout(scale.lasts.max(OUTLASTS_CALLS), watching).await;
    Ok(())
}
