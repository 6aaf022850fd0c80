//! Proofs of e-mail addresses, the change of an address, and the reset of a password.

use std::sync::Arc;

use axum::extract::State;
use proto::auth::{
    ChangeEmailRequest, ConfirmEmailChangeRequest, ConfirmPasswordResetRequest, RequestPasswordResetRequest, SendVerificationRequest,
    VerifyEmailRequest,
};

use super::sessions::reply_with_successor;

use crate::{
    app::App,
    identity::authenticate::{Authenticated, MaybeAuthenticated},
    json::{
        body::Json,
        reply::{Reply, accepted, reply},
    },
};

pub(crate) async fn verify(
    State(app): State<Arc<App>>,
    caller: MaybeAuthenticated,
    Json(request, _share): Json<VerifyEmailRequest>,
) -> Reply {
    reply(app.upstream.auth().verify_email(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn send_verification(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Json(request, _share): Json<SendVerificationRequest>,
) -> Reply {
    accepted(app.upstream.auth().send_verification(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn request_reset(
    State(app): State<Arc<App>>,
    caller: MaybeAuthenticated,
    Json(request, _share): Json<RequestPasswordResetRequest>,
) -> Reply {
    accepted(app.upstream.auth().request_password_reset(caller.anonymous().request(request)).await?.get_ref())
}

pub(crate) async fn confirm_reset(
    State(app): State<Arc<App>>,
    caller: MaybeAuthenticated,
    Json(request, _share): Json<ConfirmPasswordResetRequest>,
) -> Reply {
    reply(app.upstream.auth().confirm_password_reset(caller.anonymous().request(request)).await?.get_ref())
}

pub(crate) async fn change(State(app): State<Arc<App>>, caller: Authenticated, Json(request, _share): Json<ChangeEmailRequest>) -> Reply {
    accepted(app.upstream.auth().change_email(caller.context.request(request)).await?.get_ref())
}

/// Answers as a change of the password does.
pub(crate) async fn confirm_change(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Json(request, _share): Json<ConfirmEmailChangeRequest>,
) -> Reply {
    let in_answer = request.token_in_answer;
    let answer = app.upstream.auth().confirm_email_change(caller.context.request(request)).await?.into_inner();
    reply_with_successor(&app, &caller, in_answer, answer)
}
