//! Once an hour, rows that can matter to nobody any more are deleted, and accounts of the release before get the identity of their
//! address. Every replica does it; doing it twice does nothing.

use chassis::clock;
use proto::id::UserId;
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use crate::{
    email::Email,
    store::{self, Pool, revocations, sessions, users},
};

const EVERY: std::time::Duration = std::time::Duration::from_secs(3_600);
/// A gateway that was away for longer has no token left that a revocation could end.
const REVOCATIONS_KEPT: Duration = Duration::days(1);
/// An address that nobody signed in from for this long is a new one again.
const ADDRESSES_KEPT: Duration = Duration::days(180);

/// Rows of one look.
const PAGE: i64 = 500;

/// Cleans until the process stops.
pub async fn run(pool: Pool, stop: CancellationToken) {
    loop {
        match clean(&pool, clock::now()).await {
            Ok(rows) => tracing::debug!(rows, "old rows deleted"),
            Err(error) => tracing::warn!(cause = chassis::error::chain(&error), "old rows could not be deleted; the next hour tries again"),
        }
        if let Err(error) = identify(&pool).await {
            tracing::warn!(cause = chassis::error::chain(&error), "addresses could not be normalised; the next hour tries again");
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

/// # Errors
/// The database failed.
pub async fn clean(pool: &Pool, now: OffsetDateTime) -> Result<u64, store::StoreError> {
    let sessions = sessions::delete_expired(pool, now).await?;
    let revocations = revocations::delete_before(pool, now - REVOCATIONS_KEPT).await?;
    let addresses = users::forget_addresses(pool, now - ADDRESSES_KEPT).await?;
    Ok(sessions + revocations + addresses)
}

/// Gives accounts that another release made the identity of their address. Of two accounts of one address the older one gets it;
/// the other one is reached by its own spelling.
///
/// # Errors
/// The database failed.
pub async fn identify(pool: &Pool) -> Result<(), store::StoreError> {
    let mut after = UserId(uuid::Uuid::nil());
    loop {
        let page = users::without_identity(pool, after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = *last;
        for (id, text) in &page {
            let Ok(email) = text.parse::<Email>() else { continue };
            if !users::give_identity(pool, *id, email.identity()).await? {
                tracing::info!(user = %id, "another account has this address in another spelling; both stay");
            }
        }
    }
}
