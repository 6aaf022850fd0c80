//! The policy `general`: how often one person, or else one address, may ask at all. When rate-limit cannot be asked the request
//! passes: [`crate::edge`] is the floor, and what is expensive (sign-in, saves, turns) is checked by its owner, who refuses then.

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
use crate::{client::ServiceChannel, context::Context, share::networks};

const POLICY: &str = "general";
/// How long a request waits for a decision before it passes without one.
const DECISION_TIME: Duration = Duration::from_millis(500);
/// How long rate-limit is left alone after it did not answer.
const REST: Duration = Duration::from_secs(1);
/// Subjects whose refusal is remembered here.
const REMEMBERED: usize = 10_000;

/// What this process remembers of `general`.
pub struct General {
    client: RateLimitServiceClient<ServiceChannel>,
    /// Until when a subject is refused anyway. A refusal takes nothing, so no request can pass before that moment.
    refused: Cache<String, (Instant, Fault)>,
    started: Instant,
    /// Milliseconds after `started` until which rate-limit is not asked.
    rests_until: AtomicU64,
}

impl General {
    #[must_use]
    pub fn new(client: RateLimitServiceClient<ServiceChannel>) -> Self {
        Self { client, refused: Cache::new(REMEMBERED), started: Instant::now(), rests_until: AtomicU64::new(0) }
    }

    /// Counts a request of the context's person, or else of its address. Absent: nobody could be asked, or there is nobody to
    /// count.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED, reason RATE_LIMITED.
    pub async fn check(&self, context: &Context) -> Result<Option<PolicyDecision>, Fault> {
        let Some(subject) = subject(context) else { return Ok(None) };
        let now = Instant::now();
        if let Some(refusal) = self.remembered(&subject, now) {
            return Err(refusal);
        }
        if self.rests(now) {
            return Ok(None);
        }
        let context = Context { deadline: Some(now + DECISION_TIME), user: None, ..context.clone() };
        match check(&mut self.client.clone(), &context, context.service.name(), &[(POLICY, &subject)]).await {
            Ok(answer) => Ok(answer.decisions.into_iter().next()),
            Err(refusal) if refusal.code == ErrorCode::RateLimited => {
                let wait = refusal.retry_after.unwrap_or_default();
                self.refused.insert(subject, (Instant::now() + wait, refusal.clone()));
                Err(refusal)
            }
            Err(_) => {
                self.rest(Instant::now());
                Ok(None)
            }
        }
    }

    fn remembered(&self, subject: &str, now: Instant) -> Option<Fault> {
        let (until, fault) = self.refused.get(subject)?;
        if until <= now {
            self.refused.remove(subject);
            return None;
        }
        Some(fault.retry_after(until - now))
    }

    fn rests(&self, now: Instant) -> bool {
        self.milliseconds(now) < self.rests_until.load(Ordering::Relaxed)
    }

    fn rest(&self, now: Instant) {
        self.rests_until.store(self.milliseconds(now + REST), Ordering::Relaxed);
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Whom the policy counts.
fn subject(context: &Context) -> Option<String> {
    match (&context.user, context.client_address) {
        (Some(user), _) => Some(format!("user:{}", user.id)),
        (None, Some(address)) => networks(address).first().map(|(network, _)| format!("address:{network}")),
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
    async fn a_refusal_is_remembered_until_it_could_pass() {
        let general = general();
        let now = Instant::now();
        let refusal = Fault::new("gateway", ErrorCode::RateLimited, "RATE_LIMITED", "policy `general` allows 10 per 10 s");
        general.refused.insert("user:a".into(), (now + Duration::from_secs(4), refusal));
        let again = general.remembered("user:a", now + Duration::from_secs(3)).expect("still refused");
        assert_eq!(again.retry_after, Some(Duration::from_secs(1)));
        assert!(general.remembered("user:b", now).is_none());
        assert!(general.remembered("user:a", now + Duration::from_secs(4)).is_none());
    }

    #[tokio::test]
    async fn a_silent_limiter_is_left_alone_for_a_while() {
        let general = general();
        let now = Instant::now();
        assert!(!general.rests(now));
        general.rest(now);
        assert!(general.rests(now + REST / 2) && !general.rests(now + REST));
    }
}
