//! Writes the events of all turns that this process drives, one batch after the other, without a pause. So events wait only while the
//! database is busy. The heartbeat runs between two batches, so that both never lock the same row at once.

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
    watch::tail::{self, Tails},
};

/// The bounds of the timeout of a statement, which is a third of the lease because no lease is extended during a statement. After the
/// timeout the same rows are sent again, which is safe if they were written already.
const STATEMENT_TIMEOUT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// The pause before a write to a row that was locked is repeated.
const LOCKED_PAUSE: Duration = Duration::from_millis(5);
/// The pause before a write is repeated whose outcome is unknown.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The events of one turn in a batch. A retry sends exactly the same rows.
struct Item {
    buffer: Arc<Buffer>,
    append: Append,
    events: Vec<TurnEvent>,
}

/// The outcome of writing an item.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Written,
    /// The row was locked, or the epoch has moved.
    Skipped,
    /// It is unknown whether the item was written, or the database is unreachable. The same rows are sent again.
    Retry,
    /// The database refuses the item, and a retry would not help.
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

    /// Runs until `stop` is cancelled, then writes the remaining events.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        // A third of the lease allows two heartbeats to fail. Two seconds limit how long a fenced worker continues if the doorbell was lost.
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
            self.check_epochs().await;
            self.flush().await;
        }
        self.flush().await;
    }

    /// Writes one batch.
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
                Outcome::Written => rings.push(self.deliver(item)),
                Outcome::Skipped if seeded_bug::is("skipped-is-written") => rings.push(self.deliver(item)),
                Outcome::Skipped => skipped.push(item),
                Outcome::Retry if seeded_bug::is("drop-doubtful-batch") => rings.push(self.deliver(item)),
                Outcome::Retry => self.retry(item, RETRY_PAUSE),
                Outcome::Refused => item.buffer.stop(WriteError::Refused),
            }
        }
        self.doorbell.ring(&rings);
        self.retry_or_fence(skipped).await;
        // The events that were added in the meantime are the next batch.
        if !lock(&self.journal.0.queue).is_empty() {
            self.journal.0.wake.notify_one();
        }
    }

    fn collect(&mut self) -> Vec<Item> {
        let mut batch = Vec::new();
        if self.retry_at <= Instant::now() {
            batch.append(&mut self.retries);
        }
        let queue = std::mem::take(&mut *lock(&self.journal.0.queue));
        batch.extend(queue.into_iter().filter_map(take_events));
        batch.retain(|item| item.buffer.check().is_ok());
        batch
    }

    async fn send(&self, items: Vec<Item>) -> Vec<(Item, Outcome)> {
        let outcomes = match self.write(&items).await {
            Ok(outcomes) => outcomes,
            // The database refuses the rows of at least one turn. Writing each turn by itself shows which.
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

    /// Returns the outcome of each item, or the one outcome of all items if the statement failed.
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
        let written = match timeout(self.statement_timeout(), statement).await {
            Ok(Ok(written)) => written,
            Ok(Err(error)) => return Err(outcome_of(&error)),
            Err(_) => {
                tracing::warn!(turns = items.len(), "a batch of events was not written in time and is sent again");
                return Err(Outcome::Retry);
            }
        };
        let is_written = |item: &Item| written.contains(&(item.append.turn, item.append.epoch));
        Ok(items.iter().map(|item| if is_written(item) { Outcome::Written } else { Outcome::Skipped }).collect())
    }

    fn statement_timeout(&self) -> Duration {
        (self.lease / 3).clamp(STATEMENT_TIMEOUT.0, STATEMENT_TIMEOUT.1)
    }

    /// Delivers written events to the viewers of this process, and wakes the worker that waits for them. Returns the turn and the seq of
    /// its last event, for the doorbell.
    fn deliver(&self, item: Item) -> (TurnId, u32) {
        let Item { buffer, append, events } = item;
        let (turn, last) = (append.turn, append.last_seq());
        metrics::events_written(&events);
        if append.change.as_ref().is_some_and(crate::turn::Change::releases) {
            // The next heartbeat must not extend the lease that the change has ended.
            self.journal.close(&buffer);
        }
        tail::deliver(&self.tails, turn, append.first_seq, events);
        buffer.written.send_replace(last);
        let more = {
            let mut inner = lock(&buffer.inner);
            inner.queued = !inner.unwritten.is_empty() || inner.change.is_some();
            inner.queued
        };
        if more {
            self.journal.enqueue(&buffer);
        }
        (turn, last)
    }

    /// Retries the items whose rows were locked, and fences the workers of those whose epochs have moved.
    async fn retry_or_fence(&mut self, items: Vec<Item>) {
        if items.is_empty() {
            return;
        }
        let turns: Vec<_> = items.iter().map(|item| item.append.turn).collect();
        let Ok(epochs) = claims::epochs(&self.db, &turns).await else {
            return items.into_iter().for_each(|item| self.retry(item, RETRY_PAUSE));
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
        let driven = self.journal.driven();
        if driven.is_empty() || seeded_bug::is("no-heartbeat") {
            return;
        }
        let until = Instant::now() + self.lease;
        let extended = match timeout(self.statement_timeout(), claims::heartbeat(&self.db, &driven, self.lease)).await {
            Ok(Ok(extended)) => extended,
            Ok(Err(error)) => return tracing::warn!(error = %error, "leases could not be extended"),
            Err(_) => return tracing::warn!("leases could not be extended in time"),
        };
        self.journal.extend_leases(&extended, until.into_std());
        let missing: Vec<_> = driven.iter().map(|(turn, _)| *turn).filter(|turn| !extended.contains(turn)).collect();
        lock(&self.journal.0.epoch_checks).extend(missing);
    }

    /// Fences the workers of turns whose epochs have moved.
    async fn check_epochs(&self) {
        let turns = std::mem::take(&mut *lock(&self.journal.0.epoch_checks));
        if turns.is_empty() {
            return;
        }
        // If this fails, the next heartbeat finds the same turns.
        let Ok(epochs) = claims::epochs(&self.db, &turns).await else { return };
        for turn in turns {
            let buffer = lock(&self.journal.0.driven).get(&turn).cloned();
            if let Some(buffer) = buffer.filter(|buffer| epochs.get(&turn) != Some(&buffer.epoch)) {
                buffer.stop(WriteError::Fenced);
            }
        }
    }
}

/// Takes the unwritten events of a turn. Returns `None` if there are none.
fn take_events(buffer: Arc<Buffer>) -> Option<Item> {
    let (events, change, first_seq) = {
        let mut inner = lock(&buffer.inner);
        let events = std::mem::take(&mut inner.unwritten);
        inner.unwritten_bytes = 0;
        let first_seq = inner.next_seq - u32::try_from(events.len()).unwrap_or(u32::MAX);
        if events.is_empty() {
            inner.queued = false;
            return None;
        }
        (events, inner.change.take(), first_seq)
    };
    let payloads = events.iter().map(event::encode).collect();
    let append = Append { turn: buffer.turn, epoch: buffer.epoch, first_seq, payloads, change };
    Some(Item { buffer, append, events })
}

/// The outcome of a statement that failed.
fn outcome_of(error: &StoreError) -> Outcome {
    if error.is_transient() {
        tracing::warn!(error = %error, "events could not be written and are sent again");
        Outcome::Retry
    } else {
        tracing::error!(error = %error, "events cannot be written");
        Outcome::Refused
    }
}
