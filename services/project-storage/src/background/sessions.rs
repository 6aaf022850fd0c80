//! Follows the sessions that end at auth, so that previews end with the session that made them. What was heard stands in the database: a
//! replica that starts goes on where any of them was, and a preview that was made at the same moment is refused when it is used.

use std::time::Duration;

use chassis::{client::ServiceChannel, context::Context};
use proto::{
    auth::{WatchRevocationsRequest, auth_service_client::AuthServiceClient},
    id::SessionId,
};
use tokio_util::sync::CancellationToken;

use crate::store::{Pool, StoreError, previews};

/// Two of auth's heartbeats are missing.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(12);
/// Between two attempts to reach auth.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Why the stream was lost.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("auth: {}", .0.message())]
    Auth(#[from] tonic::Status),
    #[error("auth is silent")]
    Silent(#[from] tokio::time::error::Elapsed),
    #[error("auth ended the stream")]
    Ended,
    #[error("the database failed")]
    Store(#[from] StoreError),
}

/// Follows until told to stop.
pub(crate) async fn follow(pool: Pool, auth: ServiceChannel, stop: CancellationToken) {
    while let Some(lost) = stop.run_until_cancelled(follow_once(&pool, &auth)).await {
        if let Err(lost) = lost {
            tracing::debug!(cause = chassis::error::chain(&lost), "sessions that end are not heard of");
        }
        if stop.run_until_cancelled(tokio::time::sleep(RETRY_DELAY)).await.is_none() {
            return;
        }
    }
}

async fn follow_once(pool: &Pool, auth: &ServiceChannel) -> Result<(), StreamError> {
    let after = previews::last_cursor(pool).await?;
    let request = Context::background().stream_request(WatchRevocationsRequest { after: u64::try_from(after).unwrap_or(0) });
    let mut stream =
        tokio::time::timeout(HEARTBEAT_TIMEOUT, AuthServiceClient::new(auth.clone()).watch_revocations(request)).await??.into_inner();
    // The first message says where the log ends now, or where another database begins.
    let mut heard = None;
    while let Some(message) = tokio::time::timeout(HEARTBEAT_TIMEOUT, stream.message()).await?? {
        let (cursor, session) = (i64::try_from(message.cursor).unwrap_or(i64::MAX), message.session_id.parse::<SessionId>().ok());
        if session.is_some() || heard.is_none() {
            if heard.is_none() && cursor < after {
                previews::forget_after(pool, cursor).await?;
            }
            previews::end_session(pool, cursor, session).await?;
        }
        heard = Some(cursor);
    }
    Err(StreamError::Ended)
}
