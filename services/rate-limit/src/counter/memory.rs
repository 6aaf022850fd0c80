//! Counters in the process. They are exact for one replica and are lost when it stops. Their number is limited: idle subjects are
//! removed, and a full shard of active ones forgets those that would be free soonest.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{Check, Clock, Counter, Unreachable};
use crate::{
    decision::{Decision, Micros, micros},
    policy::{Policy, Rule},
    window::Log,
};

/// Enough that two threads rarely need the same lock.
const SHARDS: usize = 64;
/// A full shard forgets one in so many of its subjects at once, so that one scan serves many insertions.
const FORGET_ONE_IN: usize = 16;

/// Counters by policy and subject. All counters of a subject are in one shard.
pub struct Memory {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    started: Instant,
    clock: Clock,
    /// The limit of one shard.
    max_keys: usize,
}

type Shard = HashMap<String, Slot>;

/// The state of one policy and subject. The algorithm of the policy uses `log` or `free_at`.
#[derive(Default)]
struct Slot {
    log: Log,
    /// The stored time of [`crate::gcra`].
    free_at: Micros,
    /// From this time on all units are free, and the slot can be removed.
    idle_at: Micros,
}

impl Slot {
    fn peek(&mut self, rule: Rule, now: Micros, cost: u32) -> Decision {
        match rule {
            Rule::SlidingLog(window) => self.log.peek(window, now, cost),
            Rule::Gcra(rate) => rate.peek(self.free_at, now, cost),
        }
    }

    fn take(&mut self, rule: Rule, now: Micros, cost: u32) -> Decision {
        match rule {
            Rule::SlidingLog(window) => {
                let decision = self.log.take(window, now, cost);
                self.idle_at = self.log.empty_at(window);
                decision
            }
            Rule::Gcra(rate) => {
                let (free_at, decision) = rate.take(self.free_at, now, cost);
                (self.free_at, self.idle_at) = (free_at, free_at);
                decision
            }
        }
    }
}

impl Memory {
    /// Stores at most about `max_keys` pairs of policy and subject.
    #[must_use]
    pub fn new(max_keys: usize, clock: Clock) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            started: Instant::now(),
            clock,
            max_keys: (max_keys / SHARDS).max(1),
        }
    }

    /// Takes the units of all checks, or none.
    pub(crate) fn take(&self, checks: &[Check]) -> Vec<Decision> {
        let shard_indices: Vec<usize> = checks.iter().map(|check| self.shard_of(&check.subject)).collect();
        let keys: Vec<String> = checks.iter().map(|check| key(&check.policy, &check.subject)).collect();
        // The locks are always taken in the order of the shards, so that two requests cannot deadlock.
        let mut order = shard_indices.clone();
        order.sort_unstable();
        order.dedup();
        let mut shards: Vec<MutexGuard<'_, Shard>> = order.iter().map(|i| lock(&self.shards[*i])).collect();
        // The time is read under the locks, so that the times of a subject never go backwards.
        let now = self.now();
        let place = |i: usize| order.binary_search(&shard_indices[i]).unwrap_or_default();

        let peeked: Vec<Decision> = checks
            .iter()
            .enumerate()
            .map(|(i, check)| match shards[place(i)].get_mut(&keys[i]) {
                Some(slot) => slot.peek(check.policy.rule, now, check.cost),
                None => Slot::default().peek(check.policy.rule, now, check.cost),
            })
            .collect();
        if !peeked.iter().all(|d| d.allowed) {
            return peeked;
        }
        let mut decisions = peeked;
        for (i, (check, key)) in checks.iter().zip(keys).enumerate().filter(|(_, (check, _))| check.cost > 0) {
            let shard = &mut shards[place(i)];
            if shard.len() >= self.max_keys && !shard.contains_key(&key) {
                make_room(shard, now);
            }
            decisions[i] = shard.entry(key).or_default().take(check.policy.rule, now, check.cost);
        }
        decisions
    }

    /// Removes every subject whose units are all free.
    pub(crate) fn sweep(&self) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let now = self.now();
            shard.retain(|_, slot| slot.idle_at > now);
            if shard.capacity() > 4 * shard.len().max(64) {
                shard.shrink_to_fit();
            }
        }
    }

    /// How many pairs of policy and subject are stored.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard_of(&self, subject: &str) -> usize {
        usize::try_from(self.hasher.hash_one(subject) % SHARDS as u64).unwrap_or_default()
    }

    fn now(&self) -> Micros {
        self.clock.manual().unwrap_or_else(|| micros(self.started.elapsed()))
    }
}

impl Counter for Memory {
    async fn take(&self, checks: &[Check]) -> Result<Vec<Decision>, Unreachable> {
        Ok(Memory::take(self, checks))
    }
}

/// The name of a policy contains no NUL, so two pairs never have the same key.
fn key(policy: &Policy, subject: &str) -> String {
    format!("{}\0{subject}", policy.name)
}

/// After a panic under the lock the counts are wrong by at most one request, so a poisoned lock is used.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make_room(shard: &mut Shard, now: Micros) {
    let before = shard.len();
    shard.retain(|_, slot| slot.idle_at > now);
    if shard.len() < before {
        return;
    }
    let mut times: Vec<Micros> = shard.values().map(|slot| slot.idle_at).collect();
    let mut left = before / FORGET_ONE_IN + 1;
    let (_, soonest, _) = times.select_nth_unstable(left - 1);
    let soonest = *soonest;
    shard.retain(|_, slot| {
        let forget = slot.idle_at <= soonest && left > 0;
        left -= usize::from(forget);
        !forget
    });
    tracing::warn!(forgotten = before - shard.len(), "too many subjects; those that would be free soonest were forgotten");
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;
    use crate::policy::Policies;

    fn check(policy: &str, subject: impl Into<String>) -> Check {
        let policy = Arc::clone(Policies::shipped().named(policy).expect("shipped"));
        Check { policy, subject: subject.into(), cost: 1 }
    }

    #[test]
    fn idle_subjects_are_removed() {
        let now = Arc::new(AtomicU64::new(0));
        let memory = Memory::new(100_000, Clock::Manual(Arc::clone(&now)));
        for i in 0..5_000 {
            memory.take(&[check("general", format!("user-{i}"))]);
        }
        now.store(5_000_000, Ordering::Relaxed);
        memory.take(&[check("general", "late")]);
        assert_eq!(memory.keys(), 5_001);
        now.store(10_000_000, Ordering::Relaxed);
        memory.sweep();
        assert_eq!(memory.keys(), 1);
    }

    #[test]
    fn a_check_with_cost_zero_stores_nothing() {
        let memory = Memory::new(100, Clock::System);
        memory.take(&[Check { cost: 0, ..check("agent", "nobody") }]);
        assert_eq!(memory.keys(), 0);
    }

    #[test]
    fn memory_is_limited_and_those_free_soonest_are_forgotten_first() {
        let now = Arc::new(AtomicU64::new(0));
        let memory = Memory::new(64 * 32, Clock::Manual(Arc::clone(&now)));
        for i in 0..500 {
            memory.take(&[check("save", format!("slow-{i}"))]);
        }
        for i in 0..20_000 {
            now.fetch_add(1, Ordering::Relaxed);
            memory.take(&[check("general", format!("flood-{i}"))]);
            assert!(memory.keys() <= 64 * 32);
        }
        let kept = (0..500).filter(|i| memory.take(&[Check { cost: 0, ..check("save", format!("slow-{i}")) }])[0].remaining == 29).count();
        assert_eq!(kept, 500, "counters of an hour are kept longer than those of ten seconds");
    }
}
