//! Detects connections that are idle and clients that read too slowly, and limits how fast a connection is read.

use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

use super::{Connection, Limits, penalty::THROTTLED_READ};

/// How often a connection is checked within [`Limits::write`].
const CHECKS: u32 = 5;

/// The requests of one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Activity {
    /// Requests whose response is not yet written or dropped.
    pub(super) open: u32,
    /// All requests so far.
    pub(super) served: u64,
    /// Whether the last request was HTTP/1.1, so that bytes without an open request start the next one.
    pub(super) is_http1: bool,
    /// Whether a part of the next request's headers has arrived.
    pub(super) head_started: bool,
}

impl Activity {
    /// How long the connection may stay in this state.
    fn limit(&self, limits: &Limits) -> Duration {
        if self.served == 0 || self.head_started { limits.header } else { limits.idle }
    }
}

/// Counters of one connection.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Whether the socket's send buffer is full.
    blocked: AtomicBool,
    /// Polls of the connection's task.
    polls: AtomicU64,
    /// Requests that have arrived.
    arrived: AtomicU64,
    /// Requests that have arrived and whose task has not run yet.
    pending: AtomicU64,
    /// Wakes the connection's task when another request may be read.
    reader: AtomicWaker,
    /// Bytes that were written to the socket.
    sent: AtomicU64,
}

impl Traffic {
    /// Counts a poll of the connection's task.
    pub(super) fn polled(&self) {
        self.polls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that has arrived.
    pub(super) fn request_arrived(&self) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
        self.pending.fetch_add(1, Ordering::AcqRel);
    }

    /// Records that the task of a request has run.
    pub(super) fn request_started(&self) {
        self.pending.fetch_sub(1, Ordering::AcqRel);
        self.reader.wake();
    }

    /// Ready if fewer than `max_pending` requests wait for their task. Otherwise the task is woken later.
    fn poll_pending(&self, max_pending: u64, cx: &Context<'_>) -> Poll<()> {
        let is_below = || self.pending.load(Ordering::Acquire) < max_pending;
        if is_below() {
            return Poll::Ready(());
        }
        self.reader.register(cx.waker());
        // The number may have changed before the waker was registered.
        if is_below() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Waits until the connection was idle for too long, or the headers of a request have taken too long. Returns its activity. A client that
/// still reads the last response is not idle, and a service of the cluster never is.
pub(super) async fn idle(connection: &Connection, limits: &Limits) -> Activity {
    let mut activity = connection.0.activity.subscribe();
    loop {
        let Ok(current) = activity.wait_for(|l| l.open == 0).await.map(|l| *l) else { return std::future::pending().await };
        let changed = tokio::time::timeout(current.limit(limits), activity.wait_for(|l| *l != current)).await;
        if changed.is_err() && !connection.0.traffic.blocked.load(Ordering::Relaxed) && !connection.is_trusted() {
            return current;
        }
    }
}

/// Waits until the client has read too slowly from the socket. Shared connections are exempt; a single stream whose client does not open
/// its window is reset, see [`super::stream`].
pub(super) async fn stalled(connection: &Connection, limits: &Limits) {
    let traffic = &connection.0.traffic;
    let min_bytes = u64::try_from(limits.pace).unwrap_or(u64::MAX).saturating_mul(limits.write.as_secs());
    // The number of successive checks at which the socket was blocked, and the bytes sent at the first of them.
    let (mut checks, mut sent) = (0, 0);
    loop {
        tokio::time::sleep(limits.write / CHECKS).await;
        if connection.is_shared() || !traffic.blocked.load(Ordering::Relaxed) {
            checks = 0;
            continue;
        }
        if checks == 0 {
            sent = traffic.sent.load(Ordering::Relaxed);
        }
        checks += 1;
        if checks <= CHECKS {
            continue;
        }
        if traffic.sent.load(Ordering::Relaxed) - sent < min_bytes {
            return;
        }
        checks = 0;
    }
}

/// A socket with limits. Writing fails if the peer reads nothing for too long. Reading waits until the tasks of earlier requests have
/// run: a client that opens and resets streams as fast as it can would otherwise cause an unbounded number of tasks.
pub(super) struct PacedSocket {
    stream: TcpStream,
    /// [`Traffic::polls`] at the last read.
    polls: u64,
    /// [`Traffic::arrived`] at the last pause.
    arrived: u64,
    /// Bytes that may still be read in this poll.
    allowance: usize,
    /// The pause before the next read of a throttled address.
    pause: Option<Pin<Box<Sleep>>>,
    read_size: usize,
    max_pending: u64,
    write_timeout: Duration,
    /// Runs while a write is blocked.
    write_timer: Option<Pin<Box<Sleep>>>,
    connection: Connection,
}

impl PacedSocket {
    pub(super) fn new(stream: TcpStream, limits: &Limits, connection: Connection) -> Self {
        Self {
            stream,
            polls: 0,
            arrived: 0,
            allowance: limits.read_size,
            pause: None,
            read_size: limits.read_size,
            max_pending: limits.pending as u64,
            write_timeout: limits.write,
            write_timer: None,
            connection,
        }
    }

    /// Counts the result of a write, and fails a write that was blocked for too long.
    fn check_write(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let traffic = &self.connection.0.traffic;
        if self.write_timer.is_some() == written.is_ready() {
            traffic.blocked.store(written.is_pending(), Ordering::Relaxed);
        }
        if let Poll::Ready(result) = written {
            let bytes = result.as_ref().map_or(0, |bytes| *bytes as u64);
            traffic.sent.fetch_add(bytes, Ordering::Relaxed);
            self.write_timer = None;
            return Poll::Ready(result);
        }
        let timeout = self.write_timeout;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + timeout)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }

    /// Records that bytes have arrived, which may start a request.
    fn note_read(&self) {
        let activity = &self.connection.0.activity;
        let starts_head = |activity: &Activity| activity.is_http1 && activity.open == 0 && !activity.head_started;
        // Most reads do not start a request and need only the read lock.
        if starts_head(&activity.borrow()) {
            activity.send_if_modified(|activity| {
                let starts_head = starts_head(activity);
                activity.head_started |= starts_head;
                starts_head
            });
        }
    }

    /// The bytes that may be read now. If there are none, the task is woken after other tasks have run, or after a pause.
    fn poll_allowance(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let traffic = &self.connection.0.traffic;
        let (polls, arrived) = (traffic.polls.load(Ordering::Relaxed), traffic.arrived.load(Ordering::Relaxed));
        // Reads without new requests, such as those of an upload, are not throttled.
        if self.connection.is_throttled() && self.arrived != arrived {
            if self.allowance == 0 {
                let penalty = &self.connection.0.address_penalty;
                let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(penalty.reserve_read())));
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
                self.arrived = arrived;
                self.allowance = THROTTLED_READ;
            }
        } else if self.polls != polls {
            self.allowance = self.read_size;
        } else if self.allowance == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.polls = polls;
        Poll::Ready(self.allowance)
    }
}

impl AsyncRead for PacedSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.connection.is_shared() {
            let before = buf.filled().len();
            let read = Pin::new(&mut self.stream).poll_read(cx, buf);
            if buf.filled().len() > before {
                self.note_read();
            }
            return read;
        }
        // The client may have sent thousands of further requests.
        if self.connection.0.banned.is_cancelled() {
            return Poll::Pending;
        }
        ready!(self.connection.0.traffic.poll_pending(self.max_pending, cx));
        let allowance = ready!(self.poll_allowance(cx));
        let room = buf.remaining().min(allowance);
        let mut piece = ReadBuf::new(buf.initialize_unfilled_to(room));
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut piece);
        let filled = piece.filled().len();
        self.allowance -= filled;
        buf.advance(filled);
        if filled > 0 {
            self.note_read();
        }
        read
    }
}

impl AsyncWrite for PacedSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.check_write(cx, written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.check_write(cx, written)
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use futures::poll;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::{super::penalty::Penalties, *};
    use crate::config::Env;

    const ALLOWANCE: usize = 8 * 1024;
    const MAX_PENDING: u64 = 16;
    const MAX_PENALTY: usize = 100;

    /// A socket with this number of bytes to read, its connection, and the client's end.
    async fn paced(bytes: usize, proxied: bool) -> (PacedSocket, Connection, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        client.write_all(&vec![0; bytes]).await.unwrap();
        stream.readable().await.unwrap();
        let limits = Limits::read(&mut Env::of([("BACKLOT_MAX_RESETS", MAX_PENALTY.to_string())]));
        let penalty = Penalties::new(&limits).of(peer.ip());
        let connection = Connection::new(1, SocketAddr::new(peer.ip(), 1), MAX_PENALTY, penalty, proxied);
        (PacedSocket::new(stream, &limits, connection.clone()), connection, client)
    }

    /// The bytes that can be read in this poll of the connection.
    async fn read(paced: &mut PacedSocket) -> usize {
        let (mut buffer, mut all) = (vec![0; 64 * 1024], 0);
        while let Poll::Ready(read) = poll!(std::pin::pin!(paced.read(&mut buffer))) {
            all += read.unwrap();
        }
        all
    }

    #[tokio::test]
    async fn only_a_connection_of_one_client_is_closed_as_stalled() {
        let limits = Limits::read(&mut Env::of([("BACKLOT_WRITE_TIMEOUT", "1s")]));
        for (shared, patience) in [(false, Duration::from_secs(20)), (true, limits.write * 10)] {
            let (_paced, connection, _client) = paced(1, shared).await;
            connection.0.traffic.blocked.store(true, Ordering::Relaxed);
            let ended = tokio::time::timeout(patience, stalled(&connection, &limits)).await.is_ok();
            assert_eq!(ended, !shared, "shared: {shared}");
        }
    }

    #[tokio::test]
    async fn one_poll_reads_at_most_the_allowance() {
        let (mut paced, connection, _client) = paced(3 * ALLOWANCE, false).await;
        assert_eq!((read(&mut paced).await, read(&mut paced).await), (ALLOWANCE, 0));
        connection.0.traffic.polled();
        assert_eq!(read(&mut paced).await, ALLOWANCE);
    }

    #[tokio::test]
    async fn nothing_is_read_while_too_many_requests_are_pending() {
        let (mut paced, connection, _client) = paced(ALLOWANCE, false).await;
        (0..MAX_PENDING).for_each(|_| connection.0.traffic.request_arrived());
        assert_eq!(read(&mut paced).await, 0);
        connection.0.traffic.request_started();
        assert_eq!(read(&mut paced).await, ALLOWANCE);
    }

    #[tokio::test]
    async fn requests_of_a_throttled_address_are_read_slowly_and_uploads_are_not() {
        let (mut paced, connection, _client) = paced(4 * ALLOWANCE, false).await;
        (0..50).for_each(|_| connection.add_penalty());
        assert_eq!(read(&mut paced).await, ALLOWANCE);
        let request = |paced: &mut PacedSocket| {
            paced.connection.0.traffic.request_arrived();
            paced.connection.0.traffic.request_started();
            paced.connection.0.traffic.polled();
        };
        request(&mut paced);
        assert_eq!(read(&mut paced).await, 0);
        let mut buffer = vec![0; ALLOWANCE];
        assert_eq!(paced.read(&mut buffer).await.unwrap(), THROTTLED_READ, "after a pause");
        // The last read brought no request.
        connection.0.traffic.polled();
        assert_eq!(read(&mut paced).await, ALLOWANCE);
    }

    #[tokio::test]
    async fn nothing_is_read_from_a_banned_connection() {
        for (shared, bytes) in [(false, 0), (true, 3 * ALLOWANCE)] {
            let (mut paced, connection, _client) = paced(3 * ALLOWANCE, shared).await;
            (0..=MAX_PENALTY).for_each(|_| connection.add_penalty());
            assert_eq!(read(&mut paced).await, bytes, "shared: {shared}");
        }
    }
}
