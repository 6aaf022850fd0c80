//! Forgets what is over: request ids, previews, branches of conflicted turns. What has ended is never served, swept or not.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::store::{Pool, StoreError, sweeps};

const SWEEP_INTERVAL: Duration = Duration::from_secs(600);

/// Sweeps until told to stop. Replicas may sweep at once: each skips what another one holds.
pub(crate) async fn run(pool: Pool, stop: CancellationToken) {
    let mut ticks = interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match sweep(&pool).await {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(rows, "swept"),
            // The next tick tries again; nobody waits for this one.
            Err(failure) => tracing::warn!(error = %failure, "could not sweep"),
        }
    }
}

/// One sweep; answers how many rows went.
async fn sweep(pool: &Pool) -> Result<u64, StoreError> {
    let mut rows = 0;
    loop {
        let swept = sweeps::save_requests(pool).await?
            + sweeps::previews(pool).await?
            + sweeps::ended_sessions(pool).await?
            + sweeps::branches(pool).await?;
        if swept == 0 {
            return Ok(rows);
        }
        rows += swept;
    }
}
