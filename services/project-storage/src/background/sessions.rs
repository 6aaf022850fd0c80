//! Follows auth's log of ended sessions, and deletes the previews that those sessions created. The position in the log and the ended
//! sessions are in the database, so a replica continues where another one stopped, and a preview that was created at the same moment
//! is refused. Requests and streams of the ended sessions are refused and ended by [`chassis::revocations`], which needs no database.

use std::time::Duration;

use chassis::{client::ServiceChannel, context::Context, revocations::SILENCE};
use proto::{
    auth::{WatchRevocationsRequest, auth_service_client::AuthServiceClient},
    id::SessionId,
};
use tokio_util::sync::CancellationToken;

use crate::store::{Pool, StoreError, sessions};

/// The wait between two attempts to open the stream.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Why the stream ended.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("auth answered with an error: {}", .0.message())]
    Auth(#[from] tonic::Status),
    #[error("auth sent no heartbeat")]
    Heartbeat(#[from] tokio::time::error::Elapsed),
    #[error("auth ended the stream")]
    Ended,
    #[error("the database failed")]
    Store(#[from] StoreError),
}

/// Follows the log until `stop`.
pub(crate) async fn follow(pool: Pool, auth: ServiceChannel, stop: CancellationToken) {
    while let Some(result) = stop.run_until_cancelled(follow_once(&pool, &auth)).await {
        if let Err(error) = result {
            tracing::debug!(cause = chassis::error::chain(&error), "the stream of ended sessions was lost");
        }
        if stop.run_until_cancelled(tokio::time::sleep(RETRY_DELAY)).await.is_none() {
            return;
        }
    }
}

async fn follow_once(pool: &Pool, auth: &ServiceChannel) -> Result<(), StreamError> {
    let after = sessions::last_cursor(pool).await?;
    let request = Context::background().stream_request(WatchRevocationsRequest { after: u64::try_from(after).unwrap_or(0) });
    let mut stream = tokio::time::timeout(SILENCE, AuthServiceClient::new(auth.clone()).watch_revocations(request)).await??.into_inner();
    // If the stream starts before the stored position, auth has another database.
    let mut is_first = true;
    while let Some(message) = tokio::time::timeout(SILENCE, stream.message()).await?? {
        let (cursor, session) = (i64::try_from(message.cursor).unwrap_or(i64::MAX), message.session_id.parse::<SessionId>().ok());
        if session.is_some() || is_first {
            if is_first && cursor < after {
                sessions::delete_after(pool, cursor).await?;
            }
            sessions::end(pool, cursor, session).await?;
        }
        is_first = false;
    }
    Err(StreamError::Ended)
}
