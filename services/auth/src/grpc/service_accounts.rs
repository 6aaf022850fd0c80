//! Decodes and encodes the RPCs of service accounts.

use chassis::{clock::now, context::Context};
use proto::{
    auth::{
        CreateServiceAccountRequest, CreateServiceAccountResponse, DeleteServiceAccountRequest, DeleteServiceAccountResponse,
        ListServiceAccountsResponse, UpdateServiceAccountRequest, UpdateServiceAccountResponse,
    },
    error::Violations,
    id::UserId,
};

use super::{decode::check_required_name, encode};
use crate::{
    app::App,
    error::{Error, SERVICE},
    service_account,
};

pub(super) async fn create(
    app: &App,
    context: &Context,
    request: CreateServiceAccountRequest,
) -> Result<CreateServiceAccountResponse, Error> {
    let mut violations = Violations::default();
    check_required_name(&mut violations, &request.display_name);
    violations.check(SERVICE)?;
    let created = service_account::create(app, context, request.display_name, now()).await?;
    Ok(CreateServiceAccountResponse { service_account: Some(encode::service_account(created)) })
}

pub(super) async fn list(app: &App, context: &Context) -> Result<ListServiceAccountsResponse, Error> {
    let found = service_account::list(&app.pool, context, now()).await?;
    Ok(ListServiceAccountsResponse { service_accounts: found.into_iter().map(encode::service_account).collect() })
}

pub(super) async fn update(
    app: &App,
    context: &Context,
    request: UpdateServiceAccountRequest,
) -> Result<UpdateServiceAccountResponse, Error> {
    let mut violations = Violations::default();
    check_required_name(&mut violations, &request.display_name);
    let id = id(violations, &request.service_account_id)?;
    let renamed = service_account::rename(app, context, id, &request.display_name, now()).await?;
    Ok(UpdateServiceAccountResponse { service_account: Some(encode::service_account(renamed)) })
}

pub(super) async fn delete(
    app: &App,
    context: &Context,
    request: DeleteServiceAccountRequest,
) -> Result<DeleteServiceAccountResponse, Error> {
    let id = id(Violations::default(), &request.service_account_id)?;
    service_account::delete(app, context, id, now()).await?;
    Ok(DeleteServiceAccountResponse {})
}

/// The id of a request whose other fields have these violations.
fn id(mut violations: Violations, text: &str) -> Result<UserId, Error> {
    let id = violations.parse("service_account_id", text);
    violations.check(SERVICE)?;
    id.ok_or(Error::ServiceAccountNotFound)
}
