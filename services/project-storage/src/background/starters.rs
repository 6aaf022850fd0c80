//! Publishes the templates that ship with Backlot, once after the start of the service.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    commit::starters::{self, STARTERS, Starter},
    error::Error,
    store::Pool,
};

/// The wait before a publication that failed is repeated.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Publishes all of them, or ends at `stop`.
pub(crate) async fn run(pool: Pool, stop: CancellationToken) {
    for starter in STARTERS {
        if stop.run_until_cancelled(publish(&pool, starter)).await.is_none() {
            return;
        }
    }
}

/// Publishes one; repeats it while the database fails.
async fn publish(pool: &Pool, starter: &'static Starter) {
    loop {
        match starters::publish(pool, starter).await {
            Ok(is_new) => {
                tracing::debug!(starter = starter.slug, is_new, "a template of Backlot is published");
                return;
            }
            Err(Error::Store(error)) => tracing::warn!(starter = starter.slug, %error, "a template of Backlot could not be published"),
            Err(error) => {
                tracing::error!(starter = starter.slug, %error, "a template of Backlot is not valid");
                return;
            }
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}
