//! Deletes objects that nothing in their store refers to any more: contents of uploads without a revision, what only a purged fork had, and
//! conflicts that nobody has resolved in time.
//!
//! What makes objects unreachable writes a request. A sweep of the store begins an hour after its last request. It marks everything that
//! the logs, the heads and the conflicts of the store reach, step by step, with all its state in the database: a process that ends
//! loses one step, and any other one continues. Then it deletes in batches. For each batch it locks the store against saves, marks what
//! they have written since, and deletes what still has no mark. So an object that a save has found, and has not written again, is kept: either
//! the save has ended, and its head is marked; or it waits for the lock, and then writes the object that it does not find.

use std::{collections::BTreeMap, time::Duration};

use chassis::{fault_time, seeded_bug, task::Ticks};
use tokio_util::sync::CancellationToken;

use crate::{
    git::{self, Link, Oid},
    store::{
        self, Connection, Pool, StoreError,
        garbage::{self, Begun, LogPlace, StoreLock, Sweep},
    },
};

/// How long nothing of a store may have become unreachable before its sweep: longer than any request may take.
const GRACE: Duration = Duration::from_secs(3600);
/// Steps after which a sweep is left to the next tick.
const MAX_STEPS: u32 = 100_000;
/// How often in a row, without a step between, a sweep may fail because of the database.
const MAX_FAILURES: u32 = 3;
/// Steps that a batch may take to mark what was saved since, while it locks the store.
const MAX_LOCKED_STEPS: u32 = 4;

/// Sweeps with this period until `stop`; never, if it is zero. One process of all replicas works at a time.
pub(crate) async fn run(pool: Pool, period: Duration, stop: CancellationToken) {
    if period.is_zero() {
        return;
    }
    let grace = fault_time::shortened("object-sweep-grace", GRACE);
    let mut ticks = Ticks::new(period, stop.clone());
    while ticks.next().await {
        while !stop.is_cancelled() {
            match sweep_one(&pool, grace, &stop).await {
                Ok(true) => {}
                Ok(false) => break,
                // The next tick continues.
                Err(error) => {
                    tracing::warn!(%error, "unreachable objects could not be deleted");
                    break;
                }
            }
        }
    }
}

/// What one call of [`sweep_one`] may do.
struct Budget<'a> {
    steps: u32,
    stop: &'a CancellationToken,
}

impl Budget<'_> {
    /// Counts a step. Returns `false` if there may be no further one.
    fn has_more(&mut self) -> bool {
        self.steps = self.steps.saturating_sub(1);
        self.steps > 0 && !self.stop.is_cancelled()
    }
}

/// How a sweep stands.
enum Progress {
    Done {
        objects: u64,
    },
    /// There were too many steps, or the process stops.
    Paused,
    /// Another process has ended it, or the store is gone.
    Ended,
    /// Somebody writes objects to the store before their revision.
    InUse,
}

/// Continues the sweep that was begun, or begins one. Returns whether there may be another one to begin. After `stop` it leaves the sweep to
/// other processes at once.
///
/// # Errors
/// The database failed as a whole. If only the sweep of one store fails, it waits as long as after a new request, and the others go on.
pub async fn sweep_one(pool: &Pool, grace: Duration, stop: &CancellationToken) -> Result<bool, StoreError> {
    let Some(sweep) = claim(pool, grace).await? else {
        while garbage::delete_marks(pool).await? > 0 {}
        return Ok(false);
    };
    let store = sweep.store.0;
    match advance_or_retry(pool, sweep, Budget { steps: MAX_STEPS, stop }).await {
        Err(error @ StoreError::Inconsistent(_)) => {
            // A damaged object would stop every sweep after this one.
            tracing::error!(%store, %error, "the sweep of a store was given up");
            garbage::end(pool, &sweep).await?;
        }
        // So would an error that lasts. If the database is away, the sweep cannot be postponed either, and is continued later.
        Err(error) => {
            tracing::warn!(%store, %error, "the sweep of a store was postponed");
            postpone(pool, &sweep).await?;
        }
        Ok(progress) => return settle(pool, &sweep, progress).await,
    }
    Ok(true)
}

/// Does what follows from how a sweep stands. Returns whether there may be another one to begin.
async fn settle(pool: &Pool, sweep: &Sweep, progress: Progress) -> Result<bool, StoreError> {
    let store = sweep.store.0;
    match progress {
        Progress::Done { objects } => {
            if let Some(bytes) = garbage::end(pool, sweep).await? {
                tracing::info!(%store, objects, bytes, "unreachable objects were deleted");
            }
        }
        Progress::Paused => {
            garbage::release(pool, sweep).await?;
            return Ok(false);
        }
        Progress::InUse => postpone(pool, sweep).await?,
        Progress::Ended => {}
    }
    Ok(true)
}

/// Ends a sweep, and asks for another one of the same store.
async fn postpone(pool: &Pool, sweep: &Sweep) -> Result<(), StoreError> {
    garbage::request(pool, sweep.store).await?;
    garbage::end(pool, sweep).await?;
    Ok(())
}

/// As [`advance`], and continues after transient errors. Each step is in the database, so it may be repeated.
async fn advance_or_retry(pool: &Pool, mut sweep: Sweep, mut budget: Budget<'_>) -> Result<Progress, StoreError> {
    let (mut failures, mut steps) = (0, budget.steps);
    loop {
        let result = advance(pool, &mut sweep, &mut budget).await;
        if budget.steps < steps {
            (failures, steps) = (0, budget.steps);
        }
        match result {
            Err(error) if error.is_transient() && failures < MAX_FAILURES && !budget.stop.is_cancelled() => failures += 1,
            result => return result,
        }
    }
}

async fn claim(pool: &Pool, grace: Duration) -> Result<Option<Sweep>, StoreError> {
    let mut tx = store::begin(pool).await?;
    garbage::lock(&mut tx).await?;
    let claimed = match garbage::resume(&mut tx).await? {
        Begun::Claimed => None,
        Begun::Nothing => garbage::start(&mut tx, grace.as_secs_f64()).await?,
        Begun::Resumed(sweep) => Some(sweep),
    };
    store::commit(tx).await?;
    Ok(claimed)
}

async fn advance(pool: &Pool, sweep: &mut Sweep, budget: &mut Budget<'_>) -> Result<Progress, StoreError> {
    if !sweep.logs_marked && !mark_logs(pool, sweep, budget).await? {
        return Ok(Progress::Paused);
    }
    sweep.logs_marked = true;
    let sweep = &*sweep;
    let (mut after, mut objects) = (None::<Oid>, 0);
    loop {
        let mut db = store::connection(pool).await?;
        garbage::mark_roots(&mut *db, sweep).await?;
        while walk(&mut db, sweep).await? {
            if !budget.has_more() {
                return Ok(Progress::Paused);
            }
            if !garbage::renew(&mut *db, sweep).await? {
                return Ok(Progress::Ended);
            }
        }
        let unmarked = garbage::unmarked(&mut *db, sweep, after).await?;
        drop(db);
        let last = unmarked.last().copied().filter(|_| !seeded_bug::is("end-a-sweep-early"));
        let Some(last) = last else { return Ok(Progress::Done { objects }) };
        match delete(pool, sweep, &unmarked).await? {
            Deletion::Done(deleted) => {
                objects += deleted;
                after = Some(last);
            }
            Deletion::Behind => {}
            Deletion::Stopped(progress) => return Ok(progress),
        }
        if !budget.has_more() {
            return Ok(Progress::Paused);
        }
    }
}

/// Returns `false` if the process stops before all logs are marked.
async fn mark_logs(pool: &Pool, sweep: &Sweep, budget: &Budget<'_>) -> Result<bool, StoreError> {
    for log in garbage::logs(pool, sweep.store).await? {
        let mut place = LogPlace::default();
        while let Some(last) = garbage::mark_log(pool, sweep, log, &place).await? {
            place = last;
            if budget.stop.is_cancelled() {
                return Ok(false);
            }
            garbage::renew(pool, sweep).await?;
        }
    }
    garbage::set_logs_marked(pool, sweep).await?;
    Ok(true)
}

/// Marks what some marked objects name. Returns `false` if all are walked.
async fn walk(db: &mut Connection, sweep: &Sweep) -> Result<bool, StoreError> {
    let unwalked = garbage::unwalked(&mut *db, sweep).await?;
    if unwalked.is_empty() {
        return Ok(false);
    }
    // Sorted, so that two processes insert in the same order.
    let mut found: BTreeMap<Oid, Link> = BTreeMap::new();
    for object in &unwalked {
        if let Some((tag, data)) = &object.row {
            found.extend(git::links(object.oid, *tag, data)?.into_iter().map(|link| (link.oid, link)));
        }
    }
    let (walked, links): (Vec<Oid>, Vec<Link>) = (unwalked.iter().map(|object| object.oid).collect(), found.into_values().collect());
    garbage::set_walked(db, sweep, &walked, &links).await?;
    Ok(true)
}

enum Deletion {
    Done(u64),
    /// So much was saved since that it is marked without the lock.
    Behind,
    Stopped(Progress),
}

/// Deletes those of some objects that are still unreachable.
async fn delete(pool: &Pool, sweep: &Sweep, oids: &[Oid]) -> Result<Deletion, StoreError> {
    let mut tx = store::begin(pool).await?;
    match garbage::lock_store(&mut tx, sweep).await? {
        StoreLock::Locked => {}
        StoreLock::Ended => return Ok(Deletion::Stopped(Progress::Ended)),
        StoreLock::InUse => return Ok(Deletion::Stopped(Progress::InUse)),
    }
    if !seeded_bug::is("delete-what-is-used-again") {
        garbage::mark_roots(&mut *tx, sweep).await?;
    }
    for _ in 0..MAX_LOCKED_STEPS {
        if !walk(&mut tx, sweep).await? {
            let deleted = garbage::delete(&mut tx, sweep, oids).await?;
            store::commit(tx).await?;
            return Ok(Deletion::Done(deleted));
        }
    }
    store::commit(tx).await?;
    Ok(Deletion::Behind)
}
