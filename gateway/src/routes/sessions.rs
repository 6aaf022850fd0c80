//! The sessions of an account, its password, refresh tokens, and its end.

use std::{sync::Arc, time::Instant};

use axum::{extract::State, http::HeaderMap};
use proto::auth::{
    ChangePasswordRequest, CreateRefreshTokenRequest, DeleteAccountRequest, ListSessionsRequest, RevokeSessionRequest,
    RevokeSessionsRequest, StepUpRequest,
};
use serde::Serialize;

use super::{
    auth::{clear_browser, user_agent, with_cookie},
    with_session::WithSession,
};
use crate::{
    app::App,
    identity::{authenticate::Authenticated, sessions::Credential},
    json::{
        body::Json,
        params::Params,
        reply::{Reply, reply},
    },
};

pub(crate) async fn list(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListSessionsRequest>) -> Reply {
    reply(app.upstream.auth().list_sessions(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn revoke(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<RevokeSessionRequest>) -> Reply {
    let id = request.session_id.parse();
    let answer = app.upstream.auth().revoke_session(caller.context.request(request)).await?.into_inner();
    if let Ok(id) = id {
        app.revocations.end(id, Instant::now());
    }
    reply(&answer)
}

/// Removes the cookie if the session of the request has ended.
pub(crate) async fn revoke_all(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Json(request, _share): Json<RevokeSessionsRequest>,
) -> Reply {
    let include_current = request.include_current;
    let answer = app.upstream.auth().revoke_sessions(caller.context.request(request)).await?.into_inner();
    let mut response = reply(&answer)?;
    if include_current {
        end_current(&app, &caller);
        // The cookie of a request with a bearer token may be of another session.
        if matches!(caller.credential, Credential::Session(_)) {
            clear_browser(&app, &mut response);
        }
    }
    Ok(response)
}

/// Answers with the new session of the caller, in the cookie if the caller had one.
pub(crate) async fn change_password(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    Json(mut request, _share): Json<ChangePasswordRequest>,
) -> Reply {
    user_agent(&headers, &mut request.user_agent);
    let in_answer = request.token_in_answer;
    let answer = app.upstream.auth().change_password(caller.context.request(request)).await?.into_inner();
    reply_with_successor(&app, &caller, in_answer, answer)
}

/// Answers with the session that takes the place of the caller's: its secret is in the cookie if the caller had one, unless the request wants
/// it in the answer.
pub(super) fn reply_with_successor<A: WithSession + Serialize>(app: &App, caller: &Authenticated, in_answer: bool, mut answer: A) -> Reply {
    end_current(app, caller);
    if in_answer || !matches!(caller.credential, Credential::Session(_)) {
        return reply(&answer);
    }
    let (secret, session) = answer.take_session();
    with_cookie(app, reply(&answer)?, &secret, session.as_ref())
}

/// Answers as a change of the password does.
pub(crate) async fn step_up(State(app): State<Arc<App>>, caller: Authenticated, Json(request, _share): Json<StepUpRequest>) -> Reply {
    let in_answer = request.token_in_answer;
    let answer = app.upstream.auth().step_up(caller.context.request(request)).await?.into_inner();
    reply_with_successor(&app, &caller, in_answer, answer)
}

pub(crate) async fn create_refresh_token(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Json(request, _share): Json<CreateRefreshTokenRequest>,
) -> Reply {
    reply(app.upstream.auth().create_refresh_token(caller.context.request(request)).await?.get_ref())
}

/// Removes the cookie, as the session of the request has ended with the account.
pub(crate) async fn delete_account(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Json(request, _share): Json<DeleteAccountRequest>,
) -> Reply {
    let answer = app.upstream.auth().delete_account(caller.context.request(request)).await?.into_inner();
    let mut response = reply(&answer)?;
    end_current(&app, &caller);
    if matches!(caller.credential, Credential::Session(_)) {
        clear_browser(&app, &mut response);
    }
    Ok(response)
}

/// Lets the next request of the session have the rights that it has now, before auth reports their change.
pub(super) fn renew_rights(app: &App, caller: &Authenticated) {
    if let Credential::Session(secret) = &caller.credential {
        app.sessions.forget(secret.expose());
    }
}

/// Refuses the session of the request here, before auth reports its end.
pub(super) fn end_current(app: &App, caller: &Authenticated) {
    app.revocations.end(caller.user.session_id, Instant::now());
    renew_rights(app, caller);
}
