//! Attacks with request bodies that exhaust the shared budget of arriving bytes.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::json;
use test_support::Person;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    target::{Scale, Target},
    wire::{Frames, STRANGER, WINDOW, call, connect, connect_from, prefix},
};

/// An answer that takes longer counts as missing. This bounds liveness, not speed.
const LONGEST: Duration = Duration::from_secs(120);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A body that says it has so many bytes, and its first ones.
async fn begin(mut stream: TcpStream, path: &str, token: &str, length: usize, sent: &[u8]) -> Result<TcpStream> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    // The other end may have refused already.
    _ = stream.write_all(sent).await;
    Ok(stream)
}

/// A person uses up its share at a service and saves through the gateway, whose one connection carries the calls of everybody.
pub(super) async fn saves_without_a_share(target: &Target, scale: Scale) -> Result<()> {
    let to = *target.grpc.get("project-storage").context("no project-storage")?;
    let token = target.attacker.access_token().await?;
    let mut held = Vec::new();
    for _ in 0..14 * scale.times {
        let frames = Frames::open(to, WINDOW).await?;
        let path = "/backlot.project_storage.v1.ProjectStorageService/SaveProject";
        let (answer, mut body) = frames.send.clone().ready().await?.send_request(call(to, path, Some(&token)), false)?;
        // The other end may have refused already.
        _ = body.send_data(prefix(10 * 1024 * 1024), false);
        for _ in 0..9 {
            _ = body.send_data(Bytes::from_static(&[7; 1024 * 1024]), false);
        }
        held.push((frames, answer, body));
    }
    tokio::time::sleep(scale.lasts).await;
    let text = "some text of a line\n".repeat(2_400);
    let changes: Vec<_> = (0..100).map(|at| json!({ "path": format!("f{at}.txt"), "write": { "text": text } })).collect();
    let save = json!({ "projectId": target.project, "changes": changes });
    // Refused or done.
    _ = futures::future::join_all((0..8 * scale.times).map(|_| target.attacker.post("/api/projects/save", save.clone()))).await;
    Ok(())
}

/// More large bodies at once than a person's share: each would hold a part and wait for the rest.
pub(super) async fn large_bodies(target: &Target, scale: Scale) -> Result<()> {
    const LENGTH: usize = 10 * 1024 * 1024;
    let token = target.attacker.access_token().await?;
    let mut body = vec![b' '; LENGTH];
    body[LENGTH - 2..].copy_from_slice(b"{}");
    let sent = (0..24 * scale.times).map(|_| async {
        let stream = connect(target.main).await?;
        let mut stream = begin(stream, "/api/projects/save", &token, LENGTH, &[]).await?;
        // All of them go on at the same pace.
        for part in body.chunks(64 * 1024) {
            stream.write_all(part).await?;
            tokio::task::yield_now().await;
        }
        let mut answer = [0; 12];
        test_support::canary::within(LONGEST, stream.read_exact(&mut answer)).await.context("no answer")??;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    });
    let answers: Vec<_> = futures::future::join_all(sent).await.into_iter().collect::<Result<_>>()?;
    // It is no save, which only a body that has arrived can show.
    let arrived = answers.iter().filter(|answer| answer.ends_with("400")).count();
    ensure!(arrived >= answers.len() / 2 && !answers.iter().any(|answer| answer.ends_with("408")), "{answers:?}");
    Ok(())
}

/// Two addresses with two accounts each: half of everything, twice.
pub(super) async fn two_addresses(target: &Target, scale: Scale) -> Result<()> {
    const LENGTH: usize = 8 * 1024 * 1024;
    let mut held = Vec::new();
    for address in [STRANGER, STRANGER, SECOND, SECOND] {
        let token = Person::sign_up(&target.url).await?.access_token().await?;
        for _ in 0..17 * scale.times {
            let stream = connect_from(address, target.main).await?;
            held.push(begin(stream, "/api/chat", &token, LENGTH, &[b' '; 64 * 1024]).await?);
        }
    }
    tokio::time::sleep(scale.lasts).await;
    Ok(())
}
