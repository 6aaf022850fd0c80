//! Channels to the other services.

mod deadline;
#[cfg(feature = "failpoints")]
mod failing;
mod retry;

use std::{error::Error, time::Duration};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::HttpConnector;
use tonic::{
    Request, Status,
    metadata::AsciiMetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

pub use self::retry::idempotent;
use self::{deadline::WithDeadline, retry::Retry};
use crate::{
    context::ClientAddress,
    identity::{Caller, Signer},
    listen::MAX_STREAMS,
    propagation,
    secret::ClusterSecret,
};

/// The largest message between services: a project of 50 MiB with its paths, or a save of 200 files, with room.
pub const MAX_MESSAGE_BYTES: usize = 112 * 1024 * 1024;

/// A channel that shows who calls, carries the trace, ends a call at its deadline, and retries a call that got no answer if it may be
/// repeated.
pub type ServiceChannel = InterceptedService<Retry<WithDeadline<Connection>>, Outgoing>;

/// Of what the headers or the trailers of one answer may have. Longer ones fail their call; h2 ends the connection, and with it the
/// calls of everybody else, only at four times as much. A fault has 8 KiB at most; whoever sends more is not of this release.
const MAX_HEADER_LIST_BYTES: u32 = 1024 * 1024;

/// Of one attempt to connect, the look-up of the name included.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

#[cfg(not(feature = "failpoints"))]
type Connection = Channel;
#[cfg(feature = "failpoints")]
type Connection = failing::Failing;

/// What the other end may send before it is read, on a stream and on the whole connection.
#[derive(Debug, Clone, Copy)]
struct Windows {
    stream: u32,
    connection: u32,
}

/// For answers that are read as they come, whoever waits for them: a load of 50 MiB should not wait for window updates.
const CALLS: Windows = Windows { stream: 1024 * 1024, connection: 4 * 1024 * 1024 };

/// For streams that are read as their viewers read. All the streams that a connection may have leave room in its window when none of
/// them is read, so that nobody waits for another one's viewer.
const STREAMS: Windows = Windows { stream: 64 * 1024, connection: (1 << 31) - 1 };
const _: () = assert!(STREAMS.stream as u64 * MAX_STREAMS as u64 <= STREAMS.connection as u64);

/// Connects at the first call, and again whenever the connection is lost.
#[must_use]
pub fn connect(me: Caller, to: Caller, uri: &Uri, secret: &ClusterSecret) -> ServiceChannel {
    connect_with(me, to, uri, secret, CALLS)
}

/// The same for streams that may be left unread. They need a connection of their own: what is unread on it takes nothing from calls.
#[must_use]
pub fn connect_for_streams(me: Caller, to: Caller, uri: &Uri, secret: &ClusterSecret) -> ServiceChannel {
    connect_with(me, to, uri, secret, STREAMS)
}

fn connect_with(me: Caller, to: Caller, uri: &Uri, secret: &ClusterSecret, windows: Windows) -> ServiceChannel {
    let connection = WithDeadline::new(Connection::from(channel(uri.clone(), dial(HttpConnector::new()), windows)));
    InterceptedService::new(Retry::new(connection), Outgoing { to, signer: Signer::new(me, secret) })
}

/// The endpoint's own connector would do the same, but its limit of time leaves out the look-up of the name; for a connector that it is
/// given, the limit covers both.
fn channel<C>(uri: Uri, connector: C, windows: Windows) -> Channel
where
    C: tower::Service<Uri, Response: Read + Write + Send + Unpin, Future: Send> + Send + 'static,
    Box<dyn Error + Send + Sync>: From<C::Error>,
{
    let endpoint = Endpoint::from(uri)
        .connect_timeout(CONNECT_LIMIT)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(windows.stream)
        .initial_connection_window_size(windows.connection)
        .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
        // A burst of viewers that leave resets as many streams. The counters of h2 are per connection and would end it, and
        // with it the streams of everybody else; this channel is internal and authenticated.
        .http2_max_concurrent_reset_streams(100_000)
        .http2_reset_stream_duration(Duration::from_secs(5))
        .http2_max_local_error_reset_streams(None);
    endpoint.connect_with_connector_lazy(connector)
}

fn dial<R>(mut tcp: HttpConnector<R>) -> HttpConnector<R> {
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(30)));
    tcp
}

/// Adds the caller token and the trace to every call.
#[derive(Clone)]
pub struct Outgoing {
    to: Caller,
    signer: Signer,
}

impl Interceptor for Outgoing {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let client = request.extensions().get::<ClientAddress>().map(|a| a.0);
        let token = self.signer.sign(self.to, client).map_err(|e| Status::internal(format!("no caller token: {e}")))?;
        let mut value = AsciiMetadataValue::try_from(token).map_err(|_| Status::internal("no caller token"))?;
        value.set_sensitive(true);
        request.metadata_mut().insert(CALLER_HEADER, value);
        propagation::inject(request.metadata_mut());
        Ok(request)
    }
}

/// Where the caller token travels.
pub const CALLER_HEADER: &str = "x-backlot-caller";

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::Pending, net::SocketAddr};

    use hyper_util::client::legacy::connect::dns::Name;

    use super::*;

    /// A name server that is gone.
    #[derive(Clone)]
    struct Silent;

    impl tower::Service<Name> for Silent {
        type Response = std::vec::IntoIter<SocketAddr>;
        type Error = Infallible;
        type Future = Pending<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Name) -> Self::Future {
            std::future::pending()
        }
    }

    #[tokio::test]
    async fn a_look_up_of_a_name_counts_as_part_of_connecting() {
        let mut channel = channel(Uri::from_static("http://auth:9090"), dial(HttpConnector::new_with_resolver(Silent)), CALLS);
        let called = async {
            std::future::poll_fn(|context| tower::Service::poll_ready(&mut channel, context)).await?;
            tower::Service::call(&mut channel, http::Request::new(tonic::body::Body::empty())).await
        };
        tokio::time::timeout(Duration::from_secs(60), called).await.expect("an answer within the limit").expect_err("no address");
    }
}
