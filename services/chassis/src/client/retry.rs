//! Retries calls that no service answered. Within a second a service has restarted, or another replica is found. Idempotent calls are
//! retried after every such failure: the methods that the contract marks, and requests with an idempotency key (see [`idempotent`]). Other
//! calls are retried only if no handler has got them (see [`unsent`](super::unsent)). DRAINING does not prove that: it ends streams
//! whose handler has worked. A stream of requests is sent once, while it is made. A call and its retries have one deadline.

use std::{
    error::Error,
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt as _, Full};
use proto::error::{DEFAULT_DOMAIN, ErrorCode, Fault};
use tokio::time::{Instant, sleep};
use tonic::{Status, body::Body};
use tower::Service;

use super::unsent::is_unsent;
use crate::{
    deadline::{set_timeout, timeout_of},
    jitter::spread,
};

/// The longest delay before each retry.
const DELAYS: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(600)];
/// Calls that have run longer than this are not retried.
const RETRY_LIMIT: Duration = Duration::from_secs(1);
/// Larger requests are not kept until they are answered, unless they are idempotent.
const MAX_KEPT_BYTES: usize = 1024 * 1024;

/// An extension that marks a request as idempotent.
#[derive(Debug, Clone, Copy)]
struct Idempotent;

/// Marks a request as idempotent if its idempotency key is not empty.
#[must_use]
pub fn idempotent<T>(mut request: tonic::Request<T>, key: &str) -> tonic::Request<T> {
    if !key.is_empty() {
        request.extensions_mut().insert(Idempotent);
    }
    request
}

/// A connection that retries calls.
#[derive(Debug, Clone)]
pub struct Retry<S>(S);

impl<S> Retry<S> {
    pub(super) fn new(connection: S) -> Self {
        Self(connection)
    }
}

impl<S> Service<Request<Body>> for Retry<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Error + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if proto::CLIENT_STREAMING_METHODS.contains(&request.uri().path()) {
            return Box::pin(self.0.call(request));
        }
        // Only the original is ready, so the call takes it and leaves the clone.
        let clone = self.0.clone();
        Box::pin(call_with_retries(std::mem::replace(&mut self.0, clone), request))
    }
}

fn is_idempotent<B>(request: &Request<B>) -> bool {
    proto::IDEMPOTENT_METHODS.contains(&request.uri().path()) || request.extensions().get::<Idempotent>().is_some()
}

async fn call_with_retries<S>(mut connection: S, request: Request<Body>) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Error + 'static,
{
    let is_idempotent = is_idempotent(&request);
    let (mut parts, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(status) => return Ok(status.into_http()),
    };
    if !is_idempotent && body.len() > MAX_KEPT_BYTES {
        return connection.call(Request::from_parts(parts, Body::new(Full::new(body)))).await;
    }
    let (started, timeout) = (Instant::now(), timeout_of(&parts.headers));
    for delay in DELAYS {
        let answer = connection.call(copy(&parts, &body)).await;
        let may_retry = match &answer {
            Ok(response) => is_idempotent && is_unavailable(response),
            Err(error) => is_idempotent || is_unsent(error),
        };
        let wait = spread(delay);
        let is_late = timeout.is_some_and(|timeout| started.elapsed() + wait >= timeout);
        if !may_retry || is_late || started.elapsed() > RETRY_LIMIT {
            return answer;
        }
        sleep(wait).await;
        poll_fn(|context| connection.poll_ready(context)).await?;
        if let Some(timeout) = timeout {
            set_timeout(&mut parts.headers, timeout.saturating_sub(started.elapsed()));
        }
    }
    connection.call(copy(&parts, &body)).await
}

fn copy(parts: &Parts, body: &Bytes) -> Request<Body> {
    Request::from_parts(parts.clone(), Body::new(Full::new(body.clone())))
}

/// Whether no service has answered, or a replica that shuts down has. Another UNAVAILABLE of a service, such as OVERLOADED, is a response.
fn is_unavailable(answer: &Response<Body>) -> bool {
    let fault = Status::from_header_map(answer.headers()).map(|status| Fault::from_status(&status));
    fault.is_some_and(|fault| fault.code == ErrorCode::Unavailable && (fault.domain == DEFAULT_DOMAIN || fault.reason == "DRAINING"))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        future::ready,
        io,
        sync::{Arc, Mutex},
    };

    use tonic::ConnectError;
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::client::transport_error::TransportError;

    type Answer = Result<Response<Body>, TransportError>;

    /// A connection with prepared answers. It records the sizes of the requests.
    #[derive(Clone)]
    struct FakeConnection(Arc<Mutex<(VecDeque<Answer>, Vec<usize>)>>);

    impl Service<Request<Body>> for FakeConnection {
        type Response = Response<Body>;
        type Error = TransportError;
        type Future = BoxFuture<'static, Answer>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let state = Arc::clone(&self.0);
            Box::pin(async move {
                let size = request.into_body().collect().await.unwrap().to_bytes().len();
                let mut state = state.lock().unwrap();
                state.1.push(size);
                state.0.pop_front().unwrap_or_else(|| Ok(Response::default()))
            })
        }
    }

    /// Calls with three bytes. Returns the sizes of the requests that were sent, and whether the call succeeded.
    async fn sent(path: &'static str, has_key: bool, answers: Vec<Answer>) -> (Vec<usize>, bool) {
        sent_with(3, path, has_key, answers).await
    }

    async fn sent_with(size: usize, path: &'static str, has_key: bool, answers: Vec<Answer>) -> (Vec<usize>, bool) {
        let connection = FakeConnection(Arc::new(Mutex::new((answers.into(), Vec::new()))));
        let mut request = Request::builder().uri(path).body(Body::new(Full::new(Bytes::from(vec![0; size])))).unwrap();
        if has_key {
            request.extensions_mut().insert(Idempotent);
        }
        let answer = Retry::new(connection.clone()).call(request).await;
        let sent = connection.0.lock().unwrap().1.clone();
        (sent, answer.is_ok_and(|answer| Status::from_header_map(answer.headers()).is_none()))
    }

    fn answer(fault: Fault) -> Answer {
        Ok(Status::from(fault).into_http())
    }

    fn lost() -> Answer {
        Err(TransportError(Box::new(io::Error::other("connection lost"))))
    }

    fn refused() -> Answer {
        Err(TransportError(Box::new(ConnectError("connection refused".into()))))
    }

    const GET: &str = "/backlot.agent_streaming.v1.AgentStreamingService/GetTurn";
    const START: &str = "/backlot.agent_streaming.v1.AgentStreamingService/StartTurn";
    const UPLOAD: &str = "/backlot.project_storage.v1.ProjectStorageService/UploadFile";

    #[tokio::test]
    async fn an_idempotent_call_without_an_answer_is_retried() {
        let unanswered = || vec![lost(), Ok(Status::unavailable("from a proxy").into_http())];
        assert_eq!(sent(GET, false, unanswered()).await, (vec![3, 3, 3], true));
        assert_eq!(sent(START, true, unanswered()).await, (vec![3, 3, 3], true), "with a key");
        assert_eq!(sent(START, false, unanswered()).await, (vec![3], false));
        assert_eq!(sent(GET, false, (0..9).map(|_| lost()).collect()).await, (vec![3; 4], false), "the retries are limited");
    }

    #[tokio::test]
    async fn a_call_that_no_handler_has_got_is_retried() {
        assert_eq!(sent(START, false, vec![refused()]).await, (vec![3, 3], true));
        assert_eq!(sent(START, false, (0..9).map(|_| refused()).collect()).await, (vec![3; 4], false), "the retries are limited");
        assert_eq!(sent(START, false, vec![refused(), lost()]).await, (vec![3, 3], false), "the second attempt may have arrived");
        let from_proxy = || vec![Ok(Status::unavailable("from a proxy").into_http())];
        assert_eq!(sent(START, false, from_proxy()).await, (vec![3], false), "a proxy does not tell");
        let draining = || vec![answer(Fault::new("agent-streaming", ErrorCode::Unavailable, "DRAINING", "x"))];
        assert_eq!(sent(START, false, draining()).await, (vec![3], false), "a handler answers with it");
    }

    #[tokio::test]
    async fn a_call_is_not_retried_after_its_deadline() {
        // The first delay is longer.
        let request = Request::builder().uri(START).header("grpc-timeout", "20m").body(Body::empty()).unwrap();
        let connection = FakeConnection(Arc::new(Mutex::new(((0..9).map(|_| refused()).collect(), Vec::new()))));
        Retry::new(connection.clone()).call(request).await.expect_err("refused");
        assert_eq!(connection.0.lock().unwrap().1, [0]);
    }

    #[tokio::test]
    async fn a_large_request_is_kept_only_if_it_is_idempotent() {
        let (most, more) = (MAX_KEPT_BYTES, MAX_KEPT_BYTES + 1);
        assert_eq!(sent_with(most, START, false, vec![refused()]).await, (vec![most; 2], true));
        assert_eq!(sent_with(more, START, false, vec![refused()]).await, (vec![more], false));
        assert_eq!(sent_with(more, START, true, vec![refused()]).await, (vec![more; 2], true), "with a key");
    }

    #[tokio::test]
    async fn a_stream_of_requests_is_sent_while_it_is_made() {
        let endless = futures::stream::pending::<Result<http_body::Frame<Bytes>, Status>>();
        let request = Request::builder().uri(UPLOAD).body(Body::new(http_body_util::StreamBody::new(endless))).unwrap();
        let connection = service_fn(|_: Request<Body>| ready(Ok::<_, TransportError>(Response::<Body>::default())));
        let answer = tokio::time::timeout(Duration::from_secs(20), Retry::new(connection).oneshot(request)).await;
        answer.expect("the call begins before the stream ends").unwrap();
    }

    #[tokio::test]
    async fn an_answer_of_a_service_is_not_retried() {
        let unavailable = |reason: &str| vec![answer(Fault::new("agent-streaming", ErrorCode::Unavailable, reason, "x"))];
        assert_eq!(sent(GET, false, unavailable("OVERLOADED")).await, (vec![3], false));
        assert_eq!(sent(GET, false, unavailable("DRAINING")).await, (vec![3, 3], true), "another replica answers");
        assert_eq!(sent(GET, false, vec![Ok(Status::internal("x").into_http())]).await, (vec![3], false));
        assert_eq!(sent(GET, false, vec![Ok(crate::deadline::exceeded(None).into_http())]).await, (vec![3], false), "the deadline passed");
    }

    #[test]
    fn the_contract_marks_idempotent_methods() {
        assert!(proto::IDEMPOTENT_METHODS.contains(&GET) && !proto::IDEMPOTENT_METHODS.contains(&START));
        assert!(proto::IDEMPOTENT_METHODS.contains(&"/backlot.project_storage.v1.ProjectStorageService/CommitTurn"));
        assert!(!proto::IDEMPOTENT_METHODS.contains(&"/backlot.rate_limit.v1.RateLimitService/Check"), "each check takes a unit");
        assert!(proto::CLIENT_STREAMING_METHODS.contains(&UPLOAD) && !proto::CLIENT_STREAMING_METHODS.contains(&START));
    }
}
