//! The connections of an attacker, from an address of its own, with control over single HTTP/2 frames.

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

/// The default flow-control window of HTTP/2, in bytes.
pub const WINDOW: u32 = 65_535;
/// The limit for the server to close a connection.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);

/// The address of the attacker.
pub const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Connects from the address of the attacker.
///
/// # Errors
/// If the connection is refused or not accepted in time.
pub async fn connect(to: SocketAddr) -> Result<TcpStream> {
    connect_from(ATTACKER, to).await
}

/// Connects from another address.
///
/// # Errors
/// If the connection is refused or not accepted in time.
pub async fn connect_from(address: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((address, 0)))?;
    Ok(test_support::canary::within(Duration::from_secs(10), socket.connect(to)).await.context("no connection")??)
}

/// An HTTP/2 connection of the attacker. It is open until it is dropped or the server closes it.
pub struct Frames {
    pub send: SendRequest<Bytes>,
    driving: JoinHandle<()>,
}

impl Frames {
    /// Connects. `window` is the flow-control window of each stream.
    ///
    /// # Errors
    /// If the connection or the HTTP/2 handshake fails.
    pub async fn open(to: SocketAddr, window: u32) -> Result<Self> {
        let stream = connect(to).await?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window).max_concurrent_reset_streams(100_000).max_local_error_reset_streams(None);
        let (send, connection): (SendRequest<Bytes>, Connection<TcpStream>) = builder.handshake(stream).await?;
        // An error closes the connection, which the attack detects.
        let driving = chassis::task::spawn(async move { _ = connection.await });
        Ok(Self { send, driving })
    }

    /// Whether the server closes the connection in time.
    pub async fn ends_within(mut self, time: Duration) -> bool {
        test_support::canary::within(time, &mut self.driving).await.is_ok()
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

/// Starts and resets requests as fast as possible, on one connection after the other, for at least the duration of the scale. `requests` is
/// their number at scale 1. Returns how many connections the server has closed.
pub async fn reset(to: SocketAddr, path: &str, requests: usize, scale: Scale) -> usize {
    let (mut left, mut closed, started) = (requests * scale.times, 0, Instant::now());
    let goes_on = |left: usize| started.elapsed() < scale.lasts || (left > 0 && started.elapsed() < scale.lasts * 10);
    while goes_on(left) {
        let Ok(frames) = Frames::open(to, WINDOW).await else { continue };
        while goes_on(left) {
            let Ok(mut send) = frames.send.clone().ready().await else { break };
            let Ok((_, mut body)) = send.send_request(call(to, path, None), false) else { break };
            // Without the yield the reset request would never be sent.
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

/// The headers of a gRPC call.
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

/// The prefix of a gRPC message with this length.
#[must_use]
pub fn prefix(bytes: u32) -> Bytes {
    [&[0], &bytes.to_be_bytes()[..]].concat().into()
}
