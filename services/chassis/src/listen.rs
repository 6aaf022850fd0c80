//! The accept loop of every listener, HTTP and gRPC. It has limits that the `serve` functions of the libraries lack: the time for the
//! headers of a request, the idle time of a connection, the pace of a client that reads, the bytes of responses that it leaves unread,
//! the connections of a listener and of an address, and the streams that a client may reset. It also continues after the process has
//! run out of file descriptors.

mod connection;
mod pace;
mod penalty;
mod response;
mod secure;
mod serve;
mod stream;

use std::{convert::Infallible, io, num::NonZeroUsize, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{rt::TokioTimer, server::conn::auto::Builder};
use tokio::{net::TcpListener, sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;
use tower::Service;

pub use self::{connection::Connection, response::OnBehalfOf};
use self::{connection::Connections, stream::Streams};
use crate::{
    config::Env,
    share::{Exhausted, Percent, Shares},
    task::Tasks,
    tls::Tls,
};

/// The most bytes that an HTTP connection buffers in one direction.
const BUFFER: usize = 64 * 1024;
/// The concurrent streams of a gRPC connection. Further streams wait.
pub(crate) const MAX_STREAMS: u32 = 10_000;
/// The delay after an accept that failed because of missing resources.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How long a new connection waits until the connection that it replaces is closed.
const REPLACE_TIMEOUT: Duration = Duration::from_secs(1);

/// The protocol of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2 for browsers and other clients.
    Web,
    /// HTTP/2 for gRPC, with flow control windows for large messages between services.
    Grpc,
}

/// The limits of a listener of either protocol.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections. Further ones wait in the kernel's queue.
    pub connections: usize,
    /// The part of each shared resource that one client may hold.
    pub percent: Percent,
    /// The time until the first request of a new connection, and for the headers of each further HTTP/1.1 request.
    pub header: Duration,
    /// How long a connection may stay open without a request, after the first one.
    pub idle: Duration,
    /// How long a client may read nothing while a response waits.
    pub write: Duration,
    /// The least bytes a second that a client must read while a response waits. 0: no minimum.
    pub pace: usize,
    /// Bytes of responses that clients have not read yet, of all clients together.
    pub unsent: usize,
    /// The penalty (see `penalty`) above which a connection is closed.
    pub resets: usize,
    /// The penalty above which an address is throttled. It decreases by one a second.
    pub many_resets: usize,
    /// Bytes of requests a second that are read from a throttled address.
    pub slow_pace: usize,
    /// Requests of one connection whose task has not run yet. Nothing more is read until there are fewer.
    pub pending: usize,
    /// Bytes that one poll of a connection may read. hyper reads everything available before it dispatches the first request.
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
            slow_pace: number(env, "BACKLOT_SLOW_PACE", "204800", "bytes of requests a second from an address that is read slowly"),
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
        env.require_positive([
            ("BACKLOT_HEADER_TIMEOUT", limits.header),
            ("BACKLOT_IDLE_TIMEOUT", limits.idle),
            ("BACKLOT_WRITE_TIMEOUT", limits.write),
        ]);
        limits
    }
}

/// The settings of a listener and the state that its connections share.
pub struct Listener<B> {
    pub limits: Limits,
    pub protocol: Protocol,
    /// Whether all connections come from a proxy, so that their address is not the client's.
    pub proxied: bool,
    /// Bytes of responses that clients have not read yet. All listeners of a process share it.
    pub unsent: Arc<Shares>,
    /// Makes the response that replaces one for which the client has no share of `unsent`.
    pub refuse: RefusalFn<B>,
    /// The certificate of the role, if other roles connect with TLS.
    pub tls: Option<Arc<Tls>>,
}

/// Makes the response to a request that exceeds a share.
pub type RefusalFn<B> = Arc<dyn Fn(Exhausted) -> Response<B> + Send + Sync>;

impl<B> Listener<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Accepts connections until `stop` is cancelled. Each connection is one of `tasks`; it finishes its open requests and then closes.
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
                // If no slot is free, clients wait in the kernel's queue.
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
                        let registration = connections.register(peer, address, Instant::now() + REPLACE_TIMEOUT).await;
                        let Ok(registration) = registration else { return };
                        serve::serve(&this, stream, service, &registration.connection, stop).await;
                    });
                }
                Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
                Err(e) => {
                    tracing::warn!("cannot accept a connection: {e}");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
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
    // hyper's header timeout starts at the end of the last response, so it would close idle connections. `pace::idle` has both limits.
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
        // The gateway opens and resets the streams of many viewers on one connection; `client` has the same settings. The resets of
        // strangers are limited by `Limits::resets`.
        .max_pending_accept_reset_streams(100_000)
        .max_local_error_reset_streams(None);
    builder
}
