//! Decodes and encodes the end of an account, and the log that other services follow.

use chassis::{
    clock::{now, timestamp},
    context::Context,
    page,
};
use proto::{
    auth::{
        AccountDeletion, AcknowledgeAccountDeletionsRequest, AcknowledgeAccountDeletionsResponse, DeleteAccountRequest,
        DeleteAccountResponse, ListAccountDeletionsRequest, ListAccountDeletionsResponse,
    },
    error::Violations,
};

use super::decode::check_typed_email;
use crate::{
    account_deletion,
    app::App,
    deletion::Deletion,
    error::{Error, SERVICE},
};

/// Ids of one acknowledgement.
const MAX_IDS: usize = 200;

pub(super) async fn delete(app: &App, context: &Context, request: DeleteAccountRequest) -> Result<DeleteAccountResponse, Error> {
    let mut violations = Violations::default();
    check_typed_email(&mut violations, &request.email);
    violations.check(SERVICE)?;
    account_deletion::delete_own(app, context, &request.email, now()).await?;
    Ok(DeleteAccountResponse {})
}

pub(super) async fn list(
    app: &App,
    context: &Context,
    request: ListAccountDeletionsRequest,
) -> Result<ListAccountDeletionsResponse, Error> {
    let mut violations = Violations::default();
    let size = page::size(request.page_size, &mut violations);
    violations.check(SERVICE)?;
    let after = i64::try_from(request.after).unwrap_or(i64::MAX);
    let now = now();
    let deletions = account_deletion::list(&app.pool, context.caller, after, size).await?;
    let encode = |deletion: Deletion| AccountDeletion {
        id: u64::try_from(deletion.id).unwrap_or_default(),
        user_id: deletion.user.to_string(),
        create_time: Some(timestamp(deletion.created_at)),
        is_final: deletion.is_final(now),
        only_keys: deletion.only_keys,
    };
    Ok(ListAccountDeletionsResponse { deletions: deletions.into_iter().map(encode).collect() })
}

pub(super) async fn acknowledge(
    app: &App,
    context: &Context,
    request: AcknowledgeAccountDeletionsRequest,
) -> Result<AcknowledgeAccountDeletionsResponse, Error> {
    let AcknowledgeAccountDeletionsRequest { ids } = request;
    let mut violations = Violations::default();
    if !(1..=MAX_IDS).contains(&ids.len()) {
        violations.add("ids", format!("must have 1 to {MAX_IDS} entries"));
    }
    violations.check(SERVICE)?;
    let ids: Vec<i64> = ids.into_iter().filter_map(|id| i64::try_from(id).ok()).collect();
    account_deletion::acknowledge(&app.pool, context, &ids, now()).await?;
    Ok(AcknowledgeAccountDeletionsResponse {})
}
