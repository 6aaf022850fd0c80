//! Follows a log of deletions that another service has. Every replica does so. A deletion is acknowledged when nothing of it is left here;
//! until then it is carried out again at each read, so a process can be killed at any moment. What a read has done until then stays done,
//! because each deletion is acknowledged before the next one begins.

use std::time::Duration;

use proto::error::Fault;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::fault_time;

/// The time between two reads of the log.
const POLL: Duration = Duration::from_secs(5);

/// A log and what its entries mean here.
pub trait DeletionLog: Send + Sync {
    type Entry: Send + Sync;
    type Error: std::error::Error + Send + Sync + 'static;

    /// The position of an entry.
    fn id(entry: &Self::Entry) -> u64;

    /// The entries with a higher id that this service has not acknowledged, by id. Empty at the end.
    fn page(&self, after: u64) -> impl Future<Output = Result<Vec<Self::Entry>, Fault>> + Send;

    /// Deletes what the entry is about. Returns `false` if it has to be repeated.
    fn carry_out(&self, entry: &Self::Entry) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Tells the other service that nothing of this entry is left.
    fn acknowledge(&self, id: u64) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Why the log could not be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError<E: std::error::Error + 'static> {
    #[error("the service that has the log failed: {0}")]
    Log(Fault),
    #[error("a deletion could not be carried out")]
    Deletion(#[source] E),
}

/// Follows the log until `stop`.
pub async fn follow(log: impl DeletionLog, stop: CancellationToken) {
    let mut poll = interval(fault_time::shortened("deletion-poll", POLL));
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(poll.tick()).await.is_some() {
        let Some(outcome) = stop.run_until_cancelled(carry_out(&log)).await else { return };
        if let Err(error) = outcome {
            tracing::warn!(cause = crate::error::chain(&error), "deletions could not be carried out and are tried again later");
        }
    }
}

/// Carries out all deletions of the log once, page by page. One that fails does not stop the others.
///
/// # Errors
/// The log could not be read, or a deletion failed.
pub async fn carry_out<L: DeletionLog>(log: &L) -> Result<(), FollowError<L::Error>> {
    let (mut after, mut failure) = (0, None);
    loop {
        let page = log.page(after).await.map_err(FollowError::Log)?;
        let Some(last) = page.last() else { return failure.map_or(Ok(()), |error| Err(FollowError::Deletion(error))) };
        after = L::id(last);
        for entry in &page {
            match log.carry_out(entry).await {
                Ok(true) => log.acknowledge(L::id(entry)).await.map_err(FollowError::Log)?,
                Ok(false) => {}
                Err(error) => failure = Some(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Mutex, PoisonError},
    };

    use futures::FutureExt as _;

    use super::*;

    /// Entries 1 to 5, two a page. The second one has to be repeated, and the third one fails.
    #[derive(Default)]
    struct Log {
        acknowledged: Mutex<Vec<u64>>,
        /// The deletion of this entry does not end.
        endless: Option<u64>,
    }

    impl Log {
        fn acknowledged(&self) -> Vec<u64> {
            self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }
    }

    impl DeletionLog for Log {
        type Entry = u64;
        type Error = io::Error;

        fn id(entry: &u64) -> u64 {
            *entry
        }

        async fn page(&self, after: u64) -> Result<Vec<u64>, Fault> {
            Ok((after + 1..=5).take(2).collect())
        }

        async fn carry_out(&self, entry: &u64) -> Result<bool, io::Error> {
            if self.endless == Some(*entry) {
                std::future::pending::<()>().await;
            }
            if *entry == 3 { Err(io::Error::other("three")) } else { Ok(*entry != 2) }
        }

        async fn acknowledge(&self, id: u64) -> Result<(), Fault> {
            self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(id);
            Ok(())
        }
    }

    #[tokio::test]
    async fn only_what_was_carried_out_is_acknowledged() {
        let log = Log::default();
        let failure = carry_out(&log).await.expect_err("the third one");
        assert!(matches!(failure, FollowError::Deletion(error) if error.to_string() == "three"));
        assert_eq!(log.acknowledged(), [1, 4, 5]);
    }

    #[tokio::test]
    async fn a_read_that_does_not_end_keeps_what_it_has_done() {
        let log = Log { endless: Some(5), ..Log::default() };
        assert!(carry_out(&log).now_or_never().is_none(), "the last one does not end");
        assert_eq!(log.acknowledged(), [1, 4]);
        let log = Log { endless: Some(2), ..Log::default() };
        assert!(carry_out(&log).now_or_never().is_none());
        assert_eq!(log.acknowledged(), [1], "the other one of the page is acknowledged");
    }
}
