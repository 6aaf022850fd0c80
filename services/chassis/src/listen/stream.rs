//! Runs each stream of HTTP/2 in a task, and resets a stream whose client does not read for too long.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

tokio::task_local! {
    /// The wait of the stream that this task serves.
    static WAIT: Arc<Wait>;
}

/// Since when a piece of a stream's response waits for the client to open its window. The socket is not blocked then, so other streams
/// of the connection can continue.
#[derive(Debug, Default)]
pub(super) struct Wait(Mutex<Option<Instant>>);

impl Wait {
    /// The wait of the current task's stream. `None` for HTTP/1.1, where a response waits only for the socket.
    pub(super) fn of_stream() -> Option<Arc<Self>> {
        WAIT.try_with(Arc::clone).ok()
    }

    /// Records that a piece of the response was made and waits from now on.
    pub(super) fn begin(&self) {
        self.set(Some(Instant::now()));
    }

    /// Records that the client has read all pieces.
    pub(super) fn end(&self) {
        self.set(None);
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when a piece has waited for `limit`. `timer` is kept between polls and polled only while a piece waits.
    fn poll_timeout(&self, limit: Duration, timer: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(since) = self.since() {
            let until = since + limit;
            let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
            ready!(timer.as_mut().poll(cx));
            // The timer may have been set for an earlier piece.
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
        Poll::Pending
    }
}

/// The executor of a connection's streams. A stream whose client reads no piece for `limit` is dropped, which resets it. The connection
/// and its other streams continue.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    pub(super) limit: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let limit = self.limit;
        crate::task::spawn(async move {
            let (wait, mut timer) = (Arc::new(Wait::default()), None);
            let mut stream = pin!(WAIT.scope(Arc::clone(&wait), stream));
            poll_fn(|cx| match stream.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => wait.poll_timeout(limit, &mut timer, cx),
            })
            .await;
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// Runs a stream that calls `action` with its wait and then never ends. Returns whether it is dropped within `timeout`.
    async fn is_dropped(limit: Duration, action: fn(&Wait), timeout: Duration) -> bool {
        let (held, dropped) = oneshot::channel::<()>();
        Streams { limit }.execute(async move {
            let _held = held;
            action(&Wait::of_stream().unwrap());
            std::future::pending::<()>().await;
        });
        tokio::time::timeout(timeout, dropped).await.is_ok()
    }

    #[tokio::test]
    async fn a_stream_whose_piece_waits_too_long_is_dropped() {
        let limit = Duration::from_millis(100);
        assert!(is_dropped(limit, Wait::begin, LONG).await);
        let read_all = |wait: &Wait| {
            wait.begin();
            wait.end();
        };
        assert!(!is_dropped(limit, read_all, limit * 5).await, "nothing waits");
    }

    #[tokio::test]
    async fn the_limit_applies_to_each_piece() {
        let wait = Wait::default();
        wait.begin();
        // A timer that was set for an earlier piece.
        let mut timer = Some(Box::pin(sleep_until(Instant::now())));
        tokio::time::sleep(Duration::from_millis(2)).await;
        let polled = futures::poll!(poll_fn(|cx| wait.poll_timeout(LONG, &mut timer, cx)));
        assert!(polled.is_pending() && timer.unwrap().deadline() > Instant::now());
    }
}
