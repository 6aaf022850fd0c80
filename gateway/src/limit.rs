//! How often. First the edge: by address, in this process, so that a flood costs nothing behind us. Then the policy `general` at
//! rate-limit, by person or else by address.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use proto::{
    error::{ErrorCode, Fault, QuotaViolation},
    rate_limit::PolicyDecision,
};

use crate::{
    app::App,
    auth::Identity,
    error::{Failure, fault, whole_seconds},
    request::Arrival,
};

/// The policy of how much one address may send.
pub(crate) const EDGE: &str = "edge";

/// What a policy left to a client, for the headers of draft-ietf-httpapi-ratelimit-headers 08 to 11. The draft still changes:
/// this is the one place that knows its syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quota {
    policy: String,
    limit: u64,
    remaining: u64,
    reset: u64,
    window: u64,
}

impl Quota {
    /// From the facts of a refusal.
    pub(crate) fn of_fault(fault: &Fault) -> Option<Self> {
        let number = |key: &str| fault.metadata.get(key)?.parse::<u64>().ok();
        let reset = number("reset")?;
        // The draft wants the reset to be no later than Retry-After.
        let reset = fault.retry_after.map_or(reset, |wait| reset.min(whole_seconds(wait)));
        Some(Self {
            policy: fault.metadata.get("policy")?.clone(),
            limit: number("limit")?,
            remaining: number("remaining")?,
            reset,
            window: number("window")?,
        })
    }

    /// Seconds until there is more.
    pub(crate) fn reset(&self) -> u64 {
        self.reset
    }

    fn of_decision(decision: &PolicyDecision) -> Self {
        let seconds = |seconds: i64, nanos: i32| u64::try_from(seconds).unwrap_or_default() + u64::from(nanos > 0);
        Self {
            policy: decision.policy.clone(),
            limit: decision.limit.into(),
            remaining: decision.remaining.into(),
            reset: decision.reset_after.as_ref().map_or(0, |d| seconds(d.seconds, d.nanos)),
            window: decision.window.as_ref().map_or(0, |d| seconds(d.seconds, d.nanos)),
        }
    }

    /// `RateLimit-Policy` and `RateLimit`, unless the answer has some already.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let Self { policy, limit, remaining, reset, window } = self;
        let pairs = [
            ("ratelimit-policy", format!("\"{policy}\";q={limit};w={window}")),
            ("ratelimit", format!("\"{policy}\";r={remaining};t={reset}")),
        ];
        for (name, text) in pairs {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.entry(name).or_insert(value);
            }
        }
    }
}

/// A refusal by a policy that this process counts itself.
pub(crate) fn refusal(policy: &str, limit: u32, window: Duration, wait: Duration) -> Failure {
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

/// Puts the edge in front of a router: what was found to be too much when it arrived goes no further.
pub(crate) fn edge(router: Router, per_second: u32) -> Router {
    router.layer(from_fn_with_state(per_second, at_the_edge))
}

async fn at_the_edge(State(per_second): State<u32>, request: Request, next: Next) -> Response {
    match request.extensions().get::<Arrival>().and_then(|arrival| arrival.refused) {
        None => next.run(request).await,
        Some(wait) => refusal(EDGE, per_second, Duration::from_secs(1), wait.max(Duration::from_secs(1))).into_response(),
    }
}

/// The middleware of counted routes: the policy `general`.
pub(crate) async fn general(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let person = request.extensions().get::<Identity>().and_then(Identity::user).cloned();
    let Some(context) = request.extensions().get::<Arrival>().map(|arrival| arrival.context(person)) else {
        return next.run(request).await;
    };
    match app.general.check(&context).await {
        Err(refusal) => Failure::from(refusal).into_response(),
        Ok(decision) => {
            let mut response = next.run(request).await;
            let refused = response.extensions().get::<Failure>().is_some_and(|f| f.0.code == ErrorCode::RateLimited);
            if let Some(decision) = decision.filter(|_| !refused) {
                Quota::of_decision(&decision).write(response.headers_mut());
            }
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_a_decision() {
        let json = r#"{"policy":"general","allowed":true,"limit":10,"remaining":4,"resetAfter":"6.000000001s","window":"10s"}"#;
        let decision: PolicyDecision = serde_json::from_str(json).unwrap();
        let mut headers = HeaderMap::new();
        Quota::of_decision(&decision).write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], r#""general";q=10;w=10"#);
        assert_eq!(headers["ratelimit"], r#""general";r=4;t=7"#);
    }
}
