//! Decides the checks of a request with the counters in Redis, or with those of this process while Redis cannot be reached.
//!
//! Without Redis every replica counts the full limit by itself, so a subject gets at most the limit times the number of replicas. The
//! counts in Redis are not known to the process. [`Verdict::degraded`] reports this state.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::{KeyValue, global, metrics::Counter as Metric};

use crate::{
    counter::{Check, Counter, memory::Memory, redis::Redis},
    decision::{Decision, Micros, micros},
};

/// While Redis cannot be reached, one request per this time tries it again. All others are counted here at once.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

static DECISIONS: LazyLock<Metric<u64>> = LazyLock::new(|| {
    let description = "decisions of policies; degraded if Redis could not be reached and this process counted";
    global::meter("backlot").u64_counter("backlot.rate_limit.decisions").with_description(description).build()
});

/// Counts in Redis or in this process.
pub struct Limiter {
    redis: Option<Redis>,
    memory: Memory,
    breaker: Breaker,
    started: Instant,
}

/// The decisions about all checks of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// One per check, in order.
    pub(crate) decisions: Vec<Decision>,
    /// Redis could not be reached, and this process counted.
    pub(crate) degraded: bool,
}

impl Verdict {
    /// Whether every policy allows the request.
    pub(crate) fn allowed(&self) -> bool {
        self.decisions.iter().all(|d| d.allowed)
    }

    /// How long to wait before the same request can succeed; zero if it is allowed.
    pub(crate) fn retry_after(&self) -> Duration {
        self.decisions.iter().map(|d| d.retry_after).max().unwrap_or_default()
    }
}

impl Limiter {
    #[must_use]
    pub fn new(redis: Option<Redis>, memory: Memory) -> Self {
        Self { redis, memory, breaker: Breaker::default(), started: Instant::now() }
    }

    /// Takes the units of all checks, or none.
    pub async fn check(&self, checks: &[Check]) -> Verdict {
        let verdict = self.decide(checks).await;
        for (check, decision) in checks.iter().zip(&verdict.decisions) {
            let labels = [
                KeyValue::new("policy", check.policy.name.clone()),
                KeyValue::new("allowed", decision.allowed),
                KeyValue::new("degraded", verdict.degraded),
            ];
            DECISIONS.add(1, &labels);
        }
        verdict
    }

    async fn decide(&self, checks: &[Check]) -> Verdict {
        let Some(redis) = &self.redis else {
            return Verdict { decisions: self.memory.take(checks), degraded: false };
        };
        if self.breaker.admits(self.now()) {
            match redis.take(checks).await {
                Ok(decisions) => {
                    if self.breaker.succeeded() {
                        tracing::info!("Redis can be reached again; the limits apply across all replicas");
                    }
                    return Verdict { decisions, degraded: false };
                }
                Err(error) => {
                    if self.breaker.failed(self.now()) {
                        let cause = chassis::error::chain(&error);
                        tracing::warn!(cause, "Redis cannot be reached; this replica counts the full limits by itself");
                    }
                }
            }
        }
        Verdict { decisions: self.memory.take(checks), degraded: true }
    }

    /// Forgets idle subjects of this process.
    pub(crate) fn sweep(&self) {
        self.memory.sweep();
    }

    fn now(&self) -> Micros {
        micros(self.started.elapsed())
    }
}

/// A circuit breaker: while Redis works it admits every request, after a failure one per [`RETRY_INTERVAL`].
#[derive(Default)]
struct Breaker {
    /// 0 while Redis works.
    retry_at: AtomicU64,
}

impl Breaker {
    fn admits(&self, now: Micros) -> bool {
        let retry_at = self.retry_at.load(Ordering::Acquire);
        retry_at == 0
            || now >= retry_at
                && self.retry_at.compare_exchange(retry_at, now + micros(RETRY_INTERVAL), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Records a failure. Returns whether it is the first one.
    fn failed(&self, now: Micros) -> bool {
        self.retry_at.swap(now + micros(RETRY_INTERVAL), Ordering::AcqRel) == 0
    }

    /// Records a success. Returns whether it is the first one after a failure.
    fn succeeded(&self) -> bool {
        self.retry_at.load(Ordering::Acquire) != 0 && self.retry_at.swap(0, Ordering::AcqRel) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_one_request_per_interval_is_admitted() {
        let breaker = Breaker::default();
        assert!(breaker.admits(5) && breaker.admits(5));
        assert!(breaker.failed(10), "the first failure");
        assert!(!breaker.failed(20));
        assert!(!breaker.admits(250_019));
        assert!(breaker.admits(250_020));
        assert!(!breaker.admits(250_021), "one at a time");
        assert!(breaker.succeeded(), "the first success");
        assert!(!breaker.succeeded());
        assert!(breaker.admits(250_022));
    }

    #[test]
    fn the_longest_wait_is_reported() {
        let decision = |allowed, wait| Decision {
            allowed,
            remaining: 0,
            reset_after: Duration::from_secs(60),
            retry_after: Duration::from_secs(wait),
        };
        let verdict = Verdict { decisions: vec![decision(false, 3), decision(true, 0), decision(false, 9)], degraded: false };
        assert!(!verdict.allowed());
        assert_eq!(verdict.retry_after(), Duration::from_secs(9));
    }
}
