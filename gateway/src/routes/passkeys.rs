//! Passkeys, and sign-ins with them.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap};
use proto::auth::{
    CreatePasskeyRequest, DeletePasskeyRequest, ListPasskeysRequest, RenamePasskeyRequest, SignInWithPasskeyRequest,
    StartPasskeyCeremonyRequest,
};

use super::{
    auth::{reply_to_sign_in, user_agent},
    sessions::renew_rights,
};
use crate::{
    app::App,
    identity::authenticate::{Authenticated, MaybeAuthenticated},
    json::{
        body::Json,
        params::{Params, PathParam},
        reply::{Reply, reply},
    },
};

/// The purpose decides whether it needs a person.
pub(crate) async fn start(
    State(app): State<Arc<App>>,
    caller: MaybeAuthenticated,
    Json(request, _share): Json<StartPasskeyCeremonyRequest>,
) -> Reply {
    reply(app.upstream.auth().start_passkey_ceremony(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn create(State(app): State<Arc<App>>, caller: Authenticated, Json(request, _share): Json<CreatePasskeyRequest>) -> Reply {
    let answer = app.upstream.auth().create_passkey(caller.context.request(request)).await?;
    renew_rights(&app, &caller);
    reply(answer.get_ref())
}

pub(crate) async fn list(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListPasskeysRequest>) -> Reply {
    reply(app.upstream.auth().list_passkeys(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn rename(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    id: PathParam,
    Json(mut request, _share): Json<RenamePasskeyRequest>,
) -> Reply {
    id.bind(&mut request.passkey_id, "passkey_id")?;
    reply(app.upstream.auth().rename_passkey(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn delete(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<DeletePasskeyRequest>) -> Reply {
    reply(app.upstream.auth().delete_passkey(caller.context.request(request)).await?.get_ref())
}

/// Answers as a sign-in does.
pub(crate) async fn sign_in(
    State(app): State<Arc<App>>,
    caller: MaybeAuthenticated,
    headers: HeaderMap,
    Json(mut request, _share): Json<SignInWithPasskeyRequest>,
) -> Reply {
    user_agent(&headers, &mut request.user_agent);
    let in_answer = request.token_in_answer;
    let answer = app.upstream.auth().sign_in_with_passkey(caller.anonymous().request(request)).await?.into_inner();
    reply_to_sign_in(&app, &caller, in_answer, answer).await
}
