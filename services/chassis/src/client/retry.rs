//! Retries calls that no service answered. BoundedNumber a second a service has restarted, or another replica is found. Only idempotent calls
//! are retried: the methods that the contract marks, and requests with an idempotency key (see [`idempotent`]).

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use proto::error::{DEFAULT_DOMAIN, ErrorCode, Fault};
use tokio::time::{Instant, sleep};
use tonic::{Status, body::Body};
use tower::Service;

use crate::jitter::spread;

/// The longest delay before each retry.
const DELAYS: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(600)];
/// Calls that have run longer than this are not retried.
const RETRY_LIMIT: Duration = Duration::from_secs(1);

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

/// A connection that retries idempotent calls.
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
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !is_idempotent(&request) {
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
{
    let (parts, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(status) => return Ok(status.into_http()),
    };
    let request = || Request::from_parts(parts.clone(), Body::new(Full::new(body.clone())));
    let started = Instant::now();
    for delay in DELAYS {
        let answer = connection.call(request()).await;
        if !answer.as_ref().map_or(true, is_unavailable) || started.elapsed() > RETRY_LIMIT {
            return answer;
        }
        sleep(spread(delay)).await;
        poll_fn(|context| connection.poll_ready(context)).await?;
    }
    connection.call(request()).await
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
        sync::{Arc, Mutex},
    };

    use super::*;

    type Answer = Result<Response<Body>, &'static str>;

    /// A connection with prepared answers. It records the sizes of the requests.
    #[derive(Clone)]
    struct FakeConnection(Arc<Mutex<(VecDeque<Answer>, Vec<usize>)>>);

    impl Service<Request<Body>> for FakeConnection {
        type Response = Response<Body>;
        type Error = &'static str;
        type Future = BoxFuture<'static, Answer>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
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
        let connection = FakeConnection(Arc::new(Mutex::new((answers.into(), Vec::new()))));
        let mut request = Request::builder().uri(path).body(Body::new(Full::new(bytes::Bytes::from_static(b"abc")))).unwrap();
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

    const GET: &str = "/backlot.agent_streaming.v1.AgentStreamingService/GetTurn";
    const START: &str = "/backlot.agent_streaming.v1.AgentStreamingService/StartTurn";

    #[tokio::test]
    async fn an_idempotent_call_without_an_answer_is_retried() {
        let lost = || vec![Err("connection lost"), Ok(Status::unavailable("from a proxy").into_http())];
        assert_eq!(sent(GET, false, lost()).await, (vec![3, 3, 3], true));
        assert_eq!(sent(START, true, lost()).await, (vec![3, 3, 3], true), "with a key");
        assert_eq!(sent(START, false, lost()).await, (vec![3], false));
        assert_eq!(
            sent(GET, false, (0..9).map(|_| Err("connection lost")).collect()).await,
            (vec![3; 4], false),
            "the retries are limited"
        );
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
    }
}
