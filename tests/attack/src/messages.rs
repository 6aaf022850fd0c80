//! Attacks with messages that are small on the wire and large in memory, and with many messages in one stream.

use std::{io::Write as _, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use h2::client::ResponseFuture;

use crate::{
    target::{Scale, Target},
    wire::{Frames, WINDOW, call, prefix},
};

const SERVICE: &str = "/backlot.project_storage.v1.ProjectStorageService";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const MIB: usize = 1024 * 1024;
/// The limit for an answer. It checks liveness, not speed.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
/// The expected status code.
const RESOURCE_EXHAUSTED: &str = "8";

/// Encodes a message with its gRPC prefix.
fn framed(flag: u8, content: &[u8]) -> Result<Bytes> {
    Ok([&[flag], &u32::try_from(content.len())?.to_be_bytes()[..], content].concat().into())
}

/// Empty elements of a repeated field, two bytes each.
fn elements(field: u8, megabytes: usize) -> Vec<u8> {
    [field << 3 | 2, 0].repeat(megabytes * MIB / 2)
}

fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(content)?;
    Ok(gzip.finish()?)
}

/// Reads an answer. Returns its status code and the number of bytes before it.
async fn end(answer: ResponseFuture) -> Result<(String, usize)> {
    let code = |headers: &http::HeaderMap| headers.get("grpc-status").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (head, mut body) = test_support::canary::within(ANSWERED_WITHIN, answer).await.context("no answer")??.into_parts();
    if let Some(code) = code(&head.headers) {
        return Ok((code, 0));
    }
    let mut bytes = 0;
    while let Some(data) = test_support::canary::within(ANSWERED_WITHIN, body.data()).await.context("no end")? {
        let data = data?;
        bytes += data.len();
        body.flow_control().release_capacity(data.len())?;
    }
    let trailers = body.trailers().await?.context("no trailers")?;
    Ok((code(&trailers).context("no code")?, bytes))
}

/// Messages below the size limit of the transport that are too large when they are decoded.
pub(super) async fn bombs(target: &Target, scale: Scale) -> Result<()> {
    let to = *target.grpc.get("project-storage").context("no project-storage")?;
    let token = target.attacker.access_token().await?;
    let bombs = [
        ("SaveProject", framed(1, &gzip(&elements(4, 11))?)?),
        ("SaveProject", framed(1, &gzip(&vec![0; 100 * MIB])?)?),
        ("SaveProject", framed(0, &elements(4, 8))?),
        ("ResolveConflict", framed(0, &elements(4, 8))?),
        ("GetProject", framed(1, &gzip(&vec![0; 100 * MIB])?)?),
    ];
    let sent = (0..4 * scale.times).flat_map(|_| &bombs).map(|(rpc, message)| {
        let (token, message) = (&token, message.clone());
        async move {
            let frames = Frames::open(to, WINDOW).await?;
            let mut request = call(to, &format!("{SERVICE}/{rpc}"), Some(token));
            request.headers_mut().insert("grpc-encoding", http::HeaderValue::from_static("gzip"));
            let (answer, mut body) = frames.send.clone().ready().await?.send_request(request, false)?;
            body.send_data(message, true)?;
            end(answer).await
        }
    });
    for ended in futures::future::join_all(sent).await {
        let (code, _) = ended?;
        ensure!(code == RESOURCE_EXHAUSTED, "the status code is {code}");
    }
    Ok(())
}

/// Calls reflection on its own connection. Returns `None` if the server closed the connection, which it may do while an address has too many
/// connections.
async fn ask_reflection(to: SocketAddr, parts: Vec<Bytes>) -> Result<Option<(String, usize)>> {
    let ask = async {
        let frames = Frames::open(to, WINDOW).await?;
        let (answer, mut body) = frames.send.clone().ready().await?.send_request(call(to, REFLECTION, None), false)?;
        for part in parts {
            // An error means that the server has already refused.
            _ = body.send_data(part, false);
        }
        end(answer).await
    };
    match ask.await {
        Err(e) if e.downcast_ref::<h2::Error>().is_some_and(|e| e.is_io() || e.is_go_away()) => Ok(None),
        ended => ended.map(Some),
    }
}

/// Calls reflection `times` times concurrently. Every answer must be a refusal after at most `most` bytes, and there must be at least one.
async fn refused_by_reflection(to: SocketAddr, times: usize, parts: impl Fn() -> Vec<Bytes>, most: usize) -> Result<()> {
    let mut answers = 0;
    for ended in futures::future::join_all((0..times).map(|_| ask_reflection(to, parts()))).await {
        let Some((code, bytes)) = ended? else { continue };
        ensure!(code == RESOURCE_EXHAUSTED && bytes <= most, "reflection answered with code {code} after {bytes} bytes");
        answers += 1;
    }
    ensure!(answers > 0, "all of {times} connections were closed");
    Ok(())
}

/// Large reflection requests that never end, and streams with very many requests.
pub(super) async fn reflection(target: &Target, scale: Scale) -> Result<()> {
    let to = *target.grpc.get("project-storage").context("no project-storage")?;
    let large = || vec![prefix(4_194_000), Bytes::from_static(&[7; 3 * MIB])];
    refused_by_reflection(to, 140 * scale.times, large, 0).await?;
    let symbol = &SERVICE[1..];
    let question = framed(0, &[&[0x22, u8::try_from(symbol.len())?], symbol.as_bytes()].concat())?;
    let many = || vec![question.repeat(16_000).into()];
    // The first hundred requests of a stream are answered, with less than a megabyte each.
    refused_by_reflection(to, 8 * scale.times, many, 100 * MIB).await
}
