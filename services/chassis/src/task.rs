//! Spawns tasks. A task runs in the span of its caller, so that its work belongs to the same trace. The tasks of a service are awaited
//! when it shuts down.

mod ticks;

use std::{future::Future, time::Duration};

use tokio::task::{JoinError, JoinHandle};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use tracing::{Instrument as _, Span};

pub use self::ticks::Ticks;

/// Spawns a future in the caller's span.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[allow(clippy::disallowed_methods, reason = "the span is kept here")]
    tokio::spawn(future.in_current_span())
}

/// Runs a future in a task of its own and waits for its output. The future makes progress while the caller is not polled. It is aborted
/// when the caller is dropped.
///
/// The body of a response is not polled while its client does not read. A database query in such a body would hold its connection and
/// its locks for that time, so the body runs it through this function.
pub async fn spawn_and_wait<F>(future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    output_of(AbortOnDropHandle::new(spawn(future)).await).await
}

/// The output of a task. A panic of the task goes on in the caller.
async fn output_of<T>(ended: Result<T, JoinError>) -> T {
    match ended {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The task was cancelled because the runtime shuts down.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Runs blocking work on a thread of its own, in the caller's span.
pub fn blocking<F, T>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let span = Span::current();
    #[allow(clippy::disallowed_methods, reason = "the span is kept here")]
    tokio::task::spawn_blocking(move || span.in_scope(work))
}

/// Runs blocking work as [`blocking`] and waits for its output. It runs to its end, also if the caller is dropped.
pub async fn blocking_and_wait<F, T>(work: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    output_of(blocking(work).await).await
}

/// A group of tasks that are shut down together.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    /// Cancelled when the time limit of a shutdown has passed. Tasks that still run are dropped at their next await.
    abort: CancellationToken,
}

impl Tasks {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns a future. It should end when [`Tasks::token`] is cancelled. The output is `None` if the future was dropped.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let abort = self.abort.clone();
        // Boxed, because each layer that takes a future by value doubles its size.
        let future = Box::pin(future);
        let future = self.tracker.track_future(async move { abort.run_until_cancelled_owned(future).await });
        spawn(future)
    }

    /// A token that is cancelled when the tasks should end.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// The number of running tasks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Cancels the token and waits for all tasks. Drops those that have not ended within the limit. Returns whether all ended in time.
    pub async fn shutdown(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(limit, self.tracker.wait()).await.is_ok() {
            return true;
        }
        tracing::warn!(left = self.tracker.len(), "tasks did not end in time and were dropped");
        self.abort.cancel();
        self.tracker.wait().await;
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_task_that_ignores_the_token_is_dropped() {
        let tasks = Tasks::new();
        let ended = Arc::new(Mutex::new(Vec::new()));
        let (token, log) = (tasks.token(), ended.clone());
        let cooperative = tasks.spawn(async move {
            token.cancelled().await;
            log.lock().unwrap().push("cooperative");
        });
        let pending = tasks.spawn(std::future::pending::<()>());
        assert_eq!(tasks.len(), 2);
        assert!(!tasks.shutdown(Duration::from_millis(50)).await);
        assert_eq!(cooperative.await.unwrap(), Some(()));
        assert_eq!(pending.await.unwrap(), None);
        assert_eq!(*ended.lock().unwrap(), ["cooperative"]);
        assert!(tasks.is_empty());
    }

    #[tokio::test]
    async fn a_spawned_future_runs_without_polls_and_is_dropped_with_its_caller() {
        let (first, second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let held = Arc::new(());
        let work = {
            let (first, second, held) = (Arc::clone(&first), Arc::clone(&second), Arc::clone(&held));
            async move {
                second.notify_one();
                first.notified().await;
                second.notify_one();
                let _held = held;
                std::future::pending::<()>().await;
            }
        };
        let mut caller = Box::pin(spawn_and_wait(work));
        assert!(futures::poll!(&mut caller).is_pending());
        second.notified().await;
        first.notify_one();
        second.notified().await;
        drop(caller);
        crate::testing::eventually(Duration::from_secs(20), || async { (Arc::strong_count(&held) == 1).then_some(()) }).await;
    }

    #[tokio::test]
    async fn shutdown_without_tasks_returns_at_once() {
        assert!(Tasks::new().shutdown(Duration::ZERO).await);
    }
}
