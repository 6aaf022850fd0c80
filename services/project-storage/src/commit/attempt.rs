//! Writes that race. The database decides who is first; the loser reads again and tries again.

use crate::error::Error;

/// Attempts before the project counts as busy.
const ATTEMPTS: u32 = 16;

/// What one attempt came to.
pub(crate) enum Attempt<T> {
    Done(T),
    /// Somebody else wrote meanwhile, so what was read is old. Nothing was written.
    Raced,
}

/// A write that may lose a race.
pub(crate) trait OptimisticWrite: Send {
    type Output: Send;

    /// Reads, and writes on top of what was read.
    ///
    /// # Errors
    /// What forbids the write, whoever else writes.
    fn attempt(&mut self) -> impl Future<Output = Result<Attempt<Self::Output>, Error>> + Send;
}

/// Attempts until one does not lose a race.
///
/// # Errors
/// Those of an attempt, or [`Error::Busy`] if every attempt lost.
pub(crate) async fn retry_on_race<R: OptimisticWrite>(mut write: R) -> Result<R::Output, Error> {
    for _ in 0..ATTEMPTS {
        if let Attempt::Done(output) = write.attempt().await? {
            return Ok(output);
        }
    }
    Err(Error::Busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loses so many races, then wins or fails.
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
        for races in [0, 1, ATTEMPTS - 1] {
            let (result, attempts) = write(races, false).await;
            assert!(result.is_ok() && attempts == races + 1, "{races}: {result:?} after {attempts}");
        }
        let (result, attempts) = write(ATTEMPTS, false).await;
        assert!(matches!(result, Err(Error::Busy)) && attempts == ATTEMPTS, "{result:?} after {attempts}");
    }

    #[tokio::test]
    async fn an_error_is_not_retried() {
        let (result, attempts) = write(1, true).await;
        assert!(matches!(result, Err(Error::ProjectNotFound)) && attempts == 2, "{result:?} after {attempts}");
    }
}
