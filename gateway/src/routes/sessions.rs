//! The sessions of an account, its password, and refresh tokens.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::Response,
};
use proto::auth::{ChangePasswordRequest, CreateRefreshTokenRequest, ListSessionsRequest, RevokeSessionRequest, RevokeSessionsRequest};

use super::auth::{user_agent, with_cookie};
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
            remove_cookie(&app, &mut response);
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
    let in_answer = request.token_in_answer || !matches!(caller.credential, Credential::Session(_));
    let mut answer = app.upstream.auth().change_password(caller.context.request(request)).await?.into_inner();
    end_current(&app, &caller);
    if in_answer {
        return reply(&answer);
    }
    let secret = std::mem::take(&mut answer.session_token);
    with_cookie(&app, reply(&answer)?, &secret, answer.session.as_ref())
}

pub(crate) async fn create_refresh_token(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Json(request, _share): Json<CreateRefreshTokenRequest>,
) -> Reply {
    reply(app.upstream.auth().create_refresh_token(caller.context.request(request)).await?.get_ref())
}

/// Refuses the session of the request here, before auth reports its end.
fn end_current(app: &App, caller: &Authenticated) {
    app.revocations.end(caller.user.session_id, Instant::now());
    if let Credential::Session(secret) = &caller.credential {
        app.sessions.forget(secret.expose());
    }
}

fn remove_cookie(app: &App, response: &mut Response) {
    if let Some(cookie) = app.sessions.cookie.clear() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}
