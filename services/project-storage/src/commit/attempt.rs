//! Optimistic writes: the database decides which of two concurrent writes is first. The other one reads the new state and is repeated.

use crate::{error::Error, git::Corruption};

/// Attempts after which the project counts as busy.
const MAX_ATTEMPTS: u32 = 16;

/// The result of one attempt.
pub(crate) enum Attempt<T> {
    Done(T),
    /// Another write came first, so what was read is out of date. Nothing was written.
    Raced,
}

/// A write that may lose a race.
pub(crate) trait OptimisticWrite: Send {
    type Output: Send;

    /// Reads the present state, and writes on top of it.
    ///
    /// # Errors
    /// Errors that another attempt would not change.
    fn attempt(&mut self) -> impl Future<Output = Result<Attempt<Self::Output>, Error>> + Send;
}

impl Error {
    /// Whether something is missing that the database had a moment before: the project may have been purged since it was looked up.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Corruption(Corruption::Missing(_) | Corruption::Revision { .. }))
    }
}

/// Repeats a write until it does not lose a race. An object that is missing is a lost race the first time: the project may have been purged
/// between the read of its head and that of its tree.
///
/// # Errors
/// The error of an attempt, or [`Error::Busy`] if every attempt lost a race.
pub(crate) async fn retry_on_race<W: OptimisticWrite>(mut write: W) -> Result<W::Output, Error> {
    let mut may_be_purged = true;
    for _ in 0..MAX_ATTEMPTS {
        match write.attempt().await {
            Ok(Attempt::Done(output)) => return Ok(output),
            Ok(Attempt::Raced) => {}
            Err(error) if error.is_missing() && may_be_purged => may_be_purged = false,
            Err(error) => return Err(error),
        }
    }
    Err(Error::Busy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Oid;

    /// A write that misses an object so often, and then succeeds or finds no project.
    struct WriteDuringPurge {
        misses: u32,
        is_purged: bool,
    }

    impl OptimisticWrite for WriteDuringPurge {
        type Output = ();

        async fn attempt(&mut self) -> Result<Attempt<()>, Error> {
            if self.misses > 0 {
                self.misses -= 1;
                return Err(Corruption::Missing(Oid::EMPTY_TREE).into());
            }
            if self.is_purged { Err(Error::ProjectNotFound) } else { Ok(Attempt::Done(())) }
        }
    }

    #[tokio::test]
    async fn a_missing_object_is_looked_for_twice() {
        let write = async |misses, is_purged| retry_on_race(WriteDuringPurge { misses, is_purged }).await;
        assert!(matches!(write(1, true).await, Err(Error::ProjectNotFound)));
        assert!(write(1, false).await.is_ok());
        assert!(matches!(write(2, true).await, Err(Error::Corruption(Corruption::Missing(_)))));
    }

    /// A write that loses `races` races and then succeeds or fails.
    struct TestWrite<'a> {
        races: u32,
        fails: bool,
        attempts: &'a mut u32,
    }

    impl OptimisticWrite for TestWrite<'_> {
        type Output = ();

        async fn attempt(&mut self) -> Result<Attempt<()>, Error> {
            *self.attempts += 1;
            match (*self.attempts > self.races, self.fails) {
                (false, _) => Ok(Attempt::Raced),
                (true, false) => Ok(Attempt::Done(())),
                (true, true) => Err(Error::ProjectNotFound),
            }
        }
    }

    async fn write(races: u32, fails: bool) -> (Result<(), Error>, u32) {
        let mut attempts = 0;
        let result = retry_on_race(TestWrite { races, fails, attempts: &mut attempts }).await;
        (result, attempts)
    }

    #[tokio::test]
    async fn a_race_is_retried_until_the_project_counts_as_busy() {
        for races in [0, 1, MAX_ATTEMPTS - 1] {
            let (result, attempts) = write(races, false).await;
            assert!(result.is_ok() && attempts == races + 1, "{races}: {result:?} after {attempts}");
        }
        let (result, attempts) = write(MAX_ATTEMPTS, false).await;
        assert!(matches!(result, Err(Error::Busy)) && attempts == MAX_ATTEMPTS, "{result:?} after {attempts}");
    }

    #[tokio::test]
    async fn an_error_is_not_retried() {
        let (result, attempts) = write(1, true).await;
        assert!(matches!(result, Err(Error::ProjectNotFound)) && attempts == 2, "{result:?} after {attempts}");
    }
}
