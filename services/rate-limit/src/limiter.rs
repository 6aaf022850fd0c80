//! The decision of a request: Redis where there is one, this process while it is away.
//!
//! While Redis is away every replica counts the full limit by itself, so a subject gets at most replicas times the limit; what
//! Redis had counted before is not known here. A caller learns of it from [`Verdict::degraded`].

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::{KeyValue, global, metrics::Counter as Metric};

use crate::{
    counter::{Ask, Counter, memory::Memory, redis::Redis},
    decision::{Decision, Micros, micros},
};

/// How often a request tries Redis again while it is away; all others are counted here without waiting for it.
const RETRY_EVERY: Duration = Duration::from_millis(250);

static DECISIONS: LazyLock<Metric<u64>> = LazyLock::new(|| {
    let description = "what policies said; degraded when Redis was away and this process counted";
    global::meter("backlot").u64_counter("backlot.rate_limit.decisions").with_description(description).build()
});

/// Counts, wherever it can.
pub struct Limiter {
    redis: Option<Redis>,
    memory: Memory,
    away: Breaker,
    started: Instant,
}

/// The answer to all asks of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// One per ask, in order.
    pub decisions: Vec<Decision>,
    /// Redis was away and this process counted.
    pub degraded: bool,
}

impl Verdict {
    /// Whether every policy said yes.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.decisions.iter().all(|d| d.allowed)
    }

    /// How long to wait before the same request can succeed; zero when allowed.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        self.decisions.iter().map(|d| d.retry_after).max().unwrap_or_default()
    }
}

impl Limiter {
    #[must_use]
    pub fn new(redis: Option<Redis>, memory: Memory) -> Self {
        Self { redis, memory, away: Breaker::default(), started: Instant::now() }
    }

    /// Takes every unit asked for, or none.
    pub async fn check(&self, asks: &[Ask]) -> Verdict {
        let verdict = self.decide(asks).await;
        for (ask, decision) in asks.iter().zip(&verdict.decisions) {
            let labels = [
                KeyValue::new("policy", ask.policy.name.clone()),
                KeyValue::new("allowed", decision.allowed),
                KeyValue::new("degraded", verdict.degraded),
            ];
            DECISIONS.add(1, &labels);
        }
        verdict
    }

    async fn decide(&self, asks: &[Ask]) -> Verdict {
        let Some(redis) = &self.redis else {
            return Verdict { decisions: self.memory.take(asks), degraded: false };
        };
        if self.away.admits(self.now()) {
            match redis.take(asks).await {
                Ok(decisions) => {
                    if self.away.succeeded() {
                        tracing::info!("Redis is back; limits hold over all replicas again");
                    }
                    return Verdict { decisions, degraded: false };
                }
                Err(error) => {
                    if self.away.failed(self.now()) {
                        let cause = chassis::error::chain(&error);
                        tracing::warn!(cause, "Redis is away; this replica counts the full limits by itself");
                    }
                }
            }
        }
        Verdict { decisions: self.memory.take(asks), degraded: true }
    }

    /// Forgets subjects that this process need not remember.
    pub fn sweep(&self) {
        self.memory.sweep();
    }

    fn now(&self) -> Micros {
        micros(self.started.elapsed())
    }
}

/// Whether to try what failed: at once while it works, then one request per [`RETRY_EVERY`]. 0 = it works.
#[derive(Default)]
struct Breaker {
    retry_at: AtomicU64,
}

impl Breaker {
    fn admits(&self, now: Micros) -> bool {
        let retry_at = self.retry_at.load(Ordering::Acquire);
        retry_at == 0
            || now >= retry_at
                && self.retry_at.compare_exchange(retry_at, now + micros(RETRY_EVERY), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether it worked until now.
    fn failed(&self, now: Micros) -> bool {
        self.retry_at.swap(now + micros(RETRY_EVERY), Ordering::AcqRel) == 0
    }

    /// Whether it was away until now.
    fn succeeded(&self) -> bool {
        self.retry_at.load(Ordering::Acquire) != 0 && self.retry_at.swap(0, Ordering::AcqRel) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_in_a_while_tries_what_failed() {
        let breaker = Breaker::default();
        assert!(breaker.admits(5) && breaker.admits(5));
        assert!(breaker.failed(10), "the first failure is news");
        assert!(!breaker.failed(20));
        assert!(!breaker.admits(250_019));
        assert!(breaker.admits(250_020));
        assert!(!breaker.admits(250_021), "one at a time");
        assert!(breaker.succeeded(), "the first success is news");
        assert!(!breaker.succeeded());
        assert!(breaker.admits(250_022));
    }

    #[test]
    fn the_longest_wait_counts() {
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
