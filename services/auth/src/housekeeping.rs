//! Once an hour, rows that can matter to nobody any more are deleted. Every replica does it; doing it twice does nothing.

use chassis::clock;
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use crate::store::{self, Pool, revocations, sessions, users};

const EVERY: std::time::Duration = std::time::Duration::from_secs(3_600);
/// A gateway that was away for longer has no token left that a revocation could end.
const REVOCATIONS_KEPT: Duration = Duration::days(1);
/// An address that nobody signed in from for this long is a new one again.
const ADDRESSES_KEPT: Duration = Duration::days(180);

/// Cleans until the process stops.
pub async fn run(pool: Pool, stop: CancellationToken) {
    loop {
        match clean(&pool, clock::now()).await {
            Ok(rows) => tracing::debug!(rows, "old rows deleted"),
            Err(error) => tracing::warn!(cause = chassis::error::chain(&error), "old rows could not be deleted; the next hour tries again"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

/// # Errors
/// The database failed.
pub async fn clean(pool: &Pool, now: OffsetDateTime) -> Result<u64, store::Error> {
    let sessions = sessions::delete_expired(pool, now).await?;
    let revocations = revocations::delete_before(pool, now - REVOCATIONS_KEPT).await?;
    let addresses = users::forget_addresses(pool, now - ADDRESSES_KEPT).await?;
    Ok(sessions + revocations + addresses)
}
