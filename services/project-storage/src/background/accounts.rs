//! Follows auth's log of deleted accounts.

use chassis::{client::ServiceChannel, context::Context, deletion_log::DeletionLog};
use proto::{
    auth::{AccountDeletion, AcknowledgeAccountDeletionsRequest, ListAccountDeletionsRequest, auth_service_client::AuthServiceClient},
    error::Fault,
};

use crate::{
    accounts,
    store::{Pool, StoreError},
};

/// The log, and the database from which the data of its accounts is deleted.
pub(crate) struct Accounts {
    pool: Pool,
    auth: AuthServiceClient<ServiceChannel>,
}

impl Accounts {
    pub(crate) fn new(pool: Pool, auth: ServiceChannel) -> Self {
        Self { pool, auth: AuthServiceClient::new(auth) }
    }
}

impl DeletionLog for Accounts {
    type Entry = AccountDeletion;
    type Error = StoreError;

    fn id(entry: &AccountDeletion) -> u64 {
        entry.id
    }

    async fn page(&self, after: u64) -> Result<Vec<AccountDeletion>, Fault> {
        let request = Context::background().request(ListAccountDeletionsRequest { after, page_size: 0 });
        let answer = self.auth.clone().list_account_deletions(request).await;
        answer.map(|answer| answer.into_inner().deletions).map_err(|status| Fault::from_status(&status))
    }

    async fn carry_out(&self, entry: &AccountDeletion) -> Result<bool, StoreError> {
        let Ok(user) = entry.user_id.parse() else { return Ok(false) };
        // A token of the account may still create a project.
        Ok(accounts::delete(&self.pool, user).await? && entry.is_final)
    }

    async fn acknowledge(&self, id: u64) -> Result<(), Fault> {
        let request = Context::background().request(AcknowledgeAccountDeletionsRequest { ids: vec![id] });
        self.auth.clone().acknowledge_account_deletions(request).await.map(drop).map_err(|status| Fault::from_status(&status))
    }
}
