//! Asks again on the client's behalf: a service that is being restarted is back, or another replica is found, within a second.
//! Only for requests that change nothing.

use std::time::Duration;

use axum::{body::Body, extract::Request, middleware::Next, response::Response};
use proto::error::ErrorCode;

use crate::error::Failure;

const PAUSES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(600)];

/// Around a handler of a safe method, whose request has no body.
pub(crate) async fn safe(request: Request, next: Next) -> Response {
    let (parts, _) = request.into_parts();
    for pause in PAUSES {
        let response = next.clone().run(Request::from_parts(parts.clone(), Body::empty())).await;
        if !out_of_reach(&response) {
            return response;
        }
        tokio::time::sleep(crate::sse::spread(pause)).await;
    }
    next.run(Request::from_parts(parts, Body::empty())).await
}

/// Nobody answered. What a service says itself, that it is full say, goes to the client.
fn out_of_reach(response: &Response) -> bool {
    let failure = response.extensions().get::<Failure>();
    failure.is_some_and(|Failure(fault)| fault.code == ErrorCode::Unavailable && fault.domain == crate::error::DOMAIN)
}
