//! API keys of programs.

use std::{sync::Arc, time::Instant};

use axum::extract::State;
use proto::auth::{CreateApiKeyRequest, DeleteApiKeyRequest, ListApiKeysRequest};

use crate::{
    app::App,
    identity::authenticate::Authenticated,
    json::{
        body::Json,
        params::Params,
        reply::{Reply, reply},
    },
};

pub(crate) async fn create(State(app): State<Arc<App>>, caller: Authenticated, Json(request, _share): Json<CreateApiKeyRequest>) -> Reply {
    reply(app.upstream.auth().create_api_key(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn list(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListApiKeysRequest>) -> Reply {
    reply(app.upstream.auth().list_api_keys(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn delete(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<DeleteApiKeyRequest>) -> Reply {
    let id = request.api_key_id.parse();
    let answer = app.upstream.auth().delete_api_key(caller.context.request(request)).await?.into_inner();
    if let Ok(id) = id {
        app.revocations.end(id, Instant::now());
    }
    reply(&answer)
}
