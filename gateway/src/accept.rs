//! The accept loop of a listener that the internet reaches. What axum's own `serve` leaves open is decided here: how long a
//! head may take, how long a connection may idle, how long a client may refuse to read, how many connections there are, and
//! that the loop survives running out of file descriptors.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody},
    http::{Request, Response, Version},
};
use bytes::Bytes;
use chassis::task::Tasks;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{Instant, Sleep},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::request::Peer;

/// What a connection buffers at most in one direction; a client that does not read costs this much.
const BUFFER: usize = 64 * 1024;
/// A graceful close that the client does not answer.
const CLOSE_TIME: Duration = Duration::from_secs(5);
/// After an accept that failed for want of resources.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    /// To the first request, and for each head.
    pub(crate) header: Duration,
    /// Without a request, after the first one.
    pub(crate) idle: Duration,
    /// Bytes that the client does not take.
    pub(crate) write: Duration,
}

/// Accepts until `stop`; open connections are `tasks`, which finish what they have begun and then close.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: Limits, tasks: &Tasks, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    loop {
        let next = async {
            // When all slots are taken, clients wait in the kernel's queue.
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let Some((slot, accepted)) = stop.run_until_cancelled(next).await else { return };
        match accepted {
            Ok((stream, peer)) => {
                let connection = Box::pin(connection(stream, peer, router.clone(), limits, stop.clone()));
                tasks.spawn(async move {
                    let _slot = slot;
                    connection.await;
                });
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
            Err(e) => {
                tracing::warn!("cannot accept a connection: {e}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, limits: Limits, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let load = watch::Sender::new(Load::default());
    let traffic = Arc::new(Traffic::default());
    let service = tower::service_fn({
        let (load, traffic) = (load.clone(), Arc::clone(&traffic));
        move |request: Request<Incoming>| answer(router.clone(), request, peer, Open::new(load.clone(), Arc::clone(&traffic)))
    });
    let builder = builder(limits.header);
    let io = TokioIo::new(Impatient { stream, limit: limits.write, waiting: None, traffic: Arc::clone(&traffic) });
    let mut serving = pin!(builder.serve_connection(io, TowerToHyperService::new(service)));
    tokio::select! {
        _ = serving.as_mut() => return,
        () = stop.cancelled() => {}
        () = idle(load.subscribe(), &traffic, limits) => {}
        () = stalled(load.subscribe(), &traffic, limits) => return,
    }
    serving.as_mut().graceful_shutdown();
    // Requests in work go on; once there are none, the client has a moment to close.
    let forsaken = async {
        let mut load = load.subscribe();
        let _ = load.wait_for(|l| l.open == 0).await;
        tokio::time::sleep(CLOSE_TIME).await;
    };
    tokio::select! {
        _ = serving.as_mut() => {}
        () = forsaken => {}
    }
}

fn builder(header: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header).max_buf_size(BUFFER).max_headers(100);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(BUFFER)
        .max_header_list_size(16 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    builder
}

/// Requests of one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Load {
    /// Whose answer is not yet written or dropped.
    open: u32,
    served: u64,
}

/// What moves on one connection.
#[derive(Debug, Default)]
struct Traffic {
    /// The socket takes no more bytes at present.
    blocked: AtomicBool,
    /// Answers whose next bytes wait for the client to open its window.
    waiting: AtomicU32,
    /// Pieces of answers so far.
    pieces: AtomicU64,
}

/// Ends when the connection has been without a request for too long. Who still reads the last answer is not idle.
async fn idle(mut load: watch::Receiver<Load>, traffic: &Traffic, limits: Limits) {
    loop {
        let Ok(seen) = load.wait_for(|l| l.open == 0).await.map(|l| *l) else { return std::future::pending().await };
        let limit = if seen.served == 0 { limits.header } else { limits.idle };
        let waited = tokio::time::timeout(limit, load.wait_for(|l| *l != seen)).await;
        if waited.is_err() && !traffic.blocked.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Ends when no answer of the connection has gone on for too long because its client keeps all windows of HTTP/2 shut. The
/// socket is not blocked then, so [`Impatient`] sees nothing of it.
async fn stalled(load: watch::Receiver<Load>, traffic: &Traffic, limits: Limits) {
    let mut seen = None;
    loop {
        tokio::time::sleep(limits.write).await;
        let pieces = Some(traffic.pieces.load(Ordering::Relaxed));
        let waiting = traffic.waiting.load(Ordering::Relaxed);
        if waiting > 0 && waiting == load.borrow().open && pieces == seen {
            return;
        }
        seen = pieces;
    }
}

async fn answer(router: Router, request: Request<Incoming>, peer: SocketAddr, mut open: Open) -> Result<Response<Body>, Infallible> {
    let windowed = request.version() == Version::HTTP_2;
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    let response = router.oneshot(request).await?;
    open.waits(windowed);
    Ok(response.map(|body| Body::new(Tracked { body, open, windowed })))
}

/// One request, until its answer is written.
struct Open {
    load: watch::Sender<Load>,
    traffic: Arc<Traffic>,
    /// For its client.
    waiting: bool,
}

impl Open {
    fn new(load: watch::Sender<Load>, traffic: Arc<Traffic>) -> Self {
        load.send_modify(|l| {
            l.open += 1;
            l.served += 1;
        });
        Self { load, traffic, waiting: false }
    }

    fn waits(&mut self, waiting: bool) {
        self.traffic.pieces.fetch_add(1, Ordering::Relaxed);
        match (self.waiting, waiting) {
            (false, true) => _ = self.traffic.waiting.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = self.traffic.waiting.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        self.waiting = waiting;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.waits(false);
        self.load.send_modify(|l| l.open -= 1);
    }
}

/// An answer's body that counts as open until it is dropped.
struct Tracked {
    body: Body,
    open: Open,
    /// Asked for the next piece only when the client has room for it.
    windowed: bool,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if self.windowed {
            self.open.waits(polled.is_ready());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that fails when the other end takes nothing for too long.
struct Impatient {
    stream: TcpStream,
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    traffic: Arc<Traffic>,
}

impl Impatient {
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self.waiting.is_some() == written.is_ready() {
            self.traffic.blocked.store(written.is_pending(), Ordering::Relaxed);
        }
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Impatient {
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
