//! Attacks on the services' gRPC listeners, without a token.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use crate::{
    target::{Scale, Target},
    wire::{self, Frames, WINDOW, call, prefix},
};

/// More calls than a service has slots.
const UNFINISHED: usize = 1_030;

/// Starts calls that never send their message, on one connection each time.
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

/// Announces large messages, sends a part of them and never ends them.
pub(super) async fn unfinished_messages(target: &Target, scale: Scale) -> Result<()> {
    let to = *target.grpc.get("project-storage").context("no project-storage")?;
    let token = target.attacker.access_token().await?;
    let path = "/backlot.project_storage.v1.ProjectStorageService/SaveProject";
    let mut held = Vec::new();
    for at in 0..8 * scale.times {
        let frames = Frames::open(to, WINDOW).await?;
        let mut send = frames.send.clone().ready().await?;
        let (answer, mut body) = send.send_request(call(to, path, Some(&token)), false)?;
        // Every second one is larger than the limit of the plan and is refused at once.
        // An error means that the server has already refused.
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
    ensure!(closed > 0, "no connection was closed because of its resets");
    Ok(())
}

pub(super) async fn silent_connections(target: &Target, scale: Scale) -> Result<()> {
    let to = *target.grpc.get("auth").context("no auth")?;
    super::http::hold_silent(to, 1_500 * scale.times, scale.lasts).await
}

/// Calls RPCs that do not exist. Their names must not use memory.
pub(super) async fn unknown_rpcs(target: &Target, scale: Scale) -> Result<()> {
    let to = *target.grpc.get("auth").context("no auth")?;
    let (mut sent, started) = (0, Instant::now());
    while sent < 2_000 * scale.times || started.elapsed() < scale.lasts {
        let Ok(frames) = Frames::open(to, WINDOW).await else { continue };
        // A hundred calls at a time, until the server closes the connection.
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
            if sent >= 2_000 * scale.times && started.elapsed() >= scale.lasts {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Opens health watches that are never read.
pub(super) async fn open_watches(target: &Target, scale: Scale) -> Result<()> {
    let to = *target.grpc.get("auth").context("no auth")?;
    let mut held = Vec::new();
    for _ in 0..3 * scale.times {
        let frames = Frames::open(to, 0).await?;
        let mut answers = Vec::new();
        for _ in 0..2_000 {
            let Ok(mut send) = frames.send.clone().ready().await else { break };
            let (answer, mut body) = send.send_request(call(to, "/grpc.health.v1.Health/Watch", None), false)?;
            // An error means that the server has already refused.
            _ = body.send_data(prefix(0), true);
            answers.push(answer);
        }
        held.push((frames, answers));
    }
    tokio::time::sleep(scale.lasts).await;
    Ok(())
}
