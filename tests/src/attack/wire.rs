//! Connections of an attacker: from an address of their own, and down to the frames.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use http::{Method, Request};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};

/// Where the stranger comes from.
pub const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A connection of the stranger's.
///
/// # Errors
/// If nobody listens, or nobody accepts.
pub async fn connect(to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((STRANGER, 0)))?;
    Ok(crate::canary::within(Duration::from_secs(10), socket.connect(to)).await.context("no connection")??)
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
        crate::canary::within(time, &mut self.driving).await.is_ok()
    }

    /// Whether the other end has ended the connection.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.driving.is_finished()
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.driving.abort();
    }
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
