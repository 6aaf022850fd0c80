//! The stored keys of model providers. No answer has a key.

use std::sync::Arc;

use axum::extract::State;
use proto::agent_streaming::{CreateProviderKeyRequest, DeleteProviderKeyRequest, ListProviderKeysRequest, UpdateProviderKeyRequest};

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
    Json(request, _share): Json<CreateProviderKeyRequest>,
) -> Reply {
    let answer = app.upstream.agents().create_provider_key(caller.context.request(request)).await?.into_inner();
    reply(&present(answer.provider_key)?)
}

pub(crate) async fn list(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListProviderKeysRequest>) -> Reply {
    reply(app.upstream.agents().list_provider_keys(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn update(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    ids: PathParams,
    Json(mut request, _share): Json<UpdateProviderKeyRequest>,
) -> Reply {
    ids.bind(&mut request.key_id, "key_id")?;
    let answer = app.upstream.agents().update_provider_key(caller.context.request(request)).await?.into_inner();
    reply(&present(answer.provider_key)?)
}

pub(crate) async fn delete(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<DeleteProviderKeyRequest>) -> Reply {
    reply(app.upstream.agents().delete_provider_key(caller.context.request(request)).await?.get_ref())
}
