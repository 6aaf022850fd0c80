//! One stream of HTTP/2 as a task, which ends when its client has left it waiting for too long.

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
    /// Of the stream whose task this is.
    static WAIT: Arc<Wait>;
}

/// Since when the next bytes of a stream's answer wait for the client to open its window. The socket is not blocked then, and other
/// streams of the connection may well move.
#[derive(Debug, Default)]
pub(super) struct Wait(Mutex<Option<Instant>>);

impl Wait {
    /// Of the stream that the caller serves; none for HTTP/1.1, where an answer waits for nothing but the socket.
    pub(super) fn of_stream() -> Option<Arc<Self>> {
        WAIT.try_with(Arc::clone).ok()
    }

    /// A piece of the answer is made, and waits from now on.
    pub(super) fn begin(&self) {
        self.set(Some(Instant::now()));
    }

    /// The client has taken all that was made.
    pub(super) fn end(&self) {
        self.set(None);
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when a piece has waited for so long. `timer` is kept between polls; it runs only while something waits.
    fn poll_passed(&self, limit: Duration, timer: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(since) = self.since() {
            let until = since + limit;
            let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
            ready!(timer.as_mut().poll(cx));
            // It may have run for an earlier piece.
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
        Poll::Pending
    }
}

/// Runs each stream of a connection. One whose client takes no piece of its answer for `limit` is dropped, which resets it; the
/// connection and its other streams go on.
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
                Poll::Pending => wait.poll_passed(limit, &mut timer, cx),
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

    /// Whether a stream is dropped that does so with its wait and then goes on for ever.
    async fn is_dropped(limit: Duration, does: fn(&Wait), patience: Duration) -> bool {
        let (held, dropped) = oneshot::channel::<()>();
        Streams { limit }.execute(async move {
            let _held = held;
            does(&Wait::of_stream().unwrap());
            std::future::pending::<()>().await;
        });
        tokio::time::timeout(patience, dropped).await.is_ok()
    }

    #[tokio::test]
    async fn a_stream_whose_piece_waits_too_long_is_dropped() {
        let limit = Duration::from_millis(100);
        assert!(is_dropped(limit, Wait::begin, LONG).await);
        let quiet = |wait: &Wait| {
            wait.begin();
            wait.end();
        };
        assert!(!is_dropped(limit, quiet, limit * 5).await, "it has nothing to send");
    }

    #[tokio::test]
    async fn each_piece_has_the_whole_time() {
        let wait = Wait::default();
        wait.begin();
        // It has run for an earlier piece.
        let mut timer = Some(Box::pin(sleep_until(Instant::now())));
        tokio::time::sleep(Duration::from_millis(2)).await;
        let passed = futures::poll!(poll_fn(|cx| wait.poll_passed(LONG, &mut timer, cx)));
        assert!(passed.is_pending() && timer.unwrap().deadline() > Instant::now());
    }
}
