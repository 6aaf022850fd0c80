//! Serves one connection from its first byte to its last.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

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
    answer::{Answering, answer},
    connection::Connection,
    pace::{Paced, idle, stalled},
};

/// How long the client may take to answer a graceful close.
const CLOSE_TIME: Duration = Duration::from_secs(5);
/// How long open requests may go on after too many were wasted. It is short, since there may be many such connections.
const SPENT_TIME: Duration = Duration::from_secs(1);

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
    let answering =
        Answering { connection: connection.clone(), unsent: Arc::clone(&listener.unsent), refuse: Arc::clone(&listener.refuse) };
    let answering = Arc::new(answering);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        // Counted as it comes in: a tower service would be called only when the request's task runs.
        answering.connection.0.traffic.request_arrived();
        answer(Arc::clone(&answering), service.clone(), request)
    });
    let builder = listener.builder();
    let io = TokioIo::new(Paced::new(stream, limits, connection.clone()));
    let mut serving = pin!(builder.serve_connection(io, service));
    let (mut patience, mut close_time) = (None, CLOSE_TIME);
    tokio::select! {
        _ = count_polls(serving.as_mut(), connection) => return,
        () = stop.cancelled() => {}
        // Nothing is lost with a request that has only begun.
        load = idle(connection, limits) => if load.begun || load.served == 0 { close_time = Duration::ZERO },
        () = stalled(connection, limits) => return,
        () = connection.0.replaced.cancelled() => (patience, close_time) = (Some(Duration::ZERO), Duration::ZERO),
        () = connection.0.spent.cancelled() => (patience, close_time) = (Some(SPENT_TIME), Duration::ZERO),
    }
    serving.as_mut().graceful_shutdown();
    // Requests in work go on; once there are none, the client has a moment to close.
    let forsaken = async {
        let mut load = connection.0.load.subscribe();
        let done = async { _ = load.wait_for(|l| l.open == 0).await };
        match patience {
            Some(patience) => _ = tokio::time::timeout(patience, done).await,
            None => done.await,
        }
        tokio::time::sleep(close_time).await;
    };
    let spent = async {
        connection.0.spent.cancelled().await;
        tokio::time::sleep(SPENT_TIME).await;
    };
    tokio::select! {
        _ = count_polls(serving.as_mut(), connection) => {}
        () = forsaken => {}
        () = spent => {}
        () = stalled(connection, limits) => {}
    }
}

/// The same future, whose polls are counted.
fn count_polls<F: Future>(mut serving: Pin<&mut F>, connection: &Connection) -> impl Future<Output = F::Output> {
    poll_fn(move |cx| {
        connection.0.traffic.polled();
        serving.as_mut().poll(cx)
    })
}
