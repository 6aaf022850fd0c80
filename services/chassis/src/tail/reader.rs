//! The one task that reads the logs for all tails of the process.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::{Entry, LogId, Tails};
use crate::{postgres::StoreError, seeded_bug};

/// The latency of an entry whose doorbell message was lost.
const POLL: Duration = Duration::from_secs(2);
/// Logs in one read.
const LOGS_PER_READ: usize = 200;
/// The pause after a failed read.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The next entries of one log, in order.
pub type Page<K, E> = (K, Vec<Arc<E>>);

/// Reads logs.
pub trait LogReader<K: LogId, E: Entry>: Send {
    /// The most entries of one log in one read.
    const PAGE: u32;

    /// Reads the next entries of logs after their cursors: of each log at most [`Self::PAGE`], in order. Logs without new entries may be
    /// left out.
    fn read(&mut self, cursors: &[(K, u32)]) -> impl Future<Output = Result<Vec<Page<K, E>>, StoreError>> + Send;
}

/// Reads the logs of the tails that are behind, and at each poll of all tails, until `stop`.
pub async fn keep_up<K: LogId, E: Entry, R: LogReader<K, E>>(tails: Tails<K, E>, mut reader: R, stop: CancellationToken) {
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let all = tokio::select! {
            () = stop.cancelled() => return,
            _ = poll.tick() => !seeded_bug::is("drop-poll"),
            () = tails.wait_until_behind() => false,
        };
        for cursors in tails.take_behind(all).chunks(LOGS_PER_READ) {
            read_once(&tails, &mut reader, cursors).await;
        }
    }
}

async fn read_once<K: LogId, E: Entry, R: LogReader<K, E>>(tails: &Tails<K, E>, reader: &mut R, cursors: &[(K, u32)]) {
    let read = match reader.read(cursors).await {
        Ok(read) => read,
        Err(error) => {
            tracing::warn!(error = %error, "the log could not be read for viewers");
            tails.mark_behind(cursors.iter().map(|(log, _)| *log));
            return sleep(RETRY_PAUSE).await;
        }
    };
    for (log, entries) in read {
        tails.deliver_read(log, &entries);
        if entries.len() >= R::PAGE as usize {
            tails.mark_behind([log]);
        }
    }
}
