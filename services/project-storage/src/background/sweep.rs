//! Deletes expired rows: idempotency keys, also those of unpublished templates, previews, ended sessions, conflicts with their branches, and finished entries of the log of
//! deletions; and stores that have neither a project nor a template. Reads ignore an expired row whether it is deleted or not. Purges projects that were deleted thirty days ago.

use std::time::Duration;

use chassis::{clock::now, fault_time, task::Ticks};
use tokio_util::sync::CancellationToken;

use crate::{
    delete,
    store::{Pool, StoreError, sweeps, unused_stores},
};

/// The time between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(600);

/// Sweeps until `stop`. Replicas may sweep at the same time: each skips the rows that another one has locked.
pub(crate) async fn run(pool: Pool, stop: CancellationToken) {
    let mut ticks = Ticks::new(fault_time::shortened("sweep-interval", SWEEP_INTERVAL), stop);
    while ticks.next().await {
        match sweep(&pool).await {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(rows, "expired rows were deleted"),
            // The next sweep tries again.
            Err(error) => tracing::warn!(%error, "expired rows could not be deleted"),
        }
    }
}

/// Deletes all expired rows. Returns how many there were.
async fn sweep(pool: &Pool) -> Result<u64, StoreError> {
    let mut rows = purge(pool).await;
    loop {
        let deleted = delete_unused_store(pool).await?
            + sweeps::save_requests(pool).await?
            + sweeps::unpublished_requests(pool).await?
            + sweeps::publish_requests(pool).await?
            + sweeps::previews(pool).await?
            + sweeps::ended_sessions(pool).await?
            + sweeps::branches(pool).await?
            + sweeps::conflicts(pool).await?
            + sweeps::pending_writes(pool).await?
            + sweeps::message_versions(pool).await?
            + sweeps::deletions(pool).await?;
        if deleted == 0 {
            return Ok(rows);
        }
        rows += deleted;
    }
}

/// Deletes one store that has neither a project nor a template. Returns how many there were.
pub async fn delete_unused_store(pool: &Pool) -> Result<u64, StoreError> {
    let Some(store) = unused_stores::find_unused_store(pool).await? else { return Ok(0) };
    while unused_stores::delete_part_of_unused_store(pool, store).await? {}
    Ok(1)
}

/// Purges projects that were deleted thirty days ago. A failure does not keep the other rows from being deleted.
async fn purge(pool: &Pool) -> u64 {
    delete::purge_expired(pool, now()).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "deleted projects could not be purged");
        0
    })
}
