//! Channels to the other services.

mod connector;
mod deadline;
#[cfg(feature = "failpoints")]
mod failpoint;
mod retry;
#[cfg(test)]
mod transport_error;
mod unsent;

use std::{error::Error, sync::Arc, time::Duration};

use http::Uri;
use hyper::rt::{Read, Write};
use tonic::{
    Request, Status,
    metadata::AsciiMetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

pub use self::retry::idempotent;
use self::{connector::Connector, deadline::DeadlineService, retry::Retry};
use crate::{
    context::ClientAddress,
    identity::{Caller, Signer},
    listen::MAX_STREAMS,
    propagation,
    secret::ClusterSecret,
    tls::Tls,
};

/// The largest message between services. A project has up to 50 MiB and its paths, a save has up to 200 files.
pub const MAX_MESSAGE_BYTES: usize = 112 * 1024 * 1024;

/// A channel to a service. It adds the caller token and the trace, ends a call at its deadline, and retries calls that may be sent again.
pub type ServiceChannel = InterceptedService<Retry<DeadlineService<Connection>>, CallerInterceptor>;

/// The most bytes of the headers or trailers of a response. Larger ones fail the call. h2 ends the connection, and with it all other
/// calls, at four times this size. A fault of this release has at most 8 KiB.
const MAX_HEADER_LIST_BYTES: u32 = 1024 * 1024;

/// The time limit of an attempt to connect, including the name lookup.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

#[cfg(not(feature = "failpoints"))]
type Connection = Channel;
#[cfg(feature = "failpoints")]
type Connection = failpoint::FailpointChannel;

/// The flow control windows in bytes: what the peer may send before it is read.
#[derive(Debug, Clone, Copy)]
struct Windows {
    stream: u32,
    connection: u32,
}

/// For responses that are read as they arrive. A load of 50 MiB should not wait for window updates.
const CALL_WINDOWS: Windows = Windows { stream: 1024 * 1024, connection: 4 * 1024 * 1024 };

/// For streams that are read at the pace of their viewers. The window of the connection has room for the windows of all its streams, so
/// that a stream never waits for the viewer of another stream.
const STREAM_WINDOWS: Windows = Windows { stream: 64 * 1024, connection: (1 << 31) - 1 };
const _: () = assert!(STREAM_WINDOWS.stream as u64 * MAX_STREAMS as u64 <= STREAM_WINDOWS.connection as u64);

/// A channel that connects at the first call and reconnects after the connection is lost.
#[must_use]
pub fn connect(me: Caller, to: Caller, uri: &Uri, secret: &ClusterSecret) -> ServiceChannel {
    connect_with(me, to, uri, secret, CALL_WINDOWS)
}

/// A channel for streams that may be left unread. Its connection is separate, so that unread streams do not block calls.
#[must_use]
pub fn connect_for_streams(me: Caller, to: Caller, uri: &Uri, secret: &ClusterSecret) -> ServiceChannel {
    connect_with(me, to, uri, secret, STREAM_WINDOWS)
}

fn connect_with(me: Caller, to: Caller, uri: &Uri, secret: &ClusterSecret, windows: Windows) -> ServiceChannel {
    let connector = Connector::new(to, secret.tls());
    let connection = DeadlineService::new(Connection::from(channel(uri.clone(), connector, windows)));
    InterceptedService::new(Retry::new(connection), CallerInterceptor { to, signer: Signer::new(me, secret) })
}

/// A channel to a role without a caller token, for health checks.
#[must_use]
pub fn connect_without_token(to: Caller, uri: &Uri, tls: Option<Arc<Tls>>) -> Channel {
    channel(uri.clone(), Connector::new(to, tls), CALL_WINDOWS)
}

/// A lazy channel with an explicit connector: the connect timeout of the endpoint's own connector does not include the name lookup.
fn channel<C>(uri: Uri, connector: C, windows: Windows) -> Channel
where
    C: tower::Service<Uri, Response: Read + Write + Send + Unpin, Future: Send> + Send + 'static,
    Box<dyn Error + Send + Sync>: From<C::Error>,
{
    let endpoint = Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(windows.stream)
        .initial_connection_window_size(windows.connection)
        .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
        // When many viewers leave at once, many streams are reset. The limits of h2 would end the connection, and with it all other
        // streams. They are not needed here, because the channel is internal and authenticated.
        .http2_max_concurrent_reset_streams(100_000)
        .http2_reset_stream_duration(Duration::from_secs(5))
        .http2_max_local_error_reset_streams(None);
    endpoint.connect_with_connector_lazy(connector)
}

/// Adds the caller token and the trace to every call.
#[derive(Clone)]
pub struct CallerInterceptor {
    to: Caller,
    signer: Signer,
}

impl Interceptor for CallerInterceptor {
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

/// The header of the caller token.
pub const CALLER_HEADER: &str = "x-backlot-caller";

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::Pending, net::SocketAddr};

    use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};

    use super::*;

    /// A resolver that never answers.
    #[derive(Clone)]
    struct PendingResolver;

    impl tower::Service<Name> for PendingResolver {
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
    async fn the_connect_timeout_includes_the_name_lookup() {
        let connector = Connector::over(HttpConnector::new_with_resolver(PendingResolver), Caller::Auth, None);
        let mut channel = channel(Uri::from_static("http://auth:9090"), connector, CALL_WINDOWS);
        let called = async {
            std::future::poll_fn(|context| tower::Service::poll_ready(&mut channel, context)).await?;
            tower::Service::call(&mut channel, http::Request::new(tonic::body::Body::empty())).await
        };
        tokio::time::timeout(Duration::from_secs(60), called).await.expect("an answer within the limit").expect_err("no address");
    }
}
