//! Publishes the templates that ship with Backlot at the start of the service.

use std::time::Duration;

use chassis::task::Tasks;
use tokio_util::sync::CancellationToken;

use crate::{
    commit::starters::{self, STARTERS, Starter},
    error::Error,
    store::Pool,
};

/// How long the start of the service waits for the publications. They take about 10 ms each, once for a database.
const START_LIMIT: Duration = Duration::from_secs(5);
/// The wait before a publication that failed is repeated.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Publishes all of them before the service is ready. If that takes too long, the service starts and a task of `tasks` continues.
pub(crate) async fn start(pool: &Pool, tasks: &Tasks, shutdown: &CancellationToken) {
    let published = tokio::time::timeout(START_LIMIT, publish_all(pool));
    if let Some(Err(_)) = shutdown.run_until_cancelled(published).await {
        let (pool, stop) = (pool.clone(), tasks.token());
        tasks.spawn(async move {
            stop.run_until_cancelled(publish_all(&pool)).await;
        });
    }
}

async fn publish_all(pool: &Pool) {
    for starter in STARTERS {
        publish(pool, starter).await;
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
