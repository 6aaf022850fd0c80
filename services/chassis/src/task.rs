//! The only places that spawn. A task keeps the span that it was started in, so its work stays in the trace, and the tasks of
//! a service are awaited when it drains.

use std::{future::Future, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use tracing::{Instrument as _, Span};

/// Runs a future beside the caller, inside the caller's span.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[allow(clippy::disallowed_methods, reason = "this is the place")]
    tokio::spawn(future.in_current_span())
}

/// Runs a future beside the caller and waits for what comes of it. It goes on while nobody polls the caller, and is dropped with it.
///
/// The body of an answer is not polled while its client takes nothing. What such a body waits for would keep its connection to the
/// database, its lock or its window for all that time, so it waits through this function.
pub async fn apart<F>(future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match AbortOnDropHandle::new(spawn(future)).await {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Runs work that blocks a thread, inside the caller's span.
pub fn blocking<F, T>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let span = Span::current();
    #[allow(clippy::disallowed_methods, reason = "this is the place")]
    tokio::task::spawn_blocking(move || span.in_scope(work))
}

/// The tasks that belong together and end together.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    /// Cancelled when waiting is over: what still runs is dropped at its next await.
    abandon: CancellationToken,
}

impl Tasks {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a future until it ends by itself; it should watch [`Tasks::token`].
    pub fn spawn<F>(&self, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let abandon = self.abandon.clone();
        // On the heap: a future that is moved into another one counts twice in its size, at each of the layers here.
        let future = Box::pin(future);
        let future = self.tracker.track_future(async move { abandon.run_until_cancelled_owned(future).await });
        spawn(future)
    }

    /// Cancelled when the tasks should come to an end.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// How many still run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Asks all tasks to end and waits; drops those that have not ended within the limit. Tells whether all ended by themselves.
    pub async fn shutdown(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(limit, self.tracker.wait()).await.is_ok() {
            return true;
        }
        tracing::warn!(left = self.tracker.len(), "tasks did not end in time and were dropped");
        self.abandon.cancel();
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
    async fn tasks_are_asked_then_dropped() {
        let tasks = Tasks::new();
        let ended = Arc::new(Mutex::new(Vec::new()));
        let (token, log) = (tasks.token(), ended.clone());
        let polite = tasks.spawn(async move {
            token.cancelled().await;
            log.lock().unwrap().push("polite");
        });
        let deaf = tasks.spawn(std::future::pending::<()>());
        assert_eq!(tasks.len(), 2);
        assert!(!tasks.shutdown(Duration::from_millis(50)).await);
        assert_eq!(polite.await.unwrap(), Some(()));
        assert_eq!(deaf.await.unwrap(), None);
        assert_eq!(*ended.lock().unwrap(), ["polite"]);
        assert!(tasks.is_empty());
    }

    #[tokio::test]
    async fn what_runs_apart_goes_on_unpolled_and_is_dropped_with_its_caller() {
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
        let mut caller = Box::pin(apart(work));
        assert!(futures::poll!(&mut caller).is_pending());
        second.notified().await;
        first.notify_one();
        second.notified().await;
        drop(caller);
        crate::testing::eventually(Duration::from_secs(20), || async { (Arc::strong_count(&held) == 1).then_some(()) }).await;
    }

    #[tokio::test]
    async fn no_task_is_no_wait() {
        assert!(Tasks::new().shutdown(Duration::ZERO).await);
    }
}
