//! Whether a connection moves: how long it has no request, and how slowly its client takes what waits for it.

use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

use super::{Connection, Limits};

/// How often a connection is looked at within the time in which a client may take nothing.
const LOOKS: u32 = 5;

/// Requests of one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Whose answer is not yet written or dropped.
    pub(super) open: u32,
    pub(super) served: u64,
}

/// What moves on one connection.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// The socket takes no more bytes at present.
    blocked: AtomicBool,
    /// Answers whose next bytes wait for the client to open its window.
    pub(super) waiting: AtomicU32,
    /// Pieces of answers so far.
    pub(super) pieces: AtomicU64,
    /// Bytes that the socket has taken so far.
    sent: AtomicU64,
}

/// Ends when the connection has been without a request for too long. Who still reads the last answer is not idle, and neither is a
/// service of the cluster.
pub(super) async fn idle(connection: &Connection, limits: &Limits) {
    let mut load = connection.0.load.subscribe();
    loop {
        let Ok(seen) = load.wait_for(|l| l.open == 0).await.map(|l| *l) else { return std::future::pending().await };
        let limit = if seen.served == 0 { limits.header } else { limits.idle };
        let waited = tokio::time::timeout(limit, load.wait_for(|l| *l != seen)).await;
        if waited.is_err() && !connection.0.traffic.blocked.load(Ordering::Relaxed) && !connection.is_trusted() {
            return;
        }
    }
}

/// Ends when the client takes what waits for it too slowly, or not at all because it keeps all windows of HTTP/2 shut. The socket
/// is not blocked then, so [`Paced`] sees nothing of it.
pub(super) async fn stalled(connection: &Connection, limits: &Limits) {
    let traffic = &connection.0.traffic;
    let least = u64::try_from(limits.pace).unwrap_or(u64::MAX).saturating_mul(limits.write.as_secs());
    // At how many looks in a row something waited, and what had moved at the first of them.
    let (mut looks, mut pieces, mut sent) = (0, 0, 0);
    loop {
        tokio::time::sleep(limits.write / LOOKS).await;
        let waiting = traffic.waiting.load(Ordering::Relaxed);
        let shut = waiting > 0 && waiting == connection.0.load.borrow().open;
        if !shut && !traffic.blocked.load(Ordering::Relaxed) {
            looks = 0;
            continue;
        }
        if looks == 0 {
            (pieces, sent) = (traffic.pieces.load(Ordering::Relaxed), traffic.sent.load(Ordering::Relaxed));
        }
        looks += 1;
        if looks <= LOOKS {
            continue;
        }
        let moved = traffic.pieces.load(Ordering::Relaxed) != pieces;
        if (shut && !moved) || traffic.sent.load(Ordering::Relaxed) - sent < least {
            return;
        }
        looks = 0;
    }
}

/// A socket that fails when the other end takes nothing for too long, and counts what it takes.
pub(super) struct Paced {
    stream: TcpStream,
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    connection: Connection,
}

impl Paced {
    pub(super) fn new(stream: TcpStream, limit: Duration, connection: Connection) -> Self {
        Self { stream, limit, waiting: None, connection }
    }

    fn watch(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let traffic = &self.connection.0.traffic;
        if self.waiting.is_some() == written.is_ready() {
            traffic.blocked.store(written.is_pending(), Ordering::Relaxed);
        }
        if let Poll::Ready(taken) = written {
            let bytes = taken.as_ref().map_or(0, |bytes| *bytes as u64);
            traffic.sent.fetch_add(bytes, Ordering::Relaxed);
            self.waiting = None;
            return Poll::Ready(taken);
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for Paced {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
