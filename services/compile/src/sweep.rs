//! Once an hour: deletes what was not used for a long time, and more if what is kept is too large. Every replica does so; it is idempotent.

use std::time::Duration;

use chassis::{clock, fault_time, task::Ticks};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::store::{self, Pool, StoreError};

const INTERVAL: Duration = Duration::from_secs(3_600);
/// Code is kept longer than the pages that name it, because the use of a page is recorded with a delay.
const MARGIN: Duration = Duration::from_secs(1_800);
/// Rows of one statement.
const BATCH: i64 = 500;

/// What is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    /// After the last use.
    pub(crate) time: Duration,
    /// Of all rows.
    pub(crate) bytes: usize,
}

impl Keep {
    /// What was used within this is never deleted.
    pub(crate) const LEAST: Duration = Duration::from_secs(3_600);
}

/// Runs until the process stops.
pub(crate) async fn run(pool: Pool, keep: Keep, stop: CancellationToken) {
    let mut ticks = Ticks::new(fault_time::shortened("compile-sweep-interval", INTERVAL), stop);
    while ticks.next().await {
        match sweep(&pool, keep.time, keep.bytes, clock::now()).await {
            Ok(rows) => tracing::debug!(rows, "unused builds deleted"),
            Err(error) => tracing::warn!(cause = chassis::error::chain(&error), "unused builds could not be deleted; retried in an hour"),
        }
    }
}

/// Deletes what was not used for `time`. While more than `bytes` are left, it halves the time. Returns the number of rows.
///
/// # Errors
/// The database failed.
pub async fn sweep(pool: &Pool, mut time: Duration, bytes: usize, now: OffsetDateTime) -> Result<u64, StoreError> {
    let mut rows = 0;
    loop {
        rows += delete_before(pool, now - time).await?;
        let size = usize::try_from(store::sweep::size(pool).await?).unwrap_or(usize::MAX);
        if size <= bytes || time <= Keep::LEAST {
            return Ok(rows);
        }
        time = (time / 2).max(Keep::LEAST);
    }
}

async fn delete_before(pool: &Pool, moment: OffsetDateTime) -> Result<u64, StoreError> {
    let mut rows = 0;
    loop {
        let deleted = store::sweep::pages(pool, moment, BATCH).await?
            + store::sweep::contents(pool, moment, BATCH).await?
            + store::sweep::facts(pool, moment, BATCH).await?
            + store::sweep::resolutions(pool, moment, BATCH).await?
            + store::sweep::tarballs(pool, moment, BATCH).await?
            + store::sweep::bundles(pool, moment, BATCH).await?
            + store::sweep::outlines(pool, moment, BATCH).await?
            + store::sweep::outputs(pool, moment - MARGIN, BATCH).await?;
        if deleted == 0 {
            return Ok(rows);
        }
        rows += deleted;
    }
}
