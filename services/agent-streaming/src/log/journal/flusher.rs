//! Writes what the turns of this process have left: one batch at a time, the next as soon as the last is through. So a busy
//! database sets the pace and an idle one adds no wait. Leases are extended in between, so that a heartbeat and a batch never
//! meet on a row.

#[cfg(feature = "seeded-bugs")]
mod seeded_bugs;

use std::{sync::Arc, time::Duration};

use chassis::seeded_bug;
use proto::{agent_streaming::TurnEvent, id::TurnId};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{Buffer, Journal, WriteError, lock};
use crate::{
    log::doorbell::Doorbell,
    metrics,
    store::{
        Pool, StoreError, claims,
        events::{self, Append},
    },
    turn::event,
    watch::tail::Tails,
};

/// A statement that takes longer is sent again; whether it was carried out does not matter. A third of the lease, within these
/// bounds: while one is waited for, no lease is extended.
const STATEMENT_TIMEOUT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// A row that somebody else holds is free again soon.
const LOCKED_PAUSE: Duration = Duration::from_millis(5);
/// Between attempts while the database does not answer.
const TROUBLE_PAUSE: Duration = Duration::from_millis(200);

/// One turn's share of a batch; after a doubtful outcome exactly the same rows are sent again.
struct Item {
    buffer: Arc<Buffer>,
    append: Append,
    events: Vec<TurnEvent>,
}

/// What became of an item that was sent.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Written,
    /// Its row was locked, or its epoch has moved.
    Skipped,
    /// Its outcome is unknown, or the database is away for the moment. The same rows are sent again.
    Retry,
    /// The database will never take it.
    Refused,
}

pub(crate) struct Flusher {
    pub(crate) journal: Journal,
    pub(crate) db: Pool,
    pub(crate) tails: Tails,
    pub(crate) doorbell: Doorbell,
    pub(crate) lease: Duration,
    retries: Vec<Item>,
    retry_at: Instant,
}

impl Flusher {
    pub(crate) fn new(journal: Journal, db: Pool, tails: Tails, doorbell: Doorbell, lease: Duration) -> Self {
        Self { journal, db, tails, doorbell, lease, retries: Vec::new(), retry_at: Instant::now() }
    }

    /// Runs until `stop`, then writes what is left once more.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        // A third of the lease leaves two more chances; two seconds bound how long a fenced owner goes on without a doorbell.
        let mut heartbeat = interval((self.lease / 3).min(Duration::from_secs(2)));
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let journal = self.journal.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = heartbeat.tick() => self.heartbeat().await,
                () = journal.0.wake.notified() => {}
                () = sleep_until(self.retry_at), if !self.retries.is_empty() => {}
            }
            self.look_at_suspects().await;
            self.flush().await;
        }
        self.flush().await;
    }

    /// Writes until nothing is left but what has to wait.
    async fn flush(&mut self) {
        let batch = self.collect();
        if batch.is_empty() {
            return;
        }
        seeded_bug!(self.deliver_before_commit(&batch));
        let (changing, plain): (Vec<_>, Vec<_>) = batch.into_iter().partition(|item| item.append.change.is_some());
        let (changing, plain) = tokio::join!(self.send(changing), self.send(plain));
        let mut rings = Vec::new();
        let mut skipped = Vec::new();
        for (item, sent) in changing.into_iter().chain(plain) {
            match sent {
                Outcome::Written => rings.push(self.written(item)),
                Outcome::Skipped if seeded_bug::is("skipped-is-written") => rings.push(self.written(item)),
                Outcome::Skipped => skipped.push(item),
                Outcome::Retry if seeded_bug::is("drop-doubtful-batch") => rings.push(self.written(item)),
                Outcome::Retry => self.retry(item, TROUBLE_PAUSE),
                Outcome::Refused => item.buffer.stop(WriteError::Refused),
            }
        }
        self.doorbell.ring(rings);
        self.skipped(skipped).await;
        // Whatever arrived meanwhile is the next batch.
        if !lock(&self.journal.0.ready).is_empty() {
            self.journal.0.wake.notify_one();
        }
    }

    fn collect(&mut self) -> Vec<Item> {
        let mut batch = Vec::new();
        if self.retry_at <= Instant::now() {
            batch.append(&mut self.retries);
        }
        let ready = std::mem::take(&mut *lock(&self.journal.0.ready));
        batch.extend(ready.into_iter().filter_map(take));
        batch.retain(|item| item.buffer.check().is_ok());
        batch
    }

    async fn send(&self, items: Vec<Item>) -> Vec<(Item, Outcome)> {
        let outcomes = match self.write(&items).await {
            Ok(outcomes) => outcomes,
            // One turn's rows spoil the batch. Each turn by itself shows which.
            Err(Outcome::Refused) if items.len() > 1 => self.write_one_by_one(&items).await,
            Err(outcome) => vec![outcome; items.len()],
        };
        items.into_iter().zip(outcomes).collect()
    }

    async fn write_one_by_one(&self, items: &[Item]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for item in items {
            let written = self.write(std::slice::from_ref(item)).await;
            outcomes.push(written.map_or_else(|outcome| outcome, |mut of_one| of_one.pop().unwrap_or(Outcome::Retry)));
        }
        outcomes
    }

    /// The outcome of each item; or the one of all, if the statement failed.
    async fn write(&self, items: &[Item]) -> Result<Vec<Outcome>, Outcome> {
        let Some(first) = items.first() else { return Ok(Vec::new()) };
        let appends: Vec<&Append> = items.iter().map(|item| &item.append).collect();
        let statement = async {
            if first.append.change.is_some() {
                events::append_with_changes(&self.db, &appends).await
            } else {
                events::append(&self.db, &appends).await
            }
        };
        let got = match timeout(self.patience(), statement).await {
            Ok(Ok(got)) => got,
            Ok(Err(error)) => return Err(failed(&error)),
            Err(_) => {
                tracing::warn!(turns = items.len(), "a batch of events was not written in time and is sent again");
                return Err(Outcome::Retry);
            }
        };
        let owned = |item: &Item| got.contains(&(item.append.turn, item.append.epoch));
        Ok(items.iter().map(|item| if owned(item) { Outcome::Written } else { Outcome::Skipped }).collect())
    }

    fn patience(&self) -> Duration {
        (self.lease / 3).clamp(STATEMENT_TIMEOUT.0, STATEMENT_TIMEOUT.1)
    }

    /// Gives the events to the viewers of this process, then wakes the worker that waits. The caller tells the other replicas.
    fn written(&self, item: Item) -> (TurnId, u32) {
        let Item { buffer, append, events } = item;
        let (turn, last) = (append.turn, append.last_seq());
        metrics::written(&events);
        if append.change.as_ref().is_some_and(crate::turn::Change::releases) {
            // No heartbeat may take the turn back.
            self.journal.close(&buffer);
        }
        self.tails.deliver(turn, append.first_seq, events);
        buffer.written.send_replace(last);
        let more = {
            let mut inner = lock(&buffer.inner);
            inner.enlisted = !inner.waiting.is_empty() || inner.change.is_some();
            inner.enlisted
        };
        if more {
            self.journal.enlist(&buffer);
        }
        (turn, last)
    }

    async fn skipped(&mut self, items: Vec<Item>) {
        if items.is_empty() {
            return;
        }
        let turns: Vec<_> = items.iter().map(|item| item.append.turn).collect();
        let Ok(epochs) = claims::epochs(&self.db, &turns).await else {
            return items.into_iter().for_each(|item| self.retry(item, TROUBLE_PAUSE));
        };
        for item in items {
            if epochs.get(&item.append.turn) == Some(&item.append.epoch) {
                self.retry(item, LOCKED_PAUSE);
            } else {
                item.buffer.stop(WriteError::Fenced);
            }
        }
    }

    fn retry(&mut self, item: Item, pause: Duration) {
        let at = Instant::now() + pause;
        self.retry_at = if self.retries.is_empty() { at } else { self.retry_at.min(at) };
        self.retries.push(item);
    }

    async fn heartbeat(&self) {
        let live = self.journal.live();
        if live.is_empty() || seeded_bug::is("no-heartbeat") {
            return;
        }
        let until = Instant::now() + self.lease;
        let extended = match timeout(self.patience(), claims::heartbeat(&self.db, &live, self.lease)).await {
            Ok(Ok(extended)) => extended,
            Ok(Err(error)) => return tracing::warn!(error = %error, "leases could not be extended"),
            Err(_) => return tracing::warn!("leases could not be extended in time"),
        };
        self.journal.extended(&extended, until.into_std());
        let missing: Vec<_> = live.iter().map(|(turn, _)| *turn).filter(|turn| !extended.contains(turn)).collect();
        lock(&self.journal.0.suspects).extend(missing);
    }

    async fn look_at_suspects(&self) {
        let suspects = std::mem::take(&mut *lock(&self.journal.0.suspects));
        if suspects.is_empty() {
            return;
        }
        // The next heartbeat asks again if this fails.
        let Ok(epochs) = claims::epochs(&self.db, &suspects).await else { return };
        for turn in suspects {
            let buffer = lock(&self.journal.0.live).get(&turn).cloned();
            if let Some(buffer) = buffer.filter(|buffer| epochs.get(&turn) != Some(&buffer.epoch)) {
                buffer.stop(WriteError::Fenced);
            }
        }
    }
}

/// Takes everything that a turn has left.
fn take(buffer: Arc<Buffer>) -> Option<Item> {
    let (events, change, first_seq) = {
        let mut inner = lock(&buffer.inner);
        let events = std::mem::take(&mut inner.waiting);
        inner.bytes = 0;
        let first_seq = inner.next_seq - u32::try_from(events.len()).unwrap_or(u32::MAX);
        if events.is_empty() {
            inner.enlisted = false;
            return None;
        }
        (events, inner.change.take(), first_seq)
    };
    let payloads = events.iter().map(event::encode).collect();
    let append = Append { turn: buffer.turn, epoch: buffer.epoch, first_seq, payloads, change };
    Some(Item { buffer, append, events })
}

/// The outcome of a statement that failed.
fn failed(error: &StoreError) -> Outcome {
    if error.is_transient() {
        tracing::warn!(error = %error, "events could not be written and are sent again");
        Outcome::Retry
    } else {
        tracing::error!(error = %error, "events cannot be written");
        Outcome::Refused
    }
}
