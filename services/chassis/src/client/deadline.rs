//! Ends a call at its deadline, with the same status whether the client or the server notices first. The timers of the transport answer
//! CANCELLED without a reason, or fail the call like a broken connection. They do not end a response body that has begun.

use std::{
    error::Error,
    task::{Context, Poll},
    time::Instant,
};

use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use tonic::{Code, Status, TimeoutExpired, body::Body};
use tower::Service;

use crate::deadline::{DeadlineBody, exceeded, timeout_of};

/// A connection that ends each call at its deadline.
#[derive(Debug, Clone)]
pub struct DeadlineService<S>(S);

impl<S> DeadlineService<S> {
    pub(super) fn new(connection: S) -> Self {
        Self(connection)
    }
}

impl<S> Service<Request<Body>> for DeadlineService<S>
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
                Ok(response) if is_server_timeout(response.headers()) => Ok(exceeded(None).into_http()),
                Ok(response) => Ok(response.map(|body| DeadlineBody::wrap(body, deadline, None))),
                Err(error) if is_client_timeout(&error) => Ok(exceeded(None).into_http()),
                Err(error) => Err(error),
            }
        })
    }
}

/// Whether the server's timer has answered. A call whose connection ends is CANCELLED with another text.
fn is_server_timeout(headers: &HeaderMap) -> bool {
    let is_timeout = |status: Status| status.code() == Code::Cancelled && status.message() == TimeoutExpired(()).to_string();
    Status::from_header_map(headers).is_some_and(is_timeout)
}

/// Whether the client's timer has failed the call.
fn is_client_timeout(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|error| error.is::<TimeoutExpired>())
}

#[cfg(test)]
mod tests {
    use std::{future::ready, io};

    use proto::error::{DEFAULT_DOMAIN, ErrorCode, Fault};
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::client::transport_error::TransportError;

    /// The result of a call on the connection: a status, or an error of the transport.
    #[derive(Debug)]
    enum Outcome {
        Status(Status),
        Error(Box<dyn Error + Send + Sync>),
    }

    /// What the caller gets: code, reason and domain of the status, or the text of the error.
    async fn received(outcome: Outcome, deadline: bool) -> Result<(Code, String, String), String> {
        let answer = match outcome {
            Outcome::Status(status) => Ok(status.into_http()),
            Outcome::Error(error) => Err(TransportError(error)),
        };
        let mut answer = Some(answer);
        let connection = service_fn(move |_| ready(answer.take().expect("one call")));
        let timeout = deadline.then_some(("grpc-timeout", "1S"));
        let request = timeout.into_iter().fold(Request::builder(), |request, (name, value)| request.header(name, value));
        let answer =
            DeadlineService::new(connection).oneshot(request.body(Body::empty()).unwrap()).await.map_err(|error| error.to_string())?;
        let status = Status::from_header_map(answer.headers()).expect("a status");
        let fault = Fault::from_status(&status);
        Ok((status.code(), fault.reason, fault.domain))
    }

    #[tokio::test]
    async fn only_the_timers_of_the_transport_become_a_timeout() {
        let timeout = || Ok((Code::DeadlineExceeded, "TIMEOUT".to_owned(), DEFAULT_DOMAIN.to_owned()));
        let of_service = Fault::new("auth", ErrorCode::Timeout, "TIMEOUT", "x");
        let nested = TransportError(Box::new(TimeoutExpired(())));
        let table = [
            ("the server's timer", Outcome::Status(Status::cancelled("Timeout expired")), true, timeout()),
            ("the client's timer", Outcome::Error(Box::new(TimeoutExpired(()))), true, timeout()),
            ("the client's timer as a deeper cause", Outcome::Error(Box::new(nested)), true, timeout()),
            (
                "the service",
                Outcome::Status(of_service.into()),
                true,
                Ok((Code::DeadlineExceeded, "TIMEOUT".to_owned(), "auth.backlot.dev".to_owned())),
            ),
            (
                "a connection that ends",
                Outcome::Status(Status::cancelled("operation was canceled")),
                true,
                Ok((Code::Cancelled, "TIMEOUT".to_owned(), DEFAULT_DOMAIN.to_owned())),
            ),
            ("a connection that breaks", Outcome::Error(Box::new(io::Error::other("broken"))), true, Err("transport error".to_owned())),
            ("no deadline", Outcome::Error(Box::new(TimeoutExpired(()))), false, Err("transport error".to_owned())),
        ];
        for (case, outcome, deadline, expected) in table {
            assert_eq!(received(outcome, deadline).await, expected, "{case}");
        }
    }

    #[tokio::test]
    async fn a_response_body_ends_at_the_deadline() {
        let endless =
            || Body::new(http_body_util::StreamBody::new(futures::stream::pending::<Result<http_body::Frame<bytes::Bytes>, Status>>()));
        let connection = service_fn(move |_| ready(Ok::<_, io::Error>(Response::new(endless()))));
        let request = Request::builder().header("grpc-timeout", "50m").body(Body::empty()).unwrap();
        let answer = DeadlineService::new(connection).oneshot(request).await.unwrap();
        let end = http_body_util::BodyExt::collect(answer.into_body());
        let end = tokio::time::timeout(std::time::Duration::from_secs(20), end).await.expect("it ends").unwrap();
        let status = end.trailers().and_then(Status::from_header_map).unwrap();
        assert_eq!((status.code(), Fault::from_status(&status).reason), (Code::DeadlineExceeded, "TIMEOUT".to_owned()));
    }
}
