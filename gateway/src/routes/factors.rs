//! Second factors, and what they prove.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap};
use proto::auth::{
    ConfirmTotpRequest, CreateRecoveryCodesRequest, DeleteTotpRequest, GetFactorsRequest, StartTotpRequest, VerifySignInRequest,
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
        params::Params,
        reply::{Reply, reply},
    },
};

pub(crate) async fn get(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<GetFactorsRequest>) -> Reply {
    reply(app.upstream.auth().get_factors(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn start_totp(State(app): State<Arc<App>>, caller: Authenticated, Json(request, _share): Json<StartTotpRequest>) -> Reply {
    reply(app.upstream.auth().start_totp(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn confirm_totp(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Json(request, _share): Json<ConfirmTotpRequest>,
) -> Reply {
    let answer = app.upstream.auth().confirm_totp(caller.context.request(request)).await?;
    renew_rights(&app, &caller);
    reply(answer.get_ref())
}

pub(crate) async fn delete_totp(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<DeleteTotpRequest>) -> Reply {
    reply(app.upstream.auth().delete_totp(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn create_recovery_codes(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Json(request, _share): Json<CreateRecoveryCodesRequest>,
) -> Reply {
    reply(app.upstream.auth().create_recovery_codes(caller.context.request(request)).await?.get_ref())
}

/// Answers as a sign-in does.
pub(crate) async fn verify_sign_in(
    State(app): State<Arc<App>>,
    caller: MaybeAuthenticated,
    headers: HeaderMap,
    Json(mut request, _share): Json<VerifySignInRequest>,
) -> Reply {
    user_agent(&headers, &mut request.user_agent);
    let in_answer = request.token_in_answer;
    let answer = app.upstream.auth().verify_sign_in(caller.anonymous().request(request)).await?.into_inner();
    reply_to_sign_in(&app, &caller, in_answer, answer).await
}
