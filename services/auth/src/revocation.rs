//! The feed of ended and changed sessions. One task per process reads the log of revocations: immediately when a session ends in this process, and
//! every half second for sessions that end in other replicas. It sends the new rows to every stream. A stream ends when the log could not
//! be read for two seconds, because the gateway trusts its cache as long as the stream is open. A stream without a cursor starts before the
//! sessions that ended in the last minutes, because their access tokens may still be valid.

use std::{sync::Arc, time::Duration};

use chassis::{
    clock,
    revocations::HEARTBEAT,
    task::{Ticks, spawn_and_wait},
};
use futures::Stream;
use proto::id::SessionId;
use tokio::{
    sync::{
        Notify,
        broadcast::{self, error::RecvError},
    },
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::Error,
    store::{
        self, Pool,
        revocations::{self, Revocation},
    },
};

/// How often the log is read.
const POLL: Duration = Duration::from_millis(500);
/// A stream ends when the log could not be read for this long.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// A stream without a cursor has the sessions that ended since then: twice the life of an access token, because the clocks of replicas
/// differ and a row is older than its commit.
const BACKLOG: time::Duration = time::Duration::minutes(10);
/// Rows of one query.
const BATCH: i64 = 500;
/// Signals that are kept for a slow stream. A stream that lags further behind reads the log itself.
const SIGNALS: usize = 1024;

/// One message of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) cursor: i64,
    /// The end of the log when the stream began, in the first message, and otherwise 0.
    pub(crate) backlog_end: i64,
    /// None in the first message and in heartbeats.
    pub(crate) session_id: Option<SessionId>,
    /// Otherwise its access tokens are out of date.
    pub(crate) has_ended: bool,
}

impl Notice {
    /// Only the position.
    fn at(cursor: i64) -> Self {
        Self { cursor, backlog_end: 0, session_id: None, has_ended: false }
    }
}

impl From<Revocation> for Notice {
    fn from(Revocation { cursor, session_id, has_ended }: Revocation) -> Self {
        Self { cursor, backlog_end: 0, session_id: Some(session_id), has_ended }
    }
}

#[derive(Clone)]
enum Signal {
    Appended(Revocation),
    /// The log was read to its end.
    UpToDate,
}

/// Cheap to clone; all clones are one feed.
#[derive(Clone)]
pub(crate) struct Feed {
    pool: Pool,
    log_grew: Arc<Notify>,
    signals: broadcast::Sender<Signal>,
    stop: CancellationToken,
}

impl Feed {
    /// Streams end when `stop` is cancelled.
    pub(crate) fn new(pool: Pool, stop: CancellationToken) -> Self {
        Self { pool, log_grew: Arc::default(), signals: broadcast::Sender::new(SIGNALS), stop }
    }

    /// Reports that this process has appended to the log.
    pub(crate) fn notify(&self) {
        self.log_grew.notify_one();
    }

    /// Reads the log until the process stops.
    pub(crate) async fn run(self) {
        let mut cursor = None;
        let mut polls = Ticks::new(POLL, self.stop.clone());
        while polls.next_or(self.log_grew.notified()).await {
            match timeout(READ_TIMEOUT, self.read(&mut cursor)).await {
                Ok(Ok(())) => drop(self.signals.send(Signal::UpToDate)),
                Ok(Err(error)) => tracing::warn!(cause = chassis::error::chain(&error), "the log of revocations could not be read"),
                Err(_) => tracing::warn!("reading the log of revocations timed out"),
            }
        }
    }

    /// Sends the rows after the cursor to the streams. The first call only sets the cursor to the end of the log.
    async fn read(&self, cursor: &mut Option<i64>) -> Result<(), store::StoreError> {
        let Some(cursor) = cursor else {
            *cursor = Some(revocations::head(&self.pool).await?);
            return Ok(());
        };
        loop {
            let batch = revocations::after(&self.pool, *cursor, BATCH).await?;
            let full = batch.len() == BATCH as usize;
            for revocation in batch {
                *cursor = revocation.cursor;
                // It fails if there is no stream.
                let _ = self.signals.send(Signal::Appended(revocation));
            }
            if !full {
                return Ok(());
            }
        }
    }

    /// Every revocation after the cursor `after`, in order, each exactly once. 0 starts before those of the last minutes. So does a cursor
    /// beyond the end, which is from another database.
    pub(crate) fn watch(&self, after: i64) -> impl Stream<Item = Result<Notice, Error>> + Send + 'static {
        let feed = self.clone();
        async_stream::try_stream! {
            // Subscribe before the first read: a row that is appended in between comes twice, and its cursor shows that.
            let mut signals = feed.signals.subscribe();
            let head = feed.head().await?;
            let mut cursor = if after == 0 || after > head { feed.start().await?.min(head) } else { after };
            let mut last_sent = Instant::now();
            yield Notice { backlog_end: head, ..Notice::at(cursor) };

            let mut behind = true;
            loop {
                while behind {
                    let batch = feed.batch(cursor).await?;
                    behind = batch.len() == BATCH as usize;
                    for revocation in batch {
                        (cursor, last_sent) = (revocation.cursor, Instant::now());
                        yield Notice::from(revocation);
                    }
                }
                if cursor < head {
                    // The last rows before the head were deleted meanwhile.
                    cursor = head;
                    yield Notice::at(cursor);
                }
                match feed.next(&mut signals).await? {
                    Some(Signal::Appended(revocation)) if revocation.cursor > cursor => {
                        (cursor, last_sent) = (revocation.cursor, Instant::now());
                        yield Notice::from(revocation);
                    }
                    Some(Signal::UpToDate) if last_sent.elapsed() >= HEARTBEAT => {
                        last_sent = Instant::now();
                        yield Notice::at(cursor);
                    }
                    Some(_) => {}
                    None => behind = true,
                }
            }
        }
    }

    /// The end of the log. A stream reads in a task of its own: if its client stops reading, the stream is not polled, and a query of it
    /// would keep its database connection.
    async fn head(&self) -> Result<i64, store::StoreError> {
        let pool = self.pool.clone();
        spawn_and_wait(async move { revocations::head(&pool).await }).await
    }

    /// Where a stream without a cursor starts.
    async fn start(&self) -> Result<i64, store::StoreError> {
        let (pool, since) = (self.pool.clone(), clock::now() - BACKLOG);
        spawn_and_wait(async move { revocations::before(&pool, since).await }).await
    }

    /// The rows after the cursor, for a stream.
    async fn batch(&self, after: i64) -> Result<Vec<Revocation>, store::StoreError> {
        let pool = self.pool.clone();
        spawn_and_wait(async move { revocations::after(&pool, after, BATCH).await }).await
    }

    /// The next signal, or `None` if the stream has missed signals.
    async fn next(&self, signals: &mut broadcast::Receiver<Signal>) -> Result<Option<Signal>, Error> {
        tokio::select! {
            // The stop comes first: a busy log must not keep a stream open.
            biased;
            () = self.stop.cancelled() => Err(Error::Draining),
            received = timeout(READ_TIMEOUT, signals.recv()) => match received {
                Ok(Ok(signal)) => Ok(Some(signal)),
                Ok(Err(RecvError::Lagged(_))) => Ok(None),
                Ok(Err(RecvError::Closed)) | Err(_) => Err(Error::FeedStalled),
            },
        }
    }
}
