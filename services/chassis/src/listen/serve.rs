//! Serves one connection.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    Listener,
    connection::Connection,
    pace::{idle, stalled},
    response::{RequestContext, respond},
    secure::{count_polls, secure},
};

/// How long the client may take to close after a graceful shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long open requests of a banned connection may run. It is short, because there may be many such connections.
const BANNED_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves a connection until it or the listener ends.
pub(super) async fn serve<S, B>(listener: &Listener<B>, stream: TcpStream, service: S, connection: &Connection, stop: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let _ = stream.set_nodelay(true);
    let limits = &listener.limits;
    let socket = tokio::select! {
        biased;
        socket = secure(listener, stream, connection) => socket,
        () = stop.cancelled() => None,
        () = connection.0.replaced.cancelled() => None,
    };
    let Some(socket) = socket else { return };
    let context =
        RequestContext { connection: connection.clone(), unsent: Arc::clone(&listener.unsent), refuse: Arc::clone(&listener.refuse) };
    let context = Arc::new(context);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        // hyper calls this when a request arrives; the returned future runs in the task of the request.
        context.connection.0.traffic.request_arrived();
        respond(Arc::clone(&context), service.clone(), request)
    });
    let builder = listener.builder();
    let io = TokioIo::new(socket);
    let mut serving = pin!(builder.serve_connection(io, service));
    let (mut request_timeout, mut close_timeout) = (None, CLOSE_TIMEOUT);
    tokio::select! {
        _ = count_polls(serving.as_mut(), connection) => return,
        () = stop.cancelled() => {}
        // A request with incomplete headers need not be answered.
        activity = idle(connection, limits) => if activity.head_started || activity.served == 0 { close_timeout = Duration::ZERO },
        () = stalled(connection, limits) => return,
        () = connection.0.replaced.cancelled() => (request_timeout, close_timeout) = (Some(Duration::ZERO), Duration::ZERO),
        () = connection.0.banned.cancelled() => (request_timeout, close_timeout) = (Some(BANNED_TIMEOUT), Duration::ZERO),
    }
    serving.as_mut().graceful_shutdown();
    // Open requests finish first. Then the client has some time to close.
    let timed_out = async {
        let mut activity = connection.0.activity.subscribe();
        let done = async { _ = activity.wait_for(|l| l.open == 0).await };
        match request_timeout {
            Some(timeout) => _ = tokio::time::timeout(timeout, done).await,
            None => done.await,
        }
        tokio::time::sleep(close_timeout).await;
    };
    let banned = async {
        connection.0.banned.cancelled().await;
        tokio::time::sleep(BANNED_TIMEOUT).await;
    };
    tokio::select! {
        _ = count_polls(serving.as_mut(), connection) => {}
        () = timed_out => {}
        () = banned => {}
        () = stalled(connection, limits) => {}
    }
}
