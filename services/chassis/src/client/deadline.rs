//! Ends a call at its deadline, with the same status whoever notices first. The transport's own timers, here and at the server, answer
//! CANCELLED without a reason, or end the call as if the connection were broken. None of them ends an answer that has begun.

use std::{
    error::Error,
    task::{Context, Poll},
    time::Instant,
};

use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use tonic::{Code, Status, TimeoutExpired, body::Body};
use tower::Service;

use crate::deadline::{Deadlined, passed, timeout_of};

/// A connection whose calls end at their deadlines.
#[derive(Debug, Clone)]
pub struct WithDeadline<S>(S);

impl<S> WithDeadline<S> {
    pub(super) fn new(connection: S) -> Self {
        Self(connection)
    }
}

impl<S> Service<Request<Body>> for WithDeadline<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Error + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let deadline = timeout_of(request.headers()).and_then(|left| Instant::now().checked_add(left));
        let answer = self.0.call(request);
        let Some(deadline) = deadline else { return Box::pin(answer) };
        Box::pin(async move {
            match answer.await {
                Ok(response) if said_by_a_timer(response.headers()) => Ok(passed(None).into_http()),
                Ok(response) => Ok(response.map(|body| Deadlined::wrap(body, deadline, None))),
                Err(error) if is_of_a_timer(&error) => Ok(passed(None).into_http()),
                Err(error) => Err(error),
            }
        })
    }
}

/// The server's timer answers so. Any other CANCELLED is what a call comes to whose connection ends.
fn said_by_a_timer(headers: &HeaderMap) -> bool {
    let of_a_timer = |status: Status| status.code() == Code::Cancelled && status.message() == TimeoutExpired(()).to_string();
    Status::from_header_map(headers).is_some_and(of_a_timer)
}

fn is_of_a_timer(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|error| error.is::<TimeoutExpired>())
}

#[cfg(test)]
mod tests {
    use std::{future::ready, io};

    use proto::error::{ErrorCode, Fault, NOBODY};
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    /// What the connection comes to: a status, or the error of a transport.
    #[derive(Debug)]
    enum Comes {
        Status(Status),
        Error(Box<dyn Error + Send + Sync>),
    }

    /// Hides its cause as the transport does.
    #[derive(Debug, thiserror::Error)]
    #[error("transport error")]
    struct Hidden(#[source] Box<dyn Error + Send + Sync>);

    /// What the caller of it is told: the status' code, and the reason and the domain that it reads; the error's text otherwise.
    async fn told(comes: Comes, deadline: bool) -> Result<(Code, String, String), String> {
        let answer = match comes {
            Comes::Status(status) => Ok(status.into_http()),
            Comes::Error(error) => Err(Hidden(error)),
        };
        let mut answer = Some(answer);
        let connection = service_fn(move |_| ready(answer.take().expect("one call")));
        let timeout = deadline.then_some(("grpc-timeout", "1S"));
        let request = timeout.into_iter().fold(Request::builder(), |request, (name, value)| request.header(name, value));
        let answer =
            WithDeadline::new(connection).oneshot(request.body(Body::empty()).unwrap()).await.map_err(|error| error.to_string())?;
        let status = Status::from_header_map(answer.headers()).expect("a status");
        let fault = Fault::from_status(&status);
        Ok((status.code(), fault.reason, fault.domain))
    }

    #[tokio::test]
    async fn what_a_timer_says_is_a_timeout_and_nothing_else_is() {
        let late = || Ok((Code::DeadlineExceeded, "TIMEOUT".to_owned(), NOBODY.to_owned()));
        let of_service = Fault::new("auth", ErrorCode::Timeout, "TIMEOUT", "x");
        let nested = Hidden(Box::new(TimeoutExpired(())));
        let table = [
            ("the server's timer", Comes::Status(Status::cancelled("Timeout expired")), true, late()),
            ("ours", Comes::Error(Box::new(TimeoutExpired(()))), true, late()),
            ("ours, deep inside", Comes::Error(Box::new(nested)), true, late()),
            (
                "the service",
                Comes::Status(of_service.into()),
                true,
                Ok((Code::DeadlineExceeded, "TIMEOUT".to_owned(), "auth.backlot.dev".to_owned())),
            ),
            (
                "a connection that ends",
                Comes::Status(Status::cancelled("operation was canceled")),
                true,
                Ok((Code::Cancelled, "TIMEOUT".to_owned(), NOBODY.to_owned())),
            ),
            ("a connection that breaks", Comes::Error(Box::new(io::Error::other("broken"))), true, Err("transport error".to_owned())),
            ("no deadline", Comes::Error(Box::new(TimeoutExpired(()))), false, Err("transport error".to_owned())),
        ];
        for (who, comes, deadline, expected) in table {
            assert_eq!(told(comes, deadline).await, expected, "{who}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_has_begun_ends_at_the_deadline() {
        let endless =
            || Body::new(http_body_util::StreamBody::new(futures::stream::pending::<Result<http_body::Frame<bytes::Bytes>, Status>>()));
        let connection = service_fn(move |_| ready(Ok::<_, io::Error>(Response::new(endless()))));
        let request = Request::builder().header("grpc-timeout", "50m").body(Body::empty()).unwrap();
        let answer = WithDeadline::new(connection).oneshot(request).await.unwrap();
        let end = http_body_util::BodyExt::collect(answer.into_body());
        let end = tokio::time::timeout(std::time::Duration::from_secs(20), end).await.expect("it ends").unwrap();
        let status = end.trailers().and_then(Status::from_header_map).unwrap();
        assert_eq!((status.code(), Fault::from_status(&status).reason), (Code::DeadlineExceeded, "TIMEOUT".to_owned()));
    }
}
