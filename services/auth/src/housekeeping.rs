//! Each minute: ends expired sessions. At the start and then once an hour: deletes old rows, and adds the identity of their address to accounts that the previous release created. Every replica
//! does both. They are idempotent.

use chassis::{clock, fault_time, task::Ticks};
use proto::id::UserId;
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use crate::{
    email::Email,
    mail::schedule,
    revocation::Feed,
    store::{
        self, Pool, device_sign_ins, email_tokens, invites, mails, passkey_ceremonies, pending_sign_ins, provider_flows, refresh_tokens,
        revocations, sessions, users,
    },
};

const INTERVAL: std::time::Duration = std::time::Duration::from_secs(3_600);
/// After this the tokens of a revoked session have expired, also in a gateway that did not follow the feed.
const REVOCATIONS_KEPT: Duration = Duration::days(1);
/// A refresh token that was used longer ago has no seed any more. It is needed only to repeat an exchange whose answer was lost.
const SEEDS_KEPT: Duration = Duration::days(7);
/// An address without a sign-in for this long counts as new again.
const ADDRESSES_KEPT: Duration = Duration::days(180);

/// An invite has the address of the invited person. The audit log keeps that it was made and used.
const INVITES_KEPT: Duration = Duration::days(30);

/// How often expired sessions end. Previews and event streams end with them.
const EXPIRY_INTERVAL: std::time::Duration = std::time::Duration::from_secs(60);

/// Rows of one query.
const PAGE: i64 = 500;

/// Runs until the process stops.
pub(crate) async fn run(pool: Pool, stop: CancellationToken) {
    let mut ticks = Ticks::new(fault_time::shortened("housekeeping-interval", INTERVAL), stop);
    while ticks.next().await {
        match delete_old_rows(&pool, clock::now()).await {
            Ok(rows) => tracing::debug!(rows, "old rows deleted"),
            Err(error) => tracing::warn!(cause = chassis::error::chain(&error), "old rows could not be deleted; retried in an hour"),
        }
        if let Err(error) = add_identities(&pool).await {
            tracing::warn!(cause = chassis::error::chain(&error), "e-mail addresses could not be normalised; retried in an hour");
        }
    }
}

/// Ends expired sessions until the process stops.
pub(crate) async fn expire_sessions(pool: Pool, feed: Feed, stop: CancellationToken) {
    let mut ticks = Ticks::new(EXPIRY_INTERVAL, stop);
    while ticks.next().await {
        match end_expired(&pool, clock::now()).await {
            Ok(0) => {}
            Ok(_) => feed.notify(),
            Err(error) => tracing::warn!(cause = chassis::error::chain(&error), "expired sessions could not be ended; retried in a minute"),
        }
    }
}

/// Deletes the sessions past their latest end, and reports them as ended. An idle session is deleted then, too. Returns their number.
///
/// # Errors
/// The database failed.
pub async fn end_expired(pool: &Pool, now: OffsetDateTime) -> Result<usize, store::StoreError> {
    let mut tx = store::begin(pool).await?;
    let ended = sessions::delete_expired(&mut *tx, now).await?;
    if !ended.is_empty() {
        revocations::append(&mut tx, &ended, now).await?;
    }
    store::commit(tx).await?;
    Ok(ended.len())
}

/// Deletes old revocations, seeds of refresh tokens that were used long ago, client addresses that are no longer in use, expired links and
/// codes of devices, sign-ins and exchanges with passkeys that nobody completed, old mails, and invites that ended long ago. Returns the number of
/// rows.
///
/// # Errors
/// The database failed.
pub async fn delete_old_rows(pool: &Pool, now: OffsetDateTime) -> Result<u64, store::StoreError> {
    let revocations = revocations::delete_before(pool, now - REVOCATIONS_KEPT).await?;
    let seeds = refresh_tokens::forget_seeds(pool, now - SEEDS_KEPT).await?;
    let addresses = users::forget_addresses(pool, now - ADDRESSES_KEPT).await?;
    let links = email_tokens::delete_expired(pool, now).await?;
    let flows = provider_flows::delete_expired(pool, now).await?;
    let mails = mails::delete_before(pool, now - schedule::KEPT).await?;
    let devices = device_sign_ins::delete_expired(pool, now).await?;
    let ceremonies = passkey_ceremonies::delete_expired(pool, now).await?;
    let sign_ins = pending_sign_ins::delete_expired(pool, now).await?;
    let invites = invites::delete_ended_before(pool, now - INVITES_KEPT).await?;
    Ok(revocations + seeds + addresses + links + flows + mails + devices + ceremonies + sign_ins + invites)
}

/// Adds the identity of their address to accounts that another release created. If two accounts have the same address, the older one
/// gets the identity, and the other one is found by its own spelling.
///
/// # Errors
/// The database failed.
pub(crate) async fn add_identities(pool: &Pool) -> Result<(), store::StoreError> {
    let mut after = UserId(uuid::Uuid::nil());
    loop {
        let page = users::without_identity(pool, after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = *last;
        for (id, text) in &page {
            let Ok(email) = text.parse::<Email>() else { continue };
            if !users::set_identity(pool, *id, email.identity()).await? {
                tracing::info!(user = %id, "another account has another spelling of this address; each is found by its own spelling");
            }
        }
    }
}
