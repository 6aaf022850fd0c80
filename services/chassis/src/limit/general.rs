//! The policy `general`: how many requests one user, or one address without a user, may send. If rate-limit does not answer, requests
//! are allowed: [`crate::edge`] still limits them, and services refuse expensive calls (sign-in, saves, turns) in this case.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use proto::{
    error::{ErrorCode, Fault},
    rate_limit::{PolicyDecision, rate_limit_service_client::RateLimitServiceClient},
};
use quick_cache::sync::Cache;

use super::check;
use crate::{client::ServiceChannel, context::Context, network::client_network};

const POLICY: &str = "general";
/// How long a request waits for a decision before it is allowed without one.
const DECISION_TIMEOUT: Duration = Duration::from_millis(500);
/// How long rate-limit is not called after it did not answer.
const BACKOFF: Duration = Duration::from_secs(1);
/// Subjects whose refusal is cached.
const CACHED_REFUSALS: usize = 10_000;

/// Checks the policy `general` and caches its refusals.
pub struct General {
    client: RateLimitServiceClient<ServiceChannel>,
    /// Refusals by subject, each with the time until which it holds. A refused request takes no unit, so a cached refusal is exact.
    refused: Cache<String, (Instant, Fault)>,
    started: Instant,
    /// Milliseconds after `started` until which rate-limit is not called.
    backoff_until: AtomicU64,
}

impl General {
    #[must_use]
    pub fn new(client: RateLimitServiceClient<ServiceChannel>) -> Self {
        Self { client, refused: Cache::new(CACHED_REFUSALS), started: Instant::now(), backoff_until: AtomicU64::new(0) }
    }

    /// Counts a request of the context's user, or of its address if it has no user. `None` if rate-limit did not answer, or if there is
    /// neither a user nor an address.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED, reason RATE_LIMITED.
    pub async fn check(&self, context: &Context) -> Result<Option<PolicyDecision>, Fault> {
        let Some(subject) = subject(context) else { return Ok(None) };
        let now = Instant::now();
        if let Some(refusal) = self.cached_refusal(&subject, now) {
            return Err(refusal);
        }
        if self.is_backing_off(now) {
            return Ok(None);
        }
        let context = Context { deadline: Some(now + DECISION_TIMEOUT), user: None, ..context.clone() };
        match check(&mut self.client.clone(), &context, context.service.name(), &[(POLICY, &subject)]).await {
            Ok(answer) => Ok(answer.decisions.into_iter().next()),
            Err(refusal) if refusal.code == ErrorCode::RateLimited => {
                let wait = refusal.retry_after.unwrap_or_default();
                self.refused.insert(subject, (Instant::now() + wait, refusal.clone()));
                Err(refusal)
            }
            Err(_) => {
                self.back_off(Instant::now());
                Ok(None)
            }
        }
    }

    fn cached_refusal(&self, subject: &str, now: Instant) -> Option<Fault> {
        let (until, fault) = self.refused.get(subject)?;
        if until <= now {
            self.refused.remove(subject);
            return None;
        }
        Some(fault.retry_after(until - now))
    }

    fn is_backing_off(&self, now: Instant) -> bool {
        self.milliseconds(now) < self.backoff_until.load(Ordering::Relaxed)
    }

    fn back_off(&self, now: Instant) {
        self.backoff_until.store(self.milliseconds(now + BACKOFF), Ordering::Relaxed);
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }
}

/// The subject that the policy counts.
fn subject(context: &Context) -> Option<String> {
    match (&context.user, context.client_address) {
        (Some(user), _) => Some(format!("user:{}", user.id)),
        (None, Some(address)) => Some(format!("address:{}", client_network(address).0)),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::connect, identity::Caller, secret::ClusterSecret};

    fn general() -> General {
        crate::install_crypto();
        let uri = http::Uri::from_static("http://127.0.0.1:1");
        General::new(RateLimitServiceClient::new(connect(
            Caller::Auth,
            Caller::RateLimit,
            &uri,
            &ClusterSecret::of_bytes(b"a cluster secret that only tests have"),
        )))
    }

    #[tokio::test]
    async fn a_refusal_is_cached_until_its_retry_time() {
        let general = general();
        let now = Instant::now();
        let refusal = Fault::new("gateway", ErrorCode::RateLimited, "RATE_LIMITED", "policy `general` allows 10 per 10 s");
        general.refused.insert("user:a".into(), (now + Duration::from_secs(4), refusal));
        let again = general.cached_refusal("user:a", now + Duration::from_secs(3)).expect("still refused");
        assert_eq!(again.retry_after, Some(Duration::from_secs(1)));
        assert!(general.cached_refusal("user:b", now).is_none());
        assert!(general.cached_refusal("user:a", now + Duration::from_secs(4)).is_none());
    }

    #[tokio::test]
    async fn rate_limit_is_not_called_for_a_while_after_it_did_not_answer() {
        let general = general();
        let now = Instant::now();
        assert!(!general.is_backing_off(now));
        general.back_off(now);
        assert!(general.is_backing_off(now + BACKOFF / 2) && !general.is_backing_off(now + BACKOFF));
    }
}
