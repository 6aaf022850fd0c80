//! The accept loop of every listener, HTTP and gRPC. What the libraries' own `serve` leaves open is decided here: how long a head
//! may take, how long a connection may idle, how slowly a client may read and how much of an answer it may leave unread, how many
//! connections there are and how many one address has, how many streams a client may reset, and that the loop survives running out
//! of file descriptors.

mod answer;
mod connection;
mod pace;
mod serve;
mod stream;
mod waste;

use std::{convert::Infallible, io, num::NonZeroUsize, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{rt::TokioTimer, server::conn::auto::Builder};
use tokio::{net::TcpListener, sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;
use tower::Service;

pub use self::{answer::OnBehalfOf, connection::Connection};
use self::{connection::Connections, stream::Streams};
use crate::{
    config::Env,
    share::{Exhausted, Percent, Shares},
    task::Tasks,
};

/// What a connection of the web buffers at most in one direction; a client that does not read costs this much.
const BUFFER: usize = 64 * 1024;
/// Streams of one connection of gRPC; more wait.
pub(crate) const MAX_STREAMS: u32 = 10_000;
/// After an accept that failed for want of resources.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a new connection waits for the place of one that is closed for it.
const CHANGEOVER: Duration = Duration::from_secs(1);

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2 for browsers and programs.
    Web,
    /// HTTP/2 for gRPC, with windows for large messages between services.
    Grpc,
}

/// The settings that listeners of both protocols have.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections; more wait in the kernel's queue.
    pub connections: usize,
    /// What one holder may have of everything that is shared.
    pub percent: Percent,
    /// From the beginning to the first request, and in HTTP/1.1 from the first byte of each further head to its end.
    pub header: Duration,
    /// Without a request, after the first one.
    pub idle: Duration,
    /// In which the client takes no byte.
    pub write: Duration,
    /// Bytes a second that a client takes at least while an answer waits for it.
    pub pace: usize,
    /// Bytes of answers that are made and not yet taken.
    pub unsent: usize,
    /// Requests that a client resets, or sends above its limit, before the connection is closed.
    pub resets: usize,
    /// The same of all clients of an address, before they are read slowly; one a second is forgotten.
    pub many_resets: usize,
    /// Bytes a second that bring requests and are read of such an address.
    pub slow_pace: usize,
    /// Requests of a connection whose task may wait to run. Nothing more is read until there are fewer.
    pub pending: usize,
    /// Bytes of a connection that are read in one poll: hyper reads all that there is before it hands on the first request.
    pub read_size: usize,
}

impl Limits {
    pub fn read(env: &mut Env) -> Self {
        let number = |env: &mut Env, name, default, help| env.get::<NonZeroUsize>(name, default, help).get();
        let limits = Self {
            connections: number(
                env,
                "BACKLOT_MAX_CONNECTIONS",
                "10000",
                "open connections of each listener; more wait in the kernel's queue",
            ),
            percent: Percent::read(env),
            header: env.get("BACKLOT_HEADER_TIMEOUT", "10s", "how long the head of a request may take; on a new connection from its start"),
            idle: env.get("BACKLOT_IDLE_TIMEOUT", "75s", "how long a connection may stay open without a request"),
            write: env.get("BACKLOT_WRITE_TIMEOUT", "30s", "how long a client may take no byte of an answer"),
            pace: env.get(
                "BACKLOT_READ_PACE",
                "1024",
                "least bytes a second that a client must take while an answer waits; 0 disables this limit",
            ),
            unsent: number(env, "BACKLOT_UNSENT_BYTES", "536870912", "bytes of answers that clients have not read, in total"),
            resets: number(
                env,
                "BACKLOT_MAX_RESETS",
                "1000",
                "requests that a client may reset, or send above its limit, before its connection is closed",
            ),
            many_resets: number(
                env,
                "BACKLOT_MANY_RESETS",
                "20",
                "the same for one address (IPv6: /64) before it is read slowly; the count falls by one a second",
            ),
            slow_pace: number(env, "BACKLOT_SLOW_PACE", "204800", "bytes a second of requests of an address that is read slowly"),
            pending: number(
                env,
                "BACKLOT_MAX_PENDING_REQUESTS",
                "16",
                "requests of one connection that have arrived and are not yet handled",
            ),
            read_size: number(
                env,
                "BACKLOT_READ_SIZE",
                "8192",
                "bytes that are read from one connection before other connections are read",
            ),
        };
        env.longer_than_zero([
            ("BACKLOT_HEADER_TIMEOUT", limits.header),
            ("BACKLOT_IDLE_TIMEOUT", limits.idle),
            ("BACKLOT_WRITE_TIMEOUT", limits.write),
        ]);
        limits
    }
}

/// A listener's settings and what its connections share.
pub struct Listener<B> {
    pub limits: Limits,
    pub protocol: Protocol,
    /// Whether all connections come from a proxy, whose address says nothing of the client's.
    pub proxied: bool,
    /// Bytes of answers that are not yet sent; one for all listeners of a process.
    pub unsent: Arc<Shares>,
    /// The answer in place of one that the client may not leave unread.
    pub refuse: Refuse<B>,
}

/// Makes the answer in place of another one.
pub type Refuse<B> = Arc<dyn Fn(Exhausted) -> Response<B> + Send + Sync>;

impl<B> Listener<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Accepts until `stop`; open connections are `tasks`, which finish what they have begun and then close.
    pub async fn serve<S>(self, listener: TcpListener, service: S, tasks: &Tasks, stop: CancellationToken)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        let connections = Connections::new(&self.limits);
        let this = Arc::new(self);
        loop {
            let next = async {
                // When all slots are taken, clients wait in the kernel's queue.
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, listener.accept().await)
            };
            let Some((slot, accepted)) = stop.run_until_cancelled(next).await else { return };
            match accepted {
                Ok((stream, peer)) => {
                    let (this, stop) = (Arc::clone(&this), stop.clone());
                    let (service, connections) = (service.clone(), Arc::clone(&connections));
                    tasks.spawn(async move {
                        let _slot = slot;
                        let address = (!this.proxied).then(|| peer.ip());
                        let registered = connections.register(peer, address, Instant::now() + CHANGEOVER).await;
                        let Ok(registered) = registered else { return };
                        serve::serve(&this, stream, service, &registered.connection, stop).await;
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

    fn builder(&self) -> Builder<Streams> {
        let streams = Streams { limit: self.limits.write };
        match self.protocol {
            Protocol::Web => web(streams),
            Protocol::Grpc => grpc(streams),
        }
    }
}

fn web(streams: Streams) -> Builder<Streams> {
    let mut builder = Builder::new(streams);
    // The library's time of a head begins with the end of the last answer, and would end connections that only idle: `idle` has both.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(BUFFER).max_headers(100);
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

fn grpc(streams: Streams) -> Builder<Streams> {
    let mut builder = Builder::new(streams).http2_only();
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .max_header_list_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        // The gateway's viewers come and go on one connection; see the client's twin of these settings. Strangers' resets are
        // counted by `Limits::resets`.
        .max_pending_accept_reset_streams(100_000)
        .max_local_error_reset_streams(None);
    builder
}
