//! Seals the values of a column with a new cluster secret. Each value is stored by itself, so a process that stops in between continues with the
//! rest. Every replica does this.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{error::chain, secret::OpenError, task::Ticks};

const INTERVAL: Duration = Duration::from_secs(60);

/// The id of a row, whom its value is bound to besides the row, and the sealed value.
pub type Sealed<Owner> = (Uuid, Owner, Vec<u8>);

/// A column of sealed values, and what they are bound to.
pub trait SealedColumn: Send + Sync {
    /// Whom a value is bound to besides its row.
    type Owner: Send + Sync;
    type Error: std::error::Error + Send + Sync + 'static;

    /// What the values are, for the log. A plural.
    const VALUES: &'static str;
    /// What to do about values that cannot be opened, for the log.
    const ADVICE: &'static str;

    /// The first values after an id that another secret has sealed, by id. Empty at the end.
    fn page(&self, after: Uuid) -> impl Future<Output = Result<Vec<Sealed<Self::Owner>>, Self::Error>> + Send;

    /// The value under the secret that seals now; `None` if it is already.
    ///
    /// # Errors
    /// No secret that is accepted opens it.
    fn rewrap(&self, id: Uuid, owner: &Self::Owner, sealed: &[u8]) -> Result<Option<Vec<u8>>, OpenError>;

    /// Replaces a value, unless it was changed in the meantime.
    fn replace(&self, id: Uuid, old: &[u8], new: &[u8]) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Looks every minute for values that another secret has sealed, until `stop`.
pub async fn run<C: SealedColumn>(column: C, stop: CancellationToken) {
    let mut ticks = Ticks::new(INTERVAL, stop);
    while ticks.next().await {
        if let Err(error) = reseal(&column).await {
            tracing::warn!(cause = chain(&error), "{} could not be sealed again; retried in a minute", C::VALUES);
        }
    }
}

/// Seals what another secret has sealed. Returns the number of values. One that cannot be opened does not stop the others.
///
/// # Errors
/// The database failed.
pub async fn reseal<C: SealedColumn>(column: &C) -> Result<usize, C::Error> {
    let (mut after, mut sealed, mut failed) = (Uuid::nil(), 0_usize, 0_usize);
    loop {
        let page = column.page(after).await?;
        let Some((last, ..)) = page.last() else { break };
        after = *last;
        for (id, owner, old) in &page {
            match column.rewrap(*id, owner, old) {
                Ok(Some(new)) => {
                    column.replace(*id, old, &new).await?;
                    sealed += 1;
                }
                Ok(None) => {}
                Err(_) => failed += 1,
            }
        }
    }
    if sealed > 0 {
        tracing::info!(sealed, failed, "{} are sealed with the new cluster secret", C::VALUES);
    }
    if failed > 0 {
        tracing::warn!(failed, "{} cannot be opened with the secrets of this cluster; {}", C::VALUES, C::ADVICE);
    }
    Ok(sealed)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{Mutex, PoisonError},
    };

    use super::*;

    /// Values 1 to 5, two a page. The second one is sealed already, and nobody opens the third one.
    #[derive(Default)]
    struct Column(Mutex<Vec<u128>>);

    impl SealedColumn for Column {
        type Owner = ();
        type Error = Infallible;

        const VALUES: &'static str = "values of a test";
        const ADVICE: &'static str = "nobody needs them";

        async fn page(&self, after: Uuid) -> Result<Vec<Sealed<()>>, Infallible> {
            Ok((after.as_u128() + 1..=5).take(2).map(|id| (Uuid::from_u128(id), (), Vec::new())).collect())
        }

        fn rewrap(&self, id: Uuid, _: &(), _: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
            match id.as_u128() {
                2 => Ok(None),
                3 => Err(OpenError::Form),
                _ => Ok(Some(vec![1])),
            }
        }

        async fn replace(&self, id: Uuid, _: &[u8], _: &[u8]) -> Result<(), Infallible> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(id.as_u128());
            Ok(())
        }
    }

    #[tokio::test]
    async fn every_value_that_can_be_opened_is_sealed_again() {
        let column = Column::default();
        assert_eq!(reseal(&column).await, Ok(3));
        assert_eq!(*column.0.lock().unwrap_or_else(PoisonError::into_inner), [1, 4, 5]);
    }
}
