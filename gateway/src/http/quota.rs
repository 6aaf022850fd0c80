//! The headers `RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers 08 to 11. The draft is not final, so its syntax is
//! confined to this file.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use proto::{error::Fault, rate_limit::PolicyDecision};

use crate::http::headers::{RATE_LIMIT, RATE_LIMIT_POLICY};

/// What a policy leaves to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quota {
    policy: String,
    limit: u64,
    remaining: u64,
    reset: u64,
    window: u64,
}

impl Quota {
    /// From the metadata of a refusal.
    pub(crate) fn of_fault(fault: &Fault) -> Option<Self> {
        let number = |key: &str| fault.metadata.get(key)?.parse::<u64>().ok();
        let reset = number("reset")?;
        // The draft requires a reset that is not later than Retry-After.
        let reset = fault.retry_after.map_or(reset, |wait| reset.min(whole_seconds(wait)));
        Some(Self {
            policy: fault.metadata.get("policy")?.clone(),
            limit: number("limit")?,
            remaining: number("remaining")?,
            reset,
            window: number("window")?,
        })
    }

    /// Seconds until the policy allows more.
    pub(crate) fn reset(&self) -> u64 {
        self.reset
    }

    pub(crate) fn of_decision(decision: &PolicyDecision) -> Self {
        let seconds = |seconds: i64, nanos: i32| u64::try_from(seconds).unwrap_or_default() + u64::from(nanos > 0);
        Self {
            policy: decision.policy.clone(),
            limit: decision.limit.into(),
            remaining: decision.remaining.into(),
            reset: decision.reset_after.as_ref().map_or(0, |d| seconds(d.seconds, d.nanos)),
            window: decision.window.as_ref().map_or(0, |d| seconds(d.seconds, d.nanos)),
        }
    }

    /// Sets `RateLimit-Policy` and `RateLimit`, unless the response has them already.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let Self { policy, limit, remaining, reset, window } = self;
        let pairs = [
            (RATE_LIMIT_POLICY, format!("\"{policy}\";q={limit};w={window}")),
            (RATE_LIMIT, format!("\"{policy}\";r={remaining};t={reset}")),
        ];
        for (name, text) in pairs {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.entry(name).or_insert(value);
            }
        }
    }
}

/// The seconds of a wait, rounded up and at least 1.
pub(crate) fn whole_seconds(delay: Duration) -> u64 {
    delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_written_as_headers() {
        let json = r#"{"policy":"general","allowed":true,"limit":10,"remaining":4,"resetAfter":"6.000000001s","window":"10s"}"#;
        let decision: PolicyDecision = serde_json::from_str(json).unwrap();
        let mut headers = HeaderMap::new();
        Quota::of_decision(&decision).write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], r#""general";q=10;w=10"#);
        assert_eq!(headers["ratelimit"], r#""general";r=4;t=7"#);
    }

    #[test]
    fn a_wait_is_rounded_up() {
        assert_eq!([0, 1, 1000, 1001].map(|ms| whole_seconds(Duration::from_millis(ms))), [1, 1, 1, 2]);
    }
}
