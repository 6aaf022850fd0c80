//! Service accounts: accounts of programs, which belong to a person.

use std::sync::Arc;

use axum::extract::State;
use proto::auth::{CreateServiceAccountRequest, DeleteServiceAccountRequest, ListServiceAccountsRequest, UpdateServiceAccountRequest};

use crate::{
    app::App,
    identity::authenticate::Authenticated,
    json::{
        body::Json,
        params::{Params, PathParams},
        reply::{Reply, reply},
    },
    upstream::present,
};

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Json(request, _share): Json<CreateServiceAccountRequest>,
) -> Reply {
    let answer = app.upstream.auth().create_service_account(caller.context.request(request)).await?.into_inner();
    reply(&present(answer.service_account)?)
}

pub(crate) async fn list(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListServiceAccountsRequest>) -> Reply {
    reply(app.upstream.auth().list_service_accounts(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn update(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    ids: PathParams,
    Json(mut request, _share): Json<UpdateServiceAccountRequest>,
) -> Reply {
    ids.bind(&mut request.service_account_id, "service_account_id")?;
    let answer = app.upstream.auth().update_service_account(caller.context.request(request)).await?.into_inner();
    reply(&present(answer.service_account)?)
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Params(request): Params<DeleteServiceAccountRequest>,
) -> Reply {
    reply(app.upstream.auth().delete_service_account(caller.context.request(request)).await?.get_ref())
}
