//! Answers with 503, which ask a client to repeat its request. Only a process that ends may cause them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::Value;

/// Other processes learn within this time that a process has ended: its connections close, and theirs are made again.
const NOTICED_WITHIN: Duration = Duration::from_millis(500);

/// The answers of one cluster, and the times from the signal to the end of each of its processes.
#[derive(Default)]
pub(crate) struct Refusals {
    seen: Mutex<Vec<Refusal>>,
    ends: Mutex<Vec<(Instant, Instant)>>,
}

struct Refusal {
    sent: Instant,
    answered: Instant,
    reason: String,
}

impl Refusals {
    /// Records an answer with 503, which has just arrived, to a request that was sent then.
    pub(crate) fn add(&self, sent: Instant, body: &str) {
        let problem: Value = serde_json::from_str(body).unwrap_or_default();
        let reason = problem["reason"].as_str().unwrap_or("no reason").to_owned();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(Refusal { sent, answered: Instant::now(), reason });
    }

    /// Records that a process that got its signal then has ended.
    pub(crate) fn ended(&self, signalled: Instant) {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).push((signalled, Instant::now()));
    }

    /// Fails if there was an answer while no process ended.
    pub(crate) fn check(&self) -> Result<()> {
        let (seen, ends) =
            (self.seen.lock().unwrap_or_else(PoisonError::into_inner), self.ends.lock().unwrap_or_else(PoisonError::into_inner));
        let is_excused =
            |refusal: &&Refusal| ends.iter().any(|(from, to)| refusal.answered >= *from && refusal.sent <= *to + NOTICED_WITHIN);
        let mut others: BTreeMap<&str, usize> = BTreeMap::new();
        for refusal in seen.iter().filter(|refusal| !is_excused(refusal)) {
            *others.entry(&refusal.reason).or_default() += 1;
        }
        ensure!(others.is_empty(), "answers with 503 while no process ended, by reason: {others:?} ({} in all)", seen.len());
        Ok(())
    }
}

#[test]
fn only_an_answer_while_a_process_ends_is_excused() {
    let refusals = Refusals::default();
    let before = Instant::now();
    refusals.ended(before);
    refusals.add(before, r#"{"reason":"DRAINING"}"#);
    refusals.check().expect("excused");
    refusals.ends.lock().expect("no panic").clear();
    let others = refusals.check().expect_err("no process ended").to_string();
    assert!(others.contains(r#"{"DRAINING": 1}"#), "{others}");
}
