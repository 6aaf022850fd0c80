//! The feed of sessions that ended. One task per process reads the log, at once when a session ends here and every half second
//! for those that end elsewhere, and passes what it finds to every stream. A stream is only as alive as that reading: it ends
//! when the log could not be read for two seconds, because the gateway trusts its cache for as long as the stream lives.

use std::{sync::Arc, time::Duration};

use chassis::task::apart;
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

const POLL: Duration = Duration::from_millis(500);
const SILENCE: Duration = Duration::from_secs(2);
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Rows read at a time.
const BATCH: i64 = 500;
/// Signals that a slow stream may be behind before it reads the log itself.
const BACKLOG: usize = 1024;

/// A message of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    pub cursor: i64,
    /// None in the first message and in heartbeats.
    pub session_id: Option<SessionId>,
}

#[derive(Clone)]
enum Signal {
    Ended(Revocation),
    /// The log was read to its end.
    Alive,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    pool: Pool,
    bell: Arc<Notify>,
    signals: broadcast::Sender<Signal>,
    stop: CancellationToken,
}

impl Feed {
    /// Streams end when `stop` is cancelled.
    #[must_use]
    pub fn new(pool: Pool, stop: CancellationToken) -> Self {
        Self { pool, bell: Arc::default(), signals: broadcast::Sender::new(BACKLOG), stop }
    }

    /// Says that the log has grown.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// Reads the log until the process stops.
    pub async fn run(self) {
        let mut cursor = None;
        loop {
            match timeout(SILENCE, self.read(&mut cursor)).await {
                Ok(Ok(())) => drop(self.signals.send(Signal::Alive)),
                Ok(Err(error)) => tracing::warn!(cause = chassis::error::chain(&error), "the log of revocations could not be read"),
                Err(_) => tracing::warn!("the log of revocations was not read in time"),
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.bell.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Passes on what was appended after the cursor; the first time it only finds the end.
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
                // No receiver is no stream.
                let _ = self.signals.send(Signal::Ended(revocation));
            }
            if !full {
                return Ok(());
            }
        }
    }

    /// Every revocation after `after`, in order, each once; 0 begins at the present. A cursor beyond the end of the log is
    /// of another database and begins at the present too.
    pub fn watch(&self, after: i64) -> impl Stream<Item = Result<Notice, Error>> + Send + 'static {
        let feed = self.clone();
        async_stream::try_stream! {
            // Before the first look at the log: what is appended in between comes twice and is told apart by its cursor.
            let mut signals = feed.signals.subscribe();
            let head = feed.head().await?;
            let mut cursor = if after == 0 { head } else { after.min(head) };
            let mut said = Instant::now();
            yield Notice { cursor, session_id: None };

            let mut behind = true;
            loop {
                while behind {
                    let batch = feed.batch(cursor).await?;
                    behind = batch.len() == BATCH as usize;
                    for revocation in batch {
                        (cursor, said) = (revocation.cursor, Instant::now());
                        yield Notice { cursor, session_id: Some(revocation.session_id) };
                    }
                }
                match feed.next(&mut signals).await? {
                    Some(Signal::Ended(revocation)) if revocation.cursor > cursor => {
                        (cursor, said) = (revocation.cursor, Instant::now());
                        yield Notice { cursor, session_id: Some(revocation.session_id) };
                    }
                    Some(Signal::Alive) if said.elapsed() >= HEARTBEAT => {
                        said = Instant::now();
                        yield Notice { cursor, session_id: None };
                    }
                    Some(_) => {}
                    None => behind = true,
                }
            }
        }
    }

    /// The end of the log. A stream reads apart, because its other end may stop reading in the middle, and the connection to the
    /// database is everybody's.
    async fn head(&self) -> Result<i64, store::StoreError> {
        let pool = self.pool.clone();
        apart(async move { revocations::head(&pool).await }).await
    }

    /// What the log has after the cursor, for a stream.
    async fn batch(&self, after: i64) -> Result<Vec<Revocation>, store::StoreError> {
        let pool = self.pool.clone();
        apart(async move { revocations::after(&pool, after, BATCH).await }).await
    }

    /// The next signal; none when signals were lost.
    async fn next(&self, signals: &mut broadcast::Receiver<Signal>) -> Result<Option<Signal>, Error> {
        tokio::select! {
            // Stopping is looked at first: a busy log must not keep a stream open.
            biased;
            () = self.stop.cancelled() => Err(Error::Draining),
            received = timeout(SILENCE, signals.recv()) => match received {
                Ok(Ok(signal)) => Ok(Some(signal)),
                Ok(Err(RecvError::Lagged(_))) => Ok(None),
                Ok(Err(RecvError::Closed)) | Err(_) => Err(Error::Unfollowed),
            },
        }
    }
}
