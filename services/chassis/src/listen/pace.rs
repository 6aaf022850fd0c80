//! Whether a connection moves: how long it has no request, and how slowly its client takes what waits for it at the socket.

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

use super::{Connection, Limits, waste::SLOW_READ};

/// How often a connection is looked at within the time in which a client may take nothing.
const LOOKS: u32 = 5;

/// Requests of one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Whose answer is not yet written or dropped.
    pub(super) open: u32,
    pub(super) served: u64,
    /// HTTP/1.1 is spoken: what comes without a request that is open begins the next one.
    pub(super) in_turn: bool,
    /// The next request has begun and its head is not whole.
    pub(super) begun: bool,
}

impl Load {
    /// How long the connection may stay like this.
    fn limit(&self, limits: &Limits) -> Duration {
        if self.served == 0 || self.begun { limits.header } else { limits.idle }
    }
}

/// What moves on one connection.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// The socket takes no more bytes at present.
    blocked: AtomicBool,
    /// How many times the connection's task was polled.
    polls: AtomicU64,
    /// Requests so far.
    arrived: AtomicU64,
    /// Requests that have come in and whose task has not yet run.
    pending: AtomicU64,
    /// The connection's task, which is woken when there is room for more requests.
    reader: AtomicWaker,
    /// Bytes that the socket has taken so far.
    sent: AtomicU64,
}

impl Traffic {
    /// The connection's task is polled.
    pub(super) fn polled(&self) {
        self.polls.fetch_add(1, Ordering::Relaxed);
    }

    /// A request has come in.
    pub(super) fn request_arrived(&self) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
        self.pending.fetch_add(1, Ordering::AcqRel);
    }

    /// Its task runs.
    pub(super) fn request_started(&self) {
        self.pending.fetch_sub(1, Ordering::AcqRel);
        self.reader.wake();
    }

    /// Ready while there is room for more requests; otherwise the task is woken when there is.
    fn poll_room(&self, most_pending: u64, cx: &Context<'_>) -> Poll<()> {
        let has_room = || self.pending.load(Ordering::Acquire) < most_pending;
        if has_room() {
            return Poll::Ready(());
        }
        self.reader.register(cx.waker());
        // Room may have come before the task was registered.
        if has_room() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Ends when the connection has been without a request for too long, or when the head of one takes too long, and answers how it stood
/// then. Who still reads the last answer is not idle, and neither is a service of the cluster.
pub(super) async fn idle(connection: &Connection, limits: &Limits) -> Load {
    let mut load = connection.0.load.subscribe();
    loop {
        let Ok(seen) = load.wait_for(|l| l.open == 0).await.map(|l| *l) else { return std::future::pending().await };
        let waited = tokio::time::timeout(seen.limit(limits), load.wait_for(|l| *l != seen)).await;
        if waited.is_err() && !connection.0.traffic.blocked.load(Ordering::Relaxed) && !connection.is_trusted() {
            return seen;
        }
    }
}

/// Ends when the client takes what waits for it at the socket too slowly. A connection that carries the answers of many is not judged
/// as a whole: a stream whose client keeps its window shut ends by itself, see [`super::stream`].
pub(super) async fn stalled(connection: &Connection, limits: &Limits) {
    let traffic = &connection.0.traffic;
    let least = u64::try_from(limits.pace).unwrap_or(u64::MAX).saturating_mul(limits.write.as_secs());
    // At how many looks in a row something waited, and what was sent at the first of them.
    let (mut looks, mut sent) = (0, 0);
    loop {
        tokio::time::sleep(limits.write / LOOKS).await;
        if connection.is_shared() || !traffic.blocked.load(Ordering::Relaxed) {
            looks = 0;
            continue;
        }
        if looks == 0 {
            sent = traffic.sent.load(Ordering::Relaxed);
        }
        looks += 1;
        if looks <= LOOKS {
            continue;
        }
        if traffic.sent.load(Ordering::Relaxed) - sent < least {
            return;
        }
        looks = 0;
    }
}

/// A socket that fails when the other end takes nothing for too long, counts what it takes, and does not read faster than the
/// requests that it brings begin to be answered: a client that begins and resets streams as fast as it can would otherwise have an
/// unbounded number of tasks.
pub(super) struct Paced {
    stream: TcpStream,
    /// The connection's polls at the last read.
    polls: u64,
    /// The connection's requests at the last pause.
    arrived: u64,
    /// Bytes that may still be read in this poll.
    allowance: usize,
    /// Of an address that is read slowly.
    pause: Option<Pin<Box<Sleep>>>,
    read_size: usize,
    most_pending: u64,
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    connection: Connection,
}

impl Paced {
    pub(super) fn new(stream: TcpStream, limits: &Limits, connection: Connection) -> Self {
        Self {
            stream,
            polls: 0,
            arrived: 0,
            allowance: limits.read_size,
            pause: None,
            read_size: limits.read_size,
            most_pending: limits.pending as u64,
            limit: limits.write,
            waiting: None,
            connection,
        }
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

    /// Notes that bytes came, which may be the first ones of a request.
    fn note_begin(&self) {
        let load = &self.connection.0.load;
        let begins = |load: &Load| load.in_turn && load.open == 0 && !load.begun;
        // Most bytes begin nothing and need no more than a look.
        if begins(&load.borrow()) {
            load.send_if_modified(|load| {
                let begins = begins(load);
                load.begun |= begins;
                begins
            });
        }
    }

    /// How many bytes may be read now. If none, the task is woken once other tasks have run, or after a pause.
    fn poll_allowance(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let traffic = &self.connection.0.traffic;
        let (polls, arrived) = (traffic.polls.load(Ordering::Relaxed), traffic.arrived.load(Ordering::Relaxed));
        // What brings no request, such as a file on its way, is not slowed.
        if self.connection.is_slowed() && self.arrived != arrived {
            if self.allowance == 0 {
                let waste = &self.connection.0.waste;
                let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(waste.next_read())));
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
                self.arrived = arrived;
                self.allowance = SLOW_READ;
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

impl AsyncRead for Paced {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.connection.is_shared() {
            let before = buf.filled().len();
            let read = Pin::new(&mut self.stream).poll_read(cx, buf);
            if buf.filled().len() > before {
                self.note_begin();
            }
            return read;
        }
        // What the client has sent by now may be thousands of requests more.
        if self.connection.0.spent.is_cancelled() {
            return Poll::Pending;
        }
        ready!(self.connection.0.traffic.poll_room(self.most_pending, cx));
        let allowance = ready!(self.poll_allowance(cx));
        let room = buf.remaining().min(allowance);
        let mut piece = ReadBuf::new(buf.initialize_unfilled_to(room));
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut piece);
        let filled = piece.filled().len();
        self.allowance -= filled;
        buf.advance(filled);
        if filled > 0 {
            self.note_begin();
        }
        read
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use futures::poll;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::{super::waste::Wastes, *};
    use crate::config::Env;

    const ALLOWANCE: usize = 8 * 1024;
    const MOST_PENDING: u64 = 16;
    const MOST_WASTED: usize = 100;

    /// A socket that has these bytes to read, and its connection.
    async fn paced(bytes: usize, proxied: bool) -> (Paced, Connection, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        client.write_all(&vec![0; bytes]).await.unwrap();
        stream.readable().await.unwrap();
        let limits = Limits::read(&mut Env::of([("BACKLOT_MAX_RESETS", MOST_WASTED.to_string())]));
        let waste = Wastes::new(&limits).of(peer.ip());
        let connection = Connection::new(1, SocketAddr::new(peer.ip(), 1), MOST_WASTED, waste, proxied);
        (Paced::new(stream, &limits, connection.clone()), connection, client)
    }

    /// The bytes that can be read in this poll of the connection.
    async fn read(paced: &mut Paced) -> usize {
        let (mut buffer, mut all) = (vec![0; 64 * 1024], 0);
        while let Poll::Ready(read) = poll!(std::pin::pin!(paced.read(&mut buffer))) {
            all += read.unwrap();
        }
        all
    }

    #[tokio::test]
    async fn only_a_connection_of_one_client_ends_for_its_pace() {
        let limits = Limits::read(&mut Env::of([("BACKLOT_WRITE_TIMEOUT", "1s")]));
        for (shared, patience) in [(false, Duration::from_secs(20)), (true, limits.write * 10)] {
            let (_paced, connection, _client) = paced(1, shared).await;
            connection.0.traffic.blocked.store(true, Ordering::Relaxed);
            let ended = tokio::time::timeout(patience, stalled(&connection, &limits)).await.is_ok();
            assert_eq!(ended, !shared, "shared: {shared}");
        }
    }

    #[tokio::test]
    async fn one_poll_reads_a_piece() {
        let (mut paced, connection, _client) = paced(3 * ALLOWANCE, false).await;
        assert_eq!((read(&mut paced).await, read(&mut paced).await), (ALLOWANCE, 0));
        connection.0.traffic.polled();
        assert_eq!(read(&mut paced).await, ALLOWANCE);
    }

    #[tokio::test]
    async fn nothing_is_read_while_requests_wait_for_their_task() {
        let (mut paced, connection, _client) = paced(ALLOWANCE, false).await;
        (0..MOST_PENDING).for_each(|_| connection.0.traffic.request_arrived());
        assert_eq!(read(&mut paced).await, 0);
        connection.0.traffic.request_started();
        assert_eq!(read(&mut paced).await, ALLOWANCE);
    }

    #[tokio::test]
    async fn requests_of_an_address_that_wastes_them_are_read_slowly_and_its_files_are_not() {
        let (mut paced, connection, _client) = paced(4 * ALLOWANCE, false).await;
        (0..50).for_each(|_| connection.count_wasted());
        assert_eq!(read(&mut paced).await, ALLOWANCE);
        let request = |paced: &mut Paced| {
            paced.connection.0.traffic.request_arrived();
            paced.connection.0.traffic.request_started();
            paced.connection.0.traffic.polled();
        };
        request(&mut paced);
        assert_eq!(read(&mut paced).await, 0);
        let mut buffer = vec![0; ALLOWANCE];
        assert_eq!(paced.read(&mut buffer).await.unwrap(), SLOW_READ, "after a pause");
        // No request has come with it.
        connection.0.traffic.polled();
        assert_eq!(read(&mut paced).await, ALLOWANCE);
    }

    #[tokio::test]
    async fn nothing_more_is_read_after_too_many_wasted_requests() {
        for (shared, bytes) in [(false, 0), (true, 3 * ALLOWANCE)] {
            let (mut paced, connection, _client) = paced(3 * ALLOWANCE, shared).await;
            (0..=MOST_WASTED).for_each(|_| connection.count_wasted());
            assert_eq!(read(&mut paced).await, bytes, "shared: {shared}");
        }
    }
}
