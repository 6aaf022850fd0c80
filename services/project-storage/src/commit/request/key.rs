//! How a repeated request is recognised.

use proto::id::UserId;

use crate::{
    error::Error,
    store::{
        Pool,
        saves::{self, RecordedSave},
    },
};

/// The id of a request and the fingerprint of its content. A repeat has the same.
pub(crate) struct RequestKey {
    pub(crate) id: String,
    /// SHA-256 of the request.
    pub(crate) fingerprint: Vec<u8>,
}

impl RequestKey {
    pub(crate) fn row(&self) -> saves::Request<'_> {
        saves::Request { id: &self.id, fingerprint: &self.fingerprint }
    }

    /// What a user's request with this id did before.
    ///
    /// # Errors
    /// [`Error::KeyReused`] if that request had another fingerprint.
    pub(crate) async fn find_recorded(&self, pool: &Pool, user: UserId) -> Result<Option<RecordedSave>, Error> {
        match saves::find_recorded(pool, user, &self.id).await? {
            Some(recorded) if recorded.fingerprint != self.fingerprint => Err(Error::KeyReused),
            recorded => Ok(recorded),
        }
    }
}
