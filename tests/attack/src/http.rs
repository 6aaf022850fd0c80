//! Attacks on the gateway over HTTP.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream::FuturesUnordered};
use http::{Method, Request};
use test_support::Person;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    target::{Scale, Target},
    wire::{self, ATTACKER, Frames, connect},
};

/// The path prefix of a flood.
const FLOOD: &str = "/api/projects/flood/";
/// The limit for a log line in bytes.
const MAX_LOG_LINE: usize = 600;
/// The limit for the first of many large chats to arrive. It checks liveness, not speed.
const LARGE_CHATS: Duration = Duration::from_secs(300);
/// The limit for the first refusal of a flood.
const FLOODS: Duration = Duration::from_secs(60);

/// Requests with a path that is too long.
pub(super) async fn long_paths(target: &Target, scale: Scale) -> Result<()> {
    let path = format!("/{}", "a".repeat(15_000));
    let started = Instant::now();
    while started.elapsed() < scale.lasts {
        for to in [target.preview, target.main] {
            let mut stream = connect(to).await?;
            stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await?;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Sends a request whose body never ends.
async fn unfinished(target: &Target, path: &str, credential: &str, length: usize, sent: &[u8]) -> Result<TcpStream> {
    let mut stream = connect(target.main).await?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\n{credential}content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    // An error means that the server has already refused.
    _ = stream.write_all(sent).await;
    Ok(stream)
}

/// Many POST requests of one account without a body.
pub(super) async fn unfinished_posts(target: &Target, scale: Scale) -> Result<()> {
    let credential = format!("authorization: Bearer {}\r\n", target.attacker.access_token().await?);
    let mut held = Vec::new();
    for _ in 0..600 * scale.times {
        held.push(unfinished(target, "/api/projects", &credential, 100, b"").await?);
    }
    tokio::time::sleep(scale.lasts).await;
    Ok(())
}

pub(super) async fn one_byte_bodies(target: &Target, scale: Scale) -> Result<()> {
    let mut held = Vec::new();
    for _ in 0..600 * scale.times {
        held.push(unfinished(target, "/api/auth/signin", "", 100, b"{").await?);
    }
    tokio::time::sleep(scale.lasts).await;
    Ok(())
}

/// Saves of up to 64 MiB of one free account.
pub(super) async fn unfinished_saves(target: &Target, scale: Scale) -> Result<()> {
    let credential = format!("authorization: Bearer {}\r\n", target.attacker.access_token().await?);
    let part = vec![b' '; 8 * 1024 * 1024];
    let mut held = Vec::new();
    for at in 0..8 * scale.times {
        let length = if at % 2 == 0 { 64 * 1024 * 1024 } else { 30 * 1024 * 1024 };
        held.push(unfinished(target, "/api/projects/save", &credential, length, &part).await?);
    }
    tokio::time::sleep(scale.lasts).await;
    Ok(())
}

/// Chats of 8 MiB of four accounts, as much as one address may send, without their last bytes.
pub(super) async fn large_chats(target: &Target, scale: Scale) -> Result<()> {
    const LENGTH: usize = 8 * 1024 * 1024;
    let part = Arc::new(vec![b' '; LENGTH - 10]);
    let mut sending = FuturesUnordered::new();
    for _ in 0..4 {
        let token = Person::sign_up(&target.url).await?.access_token().await?;
        let credential: Arc<str> = format!("authorization: Bearer {token}\r\n").into();
        for _ in 0..12 * scale.times {
            let (target, part, credential) = (target.clone(), Arc::clone(&part), Arc::clone(&credential));
            let send = async move { unfinished(&target, "/api/chat", &credential, LENGTH, &part).await };
            // The gateway delays some of them, so they are sent concurrently.
            sending.push(send);
        }
    }
    let mut held = vec![tokio::time::timeout(LARGE_CHATS, sending.next()).await?.context("no chat")??];
    let arriving = async {
        while let Some(sent) = sending.next().await {
            held.extend(sent);
        }
    };
    // All accepted bodies progress at the same rate.
    _ = tokio::time::timeout(scale.lasts, arriving).await;
    tokio::time::sleep(scale.lasts).await;
    Ok(())
}

/// Requests whose answers are never read.
pub(super) async fn unread_answers(target: &Target, scale: Scale) -> Result<()> {
    let mut held = Vec::new();
    for _ in 0..10 * scale.times {
        let frames = Frames::open(target.main, 0).await?;
        let mut answers = Vec::new();
        for path in ["/openapi.json", "/"].into_iter().cycle().take(60) {
            let Ok(mut send) = frames.send.clone().ready().await else { break };
            let request = Request::get(format!("http://localhost:{}{path}", target.main.port())).body(())?;
            answers.push(send.send_request(request, true)?);
        }
        held.push((frames, answers));
    }
    tokio::time::sleep(scale.lasts).await;
    Ok(())
}

/// Loads of a large project of which only a few bytes are read.
pub(super) async fn slow_loads(target: &Target, scale: Scale) -> Result<()> {
    let token = target.attacker.access_token().await?;
    let mut held = Vec::new();
    for _ in 0..27 * scale.times {
        let mut stream = connect(target.main).await?;
        let path = format!("/api/projects/load?projectId={}", target.project);
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n").as_bytes()).await?;
        held.push(stream);
    }
    tokio::time::sleep(scale.lasts).await;
    Ok(())
}

pub(super) async fn silent_connections(target: &Target, scale: Scale) -> Result<()> {
    hold_silent(target.main, 1_500 * scale.times, scale.lasts).await
}

/// Opens connections and sends nothing.
pub(super) async fn hold_silent(to: SocketAddr, connections: usize, lasts: Duration) -> Result<()> {
    let mut held = Vec::new();
    for _ in 0..connections {
        held.push(connect(to).await?);
    }
    tokio::time::sleep(lasts).await;
    Ok(())
}

pub(super) async fn reset_requests(target: &Target, scale: Scale) -> Result<()> {
    let closed = wire::reset(target.main, "/api/auth/signin", 20_000, scale).await;
    ensure!(closed > 0, "no connection was closed because of its resets");
    Ok(())
}

/// Returns the number of log lines about a single refused request, and the length of the longest line about the flood.
fn log_lines(target: &Target) -> Result<(usize, usize)> {
    let log = std::fs::read_to_string(&target.log)?;
    let longest = log.lines().filter(|line| line.contains(FLOOD)).map(str::len).max().unwrap_or_default();
    Ok((log.matches("status=429").count(), longest))
}

/// Requests as fast as one client can send them.
pub(super) async fn flood(target: &Target, scale: Scale) -> Result<()> {
    let path = format!("{}{FLOOD}{}", target.url, "a".repeat(2_000));
    let before = log_lines(target)?.0;
    let http = reqwest::Client::builder().no_proxy().local_address(std::net::IpAddr::V4(ATTACKER)).build()?;
    let started = Instant::now();
    let mut refused = 0;
    // A slow machine needs longer to exceed the limit of the edge.
    while started.elapsed() < scale.lasts || (refused == 0 && started.elapsed() < FLOODS) {
        let calls = (0..32).map(|_| http.request(Method::GET, &path).send());
        let answers = futures::future::join_all(calls).await;
        refused += answers.into_iter().flatten().filter(|answer| answer.status().as_u16() == 429).count();
    }
    ensure!(refused > 0, "the edge refused no request");
    let (lines, longest) = log_lines(target)?;
    ensure!(lines == before, "{} lines for {refused} refused requests", lines - before);
    ensure!((1..=MAX_LOG_LINE).contains(&longest), "a log line has {longest} bytes");
    Ok(())
}
