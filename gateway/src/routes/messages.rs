//! Messages: searches, changes and reactions.

use std::sync::Arc;

use axum::extract::State;
use proto::project_storage::{
    DeleteMessageRequest, DeleteReactionRequest, SearchMessagesRequest, SetReactionRequest, UpdateMessageRequest,
};

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

pub(crate) async fn search(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<SearchMessagesRequest>) -> Reply {
    reply(app.upstream.projects().search_messages(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn update(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    ids: PathParams,
    Json(mut request, _share): Json<UpdateMessageRequest>,
) -> Reply {
    ids.bind(&mut request.project_id, "project_id")?;
    ids.bind(&mut request.message_id, "message_id")?;
    reply(&present(app.upstream.projects().update_message(caller.context.request(request)).await?.into_inner().message)?)
}

pub(crate) async fn delete(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<DeleteMessageRequest>) -> Reply {
    reply(app.upstream.projects().delete_message(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn set_reaction(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    ids: PathParams,
    Json(mut request, _share): Json<SetReactionRequest>,
) -> Reply {
    ids.bind(&mut request.project_id, "project_id")?;
    ids.bind(&mut request.message_id, "message_id")?;
    reply(&present(app.upstream.projects().set_reaction(caller.context.request(request)).await?.into_inner().message)?)
}

pub(crate) async fn delete_reaction(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Params(request): Params<DeleteReactionRequest>,
) -> Reply {
    reply(&present(app.upstream.projects().delete_reaction(caller.context.request(request)).await?.into_inner().message)?)
}
