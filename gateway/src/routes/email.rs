//! Proofs of e-mail addresses, and the reset of a password. None of these requests starts a session.

use std::sync::Arc;

use axum::extract::State;
use proto::auth::{ConfirmPasswordResetRequest, RequestPasswordResetRequest, SendVerificationRequest, VerifyEmailRequest};

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
    reply(app.upstream.auth().verify_email(caller.anonymous().request(request)).await?.get_ref())
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
