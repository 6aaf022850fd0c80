//! Attacks with request bodies that exhaust the shared budget for bodies in transit.

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
    wire::{ATTACKER, Frames, WINDOW, call, connect, connect_from, prefix},
};

/// The limit for an answer. It checks liveness, not speed.
const ANSWERED_WITHIN: Duration = Duration::from_secs(120);
/// The address of a second attacker.
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// Sends a request that announces a body of `length` bytes, and the first bytes of it.
async fn send_head(mut stream: TcpStream, path: &str, token: &str, length: usize, sent: &[u8]) -> Result<TcpStream> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    // An error means that the server has already refused.
    _ = stream.write_all(sent).await;
    Ok(stream)
}

/// One user exhausts its share at project-storage and also saves through the gateway, whose connection is shared by all users.
pub(super) async fn saves_without_a_share(target: &Target, scale: Scale) -> Result<()> {
    let to = *target.grpc.get("project-storage").context("no project-storage")?;
    let token = target.attacker.access_token().await?;
    let mut held = Vec::new();
    for _ in 0..14 * scale.times {
        let frames = Frames::open(to, WINDOW).await?;
        let path = "/backlot.project_storage.v1.ProjectStorageService/SaveProject";
        let (answer, mut body) = frames.send.clone().ready().await?.send_request(call(to, path, Some(&token)), false)?;
        // An error means that the server has already refused.
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
    // The saves may be refused or succeed.
    _ = futures::future::join_all((0..8 * scale.times).map(|_| target.attacker.post("/api/projects/save", save.clone()))).await;
    Ok(())
}

/// Sends more large bodies at once than the share of one user allows.
pub(super) async fn large_bodies(target: &Target, scale: Scale) -> Result<()> {
    const LENGTH: usize = 10 * 1024 * 1024;
    let token = target.attacker.access_token().await?;
    let mut body = vec![b' '; LENGTH];
    body[LENGTH - 2..].copy_from_slice(b"{}");
    let sent = (0..24 * scale.times).map(|_| async {
        let stream = connect(target.main).await?;
        let mut stream = send_head(stream, "/api/projects/save", &token, LENGTH, &[]).await?;
        // All bodies progress at the same rate.
        for part in body.chunks(64 * 1024) {
            stream.write_all(part).await?;
            tokio::task::yield_now().await;
        }
        let mut answer = [0; 12];
        test_support::canary::within(ANSWERED_WITHIN, stream.read_exact(&mut answer)).await.context("no answer")??;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    });
    let answers: Vec<_> = futures::future::join_all(sent).await.into_iter().collect::<Result<_>>()?;
    // The status 400 means that the whole body arrived, because the message is not a valid save.
    let arrived = answers.iter().filter(|answer| answer.ends_with("400")).count();
    ensure!(arrived >= answers.len() / 2 && !answers.iter().any(|answer| answer.ends_with("408")), "{answers:?}");
    Ok(())
}

/// Two addresses with two accounts each start as many bodies as one address may.
pub(super) async fn two_addresses(target: &Target, scale: Scale) -> Result<()> {
    const LENGTH: usize = 8 * 1024 * 1024;
    let mut held = Vec::new();
    for address in [ATTACKER, ATTACKER, SECOND, SECOND] {
        let token = Person::sign_up(&target.url).await?.access_token().await?;
        for _ in 0..17 * scale.times {
            let stream = connect_from(address, target.main).await?;
            held.push(send_head(stream, "/api/chat", &token, LENGTH, &[b' '; 64 * 1024]).await?);
        }
    }
    tokio::time::sleep(scale.lasts).await;
    Ok(())
}
