//! Counters in the process: exact for one replica, gone with it. Bounded: idle subjects are swept, and a shard that is full of
//! live ones forgets those that would be free soonest.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{Ask, Away, Clock, Counter};
use crate::{
    decision::{Decision, Micros, micros},
    policy::{Policy, Rule},
    window::Log,
};

/// Enough that two cores seldom meet at one lock.
const SHARDS: usize = 64;
/// A full shard forgets this share of its subjects at once, so that the scan is paid for by many insertions.
const FORGET: usize = 16;

/// Counters by policy and subject; all of one subject lie in one shard.
pub struct Memory {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    started: Instant,
    clock: Clock,
    /// Per shard.
    max_keys: usize,
}

type Shard = HashMap<String, Slot>;

/// What is stored for one policy and subject; the policy's rule says which of the two it uses.
#[derive(Default)]
struct Slot {
    log: Log,
    /// The stored time of gcra.
    free_at: Micros,
    /// From then on the slot says nothing.
    idle_at: Micros,
}

impl Slot {
    fn look(&mut self, rule: Rule, now: Micros, cost: u32) -> Decision {
        match rule {
            Rule::SlidingLog(window) => self.log.look(window, now, cost),
            Rule::Gcra(rate) => rate.look(self.free_at, now, cost),
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
    /// At most about `max_keys` pairs of policy and subject.
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

    /// Takes every unit asked for, or none.
    pub fn take(&self, asks: &[Ask]) -> Vec<Decision> {
        let homes: Vec<usize> = asks.iter().map(|ask| self.home(&ask.subject)).collect();
        let keys: Vec<String> = asks.iter().map(|ask| key(&ask.policy, &ask.subject)).collect();
        // Always in the order of the shards: two requests never wait for each other.
        let mut order = homes.clone();
        order.sort_unstable();
        order.dedup();
        let mut shards: Vec<MutexGuard<'_, Shard>> = order.iter().map(|i| lock(&self.shards[*i])).collect();
        // Read under the locks: times of one subject never run backwards.
        let now = self.now();
        let place = |i: usize| order.binary_search(&homes[i]).unwrap_or_default();

        let looks: Vec<Decision> = asks
            .iter()
            .enumerate()
            .map(|(i, ask)| match shards[place(i)].get_mut(&keys[i]) {
                Some(slot) => slot.look(ask.policy.rule, now, ask.cost),
                None => Slot::default().look(ask.policy.rule, now, ask.cost),
            })
            .collect();
        if !looks.iter().all(|d| d.allowed) {
            return looks;
        }
        let mut decisions = looks;
        for (i, (ask, key)) in asks.iter().zip(keys).enumerate().filter(|(_, (ask, _))| ask.cost > 0) {
            let shard = &mut shards[place(i)];
            if shard.len() >= self.max_keys && !shard.contains_key(&key) {
                make_room(shard, now);
            }
            decisions[i] = shard.entry(key).or_default().take(ask.policy.rule, now, ask.cost);
        }
        decisions
    }

    /// Forgets every subject whose units are all free.
    pub fn sweep(&self) {
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
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn home(&self, subject: &str) -> usize {
        usize::try_from(self.hasher.hash_one(subject) % SHARDS as u64).unwrap_or_default()
    }

    fn now(&self) -> Micros {
        self.clock.set().unwrap_or_else(|| micros(self.started.elapsed()))
    }
}

impl Counter for Memory {
    async fn take(&self, asks: &[Ask]) -> Result<Vec<Decision>, Away> {
        Ok(Memory::take(self, asks))
    }
}

/// No policy's name holds a NUL, so no two pairs share a key.
fn key(policy: &Policy, subject: &str) -> String {
    format!("{}\0{subject}", policy.name)
}

/// A panic under the lock leaves a count that is at worst one request off.
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
    let mut left = before / FORGET + 1;
    let (_, soonest, _) = times.select_nth_unstable(left - 1);
    let soonest = *soonest;
    shard.retain(|_, slot| {
        let forget = slot.idle_at <= soonest && left > 0;
        left -= usize::from(forget);
        !forget
    });
    tracing::warn!(forgotten = before - shard.len(), "too many subjects to count; those that would be free soonest were forgotten");
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;
    use crate::policy::Policies;

    fn ask(policy: &str, subject: impl Into<String>) -> Ask {
        let policy = Arc::clone(Policies::shipped().named(policy).expect("shipped"));
        Ask { policy, subject: subject.into(), cost: 1 }
    }

    #[test]
    fn idle_subjects_are_swept() {
        let now = Arc::new(AtomicU64::new(0));
        let memory = Memory::new(100_000, Clock::Set(Arc::clone(&now)));
        for i in 0..5_000 {
            memory.take(&[ask("general", format!("user-{i}"))]);
        }
        now.store(5_000_000, Ordering::Relaxed);
        memory.take(&[ask("general", "late")]);
        assert_eq!(memory.keys(), 5_001);
        now.store(10_000_000, Ordering::Relaxed);
        memory.sweep();
        assert_eq!(memory.keys(), 1);
    }

    #[test]
    fn a_look_stores_nothing() {
        let memory = Memory::new(100, Clock::Own);
        memory.take(&[Ask { cost: 0, ..ask("agent", "nobody") }]);
        assert_eq!(memory.keys(), 0);
    }

    #[test]
    fn memory_stays_bounded_and_the_soonest_free_go_first() {
        let now = Arc::new(AtomicU64::new(0));
        let memory = Memory::new(64 * 32, Clock::Set(Arc::clone(&now)));
        for i in 0..500 {
            memory.take(&[ask("save", format!("slow-{i}"))]);
        }
        for i in 0..20_000 {
            now.fetch_add(1, Ordering::Relaxed);
            memory.take(&[ask("general", format!("flood-{i}"))]);
            assert!(memory.keys() <= 64 * 32);
        }
        let kept = (0..500).filter(|i| memory.take(&[Ask { cost: 0, ..ask("save", format!("slow-{i}")) }])[0].remaining == 29).count();
        assert_eq!(kept, 500, "an hour's counters outlive those of ten seconds");
    }
}
