//! Retries a call that got no answer: within a second a service that restarts is back, or another replica is found. Only calls that may be
//! repeated are retried: the methods that the contract marks so, and requests with a key (see [`idempotent`]).

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use proto::error::{ErrorCode, Fault, NOBODY};
use tokio::time::{Instant, sleep};
use tonic::{Status, body::Body};
use tower::Service;

use crate::jitter::spread;

/// At most so long, before each repeat.
const PAUSES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(600)];
/// A call that took longer than this to fail was late, not lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// An extension of a request: its repeat is known by its key.
#[derive(Debug, Clone, Copy)]
struct Repeatable;

/// A request that may be sent again if this key of it is not empty.
#[must_use]
pub fn idempotent<T>(mut request: tonic::Request<T>, key: &str) -> tonic::Request<T> {
    if !key.is_empty() {
        request.extensions_mut().insert(Repeatable);
    }
    request
}

/// A connection that retries.
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
        if !may_be_repeated(&request) {
            return Box::pin(self.0.call(request));
        }
        // The clone is not ready; this one is.
        let clone = self.0.clone();
        Box::pin(repeat(std::mem::replace(&mut self.0, clone), request))
    }
}

fn may_be_repeated<B>(request: &Request<B>) -> bool {
    proto::REPEATABLE.contains(&request.uri().path()) || request.extensions().get::<Repeatable>().is_some()
}

async fn repeat<S>(mut connection: S, request: Request<Body>) -> Result<Response<Body>, S::Error>
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
    for pause in PAUSES {
        let answer = connection.call(request()).await;
        if !answer.as_ref().map_or(true, nobody_answered) || started.elapsed() > PATIENCE {
            return answer;
        }
        sleep(spread(pause)).await;
        poll_fn(|context| connection.poll_ready(context)).await?;
    }
    connection.call(request()).await
}

/// The answer came from between here and the service, or from a replica that is about to end. What a service says itself, that it is
/// full say, is an answer.
fn nobody_answered(answer: &Response<Body>) -> bool {
    let fault = Status::from_header_map(answer.headers()).map(|status| Fault::from_status(&status));
    fault.is_some_and(|fault| fault.code == ErrorCode::Unavailable && (fault.domain == NOBODY || fault.reason == "DRAINING"))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
    };

    use super::*;

    type Answer = Result<Response<Body>, &'static str>;

    /// Gives what it was told to give, one after the other, and notes the sizes of what it gets.
    #[derive(Clone)]
    struct Line(Arc<Mutex<(VecDeque<Answer>, Vec<usize>)>>);

    impl Service<Request<Body>> for Line {
        type Response = Response<Body>;
        type Error = &'static str;
        type Future = BoxFuture<'static, Answer>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let line = Arc::clone(&self.0);
            Box::pin(async move {
                let read = request.into_body().collect().await.unwrap().to_bytes().len();
                let mut line = line.lock().unwrap();
                line.1.push(read);
                line.0.pop_front().unwrap_or_else(|| Ok(Response::default()))
            })
        }
    }

    /// The sizes that were sent of a call of three bytes.
    async fn sent(path: &'static str, keyed: bool, answers: Vec<Answer>) -> (Vec<usize>, bool) {
        let line = Line(Arc::new(Mutex::new((answers.into(), Vec::new()))));
        let mut request = Request::builder().uri(path).body(Body::new(Full::new(bytes::Bytes::from_static(b"abc")))).unwrap();
        if keyed {
            request.extensions_mut().insert(Repeatable);
        }
        let answer = Retry::new(line.clone()).call(request).await;
        let sent = line.0.lock().unwrap().1.clone();
        (sent, answer.is_ok_and(|answer| Status::from_header_map(answer.headers()).is_none()))
    }

    fn says(fault: Fault) -> Answer {
        Ok(Status::from(fault).into_http())
    }

    const GET: &str = "/backlot.agent_streaming.v1.AgentStreamingService/GetTurn";
    const START: &str = "/backlot.agent_streaming.v1.AgentStreamingService/StartTurn";

    #[tokio::test]
    async fn what_nobody_answered_is_sent_again_if_it_may_be() {
        let lost = || vec![Err("connection lost"), Ok(Status::unavailable("from a proxy").into_http())];
        assert_eq!(sent(GET, false, lost()).await, (vec![3, 3, 3], true));
        assert_eq!(sent(START, true, lost()).await, (vec![3, 3, 3], true), "it has a key");
        assert_eq!(sent(START, false, lost()).await, (vec![3], false));
        assert_eq!(sent(GET, false, (0..9).map(|_| Err("connection lost")).collect()).await, (vec![3; 4], false), "not for ever");
    }

    #[tokio::test]
    async fn an_answer_is_an_answer() {
        let unavailable = |reason: &str| vec![says(Fault::new("agent-streaming", ErrorCode::Unavailable, reason, "x"))];
        assert_eq!(sent(GET, false, unavailable("OVERLOADED")).await, (vec![3], false));
        assert_eq!(sent(GET, false, unavailable("DRAINING")).await, (vec![3, 3], true), "another replica has it");
        assert_eq!(sent(GET, false, vec![Ok(Status::internal("x").into_http())]).await, (vec![3], false));
        assert_eq!(sent(GET, false, vec![Ok(crate::deadline::passed(None).into_http())]).await, (vec![3], false), "its time is over");
    }

    #[test]
    fn the_contract_says_what_may_be_repeated() {
        assert!(proto::REPEATABLE.contains(&GET) && !proto::REPEATABLE.contains(&START));
        assert!(proto::REPEATABLE.contains(&"/backlot.project_storage.v1.ProjectStorageService/CommitTurn"));
        assert!(!proto::REPEATABLE.contains(&"/backlot.rate_limit.v1.RateLimitService/Check"), "it counts");
    }
}
