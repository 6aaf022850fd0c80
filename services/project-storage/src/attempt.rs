//! Writes beside other requests: a write that finds its reads outdated starts again.

use crate::error::Error;

/// Races that one request may lose before it answers that the project is busy.
const ATTEMPTS: u32 = 16;

/// What one attempt to write came to.
pub enum Attempt<T> {
    Done(T),
    /// Another request changed what this attempt had read. Nothing was written.
    Raced,
}

/// A write that can start again.
pub(crate) trait Write {
    type Done: Send;

    /// Reads what it needs and writes, unless another request comes in between.
    fn attempt(&mut self) -> impl Future<Output = Result<Attempt<Self::Done>, Error>> + Send;
}

/// Attempts a write until no other request comes in between.
///
/// # Errors
/// The first error of an attempt, or [`Error::Busy`] after too many races.
pub(crate) async fn retry_on_race<W: Write>(mut write: W) -> Result<W::Done, Error> {
    for _ in 0..ATTEMPTS {
        if let Attempt::Done(value) = write.attempt().await? {
            return Ok(value);
        }
    }
    Err(Error::Busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loses so many races, then is done or fails.
    struct Racing<'a> {
        races: u32,
        fails: bool,
        made: &'a mut u32,
    }

    impl Write for Racing<'_> {
        type Done = ();

        async fn attempt(&mut self) -> Result<Attempt<()>, Error> {
            *self.made += 1;
            match *self.made > self.races {
                true if self.fails => Err(Error::KeyReused),
                true => Ok(Attempt::Done(())),
                false => Ok(Attempt::Raced),
            }
        }
    }

    #[tokio::test]
    async fn an_attempt_is_repeated_until_it_is_done_or_fails_or_has_raced_too_often() {
        for (races, fails, attempts, reason) in [
            (0, false, 1, "done"),
            (1, false, 2, "done"),
            (ATTEMPTS - 1, false, ATTEMPTS, "done"),
            (ATTEMPTS, false, ATTEMPTS, "busy"),
            (0, true, 1, "failed"),
            (3, true, 4, "failed"),
        ] {
            let mut made = 0;
            let outcome = match retry_on_race(Racing { races, fails, made: &mut made }).await {
                Ok(()) => "done",
                Err(Error::Busy) => "busy",
                Err(_) => "failed",
            };
            assert_eq!((made, outcome), (attempts, reason), "{races} races");
        }
    }
}
