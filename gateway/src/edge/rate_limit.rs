//! How often a client may call. The edge limit counts addresses in this process, so that a flood does not reach the services. The policy
//! `general` of rate-limit counts people, and addresses of requests without a person.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use chassis::limit::General;
use proto::error::{ErrorCode, QuotaViolation};

use crate::{
    edge::request::RequestInfo,
    error::{Failure, fault},
    http::quota::{Quota, whole_seconds},
    identity::sessions::Identity,
};

/// The policy of the edge limit.
pub(crate) const EDGE: &str = "edge";

/// The refusal by a policy that this process counts.
pub(crate) fn exceeded(policy: &str, limit: u32, window: Duration, wait: Duration) -> Failure {
    let text = format!("policy `{policy}` allows {limit} per {} s", window.as_secs());
    let mut fault = fault(ErrorCode::RateLimited, "RATE_LIMITED", text.clone())
        .retry_after(wait)
        .with("policy", policy)
        .with("limit", limit.to_string())
        .with("remaining", "0")
        .with("reset", whole_seconds(wait).to_string())
        .with("window", window.as_secs().to_string());
    fault.quota = vec![QuotaViolation { policy: policy.to_owned(), description: format!("{limit} per {} s", window.as_secs()) }];
    fault.into()
}

/// The middleware of the edge limit. `edge::request` has counted the request already.
pub(crate) async fn edge(State(per_second): State<u32>, request: Request, next: Next) -> Response {
    match request.extensions().get::<RequestInfo>().and_then(|info| info.edge_wait) {
        None => next.run(request).await,
        Some(wait) => exceeded(EDGE, per_second, Duration::from_secs(1), wait.max(Duration::from_secs(1))).into_response(),
    }
}

/// The middleware of the policy `general`.
pub(crate) async fn general(State(policy): State<Arc<General>>, request: Request, next: Next) -> Response {
    let user = request.extensions().get::<Identity>().and_then(Identity::user).cloned();
    let Some(context) = request.extensions().get::<RequestInfo>().map(|info| info.context(user)) else {
        return next.run(request).await;
    };
    match policy.check(&context).await {
        Err(refusal) => Failure::from(refusal).into_response(),
        Ok(decision) => {
            let mut response = next.run(request).await;
            // A refusal by another policy has the headers of that policy.
            let is_limited = response.extensions().get::<Failure>().is_some_and(|failure| failure.0.code == ErrorCode::RateLimited);
            if let Some(decision) = decision.filter(|_| !is_limited) {
                Quota::of_decision(&decision).write(response.headers_mut());
            }
            response
        }
    }
}
