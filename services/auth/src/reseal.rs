//! The secrets of second factors, which are sealed with a new cluster secret. The keyring does the same for signing keys.

use std::sync::Arc;

use chassis::{
    reseal::{Sealed, SealedColumn},
    secret::OpenError,
};
use proto::id::UserId;
use uuid::Uuid;

use crate::{
    app::App,
    second_factor,
    store::{StoreError, sealed},
};

/// Rows of one query.
const PAGE: i64 = 200;

pub(crate) struct SecondFactors(pub(crate) Arc<App>);

impl SealedColumn for SecondFactors {
    type Owner = UserId;
    type Error = StoreError;

    const VALUES: &'static str = "secrets of second factors";
    const ADVICE: &'static str = "their persons need a recovery code or a passkey, or the operator resets their second factors";

    async fn page(&self, after: Uuid) -> Result<Vec<Sealed<UserId>>, StoreError> {
        sealed::otherwise(&self.0.pool, &self.0.second_factors.current_head(), after, PAGE).await
    }

    fn rewrap(&self, id: Uuid, user: &UserId, old: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
        let (row, owner) = (id.to_string(), user.to_string());
        self.0.second_factors.rewrap(&second_factor::bound(&row, &owner), old)
    }

    async fn replace(&self, id: Uuid, old: &[u8], new: &[u8]) -> Result<(), StoreError> {
        sealed::replace(&self.0.pool, id, old, new).await
    }
}
