//! Accounts and sessions. The secret of a session is in a cookie. It is in the body only if the request asks for that, since browsers keep
//! no cookies for pages of other sites.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use proto::{
    auth::{CreateAccessTokenRequest, GetKeySetRequest, GetSessionRequest, Session, SignInRequest, SignOutRequest, SignUpRequest},
    error::ErrorCode,
};
use serde::Serialize;

use super::with_session::WithSession;
use crate::{
    app::App,
    edge::request::RequestInfo,
    error::fault,
    identity::authenticate::{Authenticated, MaybeAuthenticated},
    json::{
        body::Json,
        params::Params,
        reply::{Reply, accepted, reply},
    },
};

/// Characters of a User-Agent that auth accepts.
const MAX_USER_AGENT: usize = 512;

pub(crate) async fn sign_up(
    State(app): State<Arc<App>>,
    caller: MaybeAuthenticated,
    headers: HeaderMap,
    Json(mut request, _share): Json<SignUpRequest>,
) -> Reply {
    user_agent(&headers, &mut request.user_agent);
    let in_answer = request.token_in_answer;
    let answer = app.upstream.auth().sign_up(caller.anonymous().request(request)).await?.into_inner();
    if answer.session.is_none() {
        return accepted(&answer);
    }
    reply_to_sign_in(&app, &caller, in_answer, answer).await
}

pub(crate) async fn sign_in(
    State(app): State<Arc<App>>,
    caller: MaybeAuthenticated,
    headers: HeaderMap,
    Json(mut request, _share): Json<SignInRequest>,
) -> Reply {
    user_agent(&headers, &mut request.user_agent);
    let in_answer = request.token_in_answer;
    let answer = app.upstream.auth().sign_in(caller.anonymous().request(request)).await?.into_inner();
    reply_to_sign_in(&app, &caller, in_answer, answer).await
}

/// Answers a sign-in. The secret of its session is in a cookie, which replaces the cookie of the request, unless the request wants it in the
/// answer.
pub(super) async fn reply_to_sign_in<A: WithSession + Serialize + Send>(
    app: &App,
    caller: &MaybeAuthenticated,
    in_answer: bool,
    mut answer: A,
) -> Reply {
    if in_answer {
        return reply(&answer);
    }
    let (secret, session) = answer.take_session();
    let response = reply(&answer)?;
    reply_with_cookie(app, caller, response, &secret, session.as_ref()).await
}

/// Adds the cookie of a sign-in to its response. The session of the request's cookie ends.
pub(crate) async fn reply_with_cookie(
    app: &App,
    caller: &MaybeAuthenticated,
    response: Response,
    secret: &str,
    session: Option<&Session>,
) -> Reply {
    end_previous(app, caller).await;
    with_cookie(app, response, secret, session)
}

/// Ends the session of the request's cookie. The new cookie replaces it, so it could not be ended later. The sign-in succeeds even if
/// this fails.
async fn end_previous(app: &App, caller: &MaybeAuthenticated) {
    let (Some(secret), Some(user)) = (caller.identity.session_secret(), caller.identity.user()) else { return };
    let request = SignOutRequest { session_token: secret.to_owned() };
    match app.upstream.auth().sign_out(caller.context.request(request)).await {
        Ok(_) => app.revocations.end(user.session_id, std::time::Instant::now()),
        Err(status) => tracing::warn!(code = ?status.code(), "the previous session could not be ended at a sign-in"),
    }
    app.sessions.forget(secret);
}

/// Copies the User-Agent of a request into an empty field of its message.
pub(super) fn user_agent(headers: &HeaderMap, field: &mut String) {
    if field.is_empty() {
        let sent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        *field = sent.chars().take(MAX_USER_AGENT).collect();
    }
}

/// Adds the cookie of a new session.
pub(super) fn with_cookie(app: &App, mut response: Response, secret: &str, session: Option<&Session>) -> Reply {
    let ends = session.and_then(|s| s.expire_time.as_ref()).map_or(0, |t| t.seconds);
    let lifetime = u64::try_from(ends - chassis::clock::now().unix_timestamp()).unwrap_or_default();
    let cookie = app.sessions.cookie.set(secret, Duration::from_secs(lifetime));
    let cookie = cookie.ok_or_else(|| fault(ErrorCode::Internal, "INTERNAL", "the session secret of auth is not valid in a cookie"))?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// After the end of a session the browser forgets its cookie, and what it has kept of this origin.
pub(crate) fn clear_browser(app: &App, response: &mut Response) {
    if let Some(cookie) = app.sessions.cookie.clear() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    // Cookies are not in the list, because browsers would clear those of all hosts below the registered domain.
    response.headers_mut().insert("clear-site-data", HeaderValue::from_static("\"cache\", \"storage\""));
}

/// Removes the cookie, unless the body names another session. A session that has already ended is not an error.
pub(crate) async fn sign_out(
    State(app): State<Arc<App>>,
    caller: MaybeAuthenticated,
    Json(mut request, _share): Json<SignOutRequest>,
) -> Reply {
    if !request.session_token.is_empty() {
        let secret = request.session_token.clone();
        let answer = app.upstream.auth().sign_out(caller.anonymous().request(request)).await?.into_inner();
        app.sessions.forget(&secret);
        return reply(&answer);
    }
    let secret = caller.identity.session_secret();
    if let Some(secret) = secret {
        secret.clone_into(&mut request.session_token);
    }
    let answer = app.upstream.auth().sign_out(caller.context.request(request)).await?.into_inner();
    if let Some(secret) = secret {
        app.sessions.forget(secret);
    }
    if let Some(user) = caller.identity.user() {
        app.revocations.end(user.session_id, std::time::Instant::now());
    }
    let mut response = reply(&answer)?;
    clear_browser(&app, &mut response);
    Ok(response)
}

pub(crate) async fn session(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<GetSessionRequest>) -> Reply {
    reply(app.upstream.auth().get_session(caller.context.request(request)).await?.get_ref())
}

/// An access token for programs and for pages of other sites, in exchange for the cookie or the API key of the request, or for
/// the secret, the refresh token or the key in the body.
pub(crate) async fn token(
    State(app): State<Arc<App>>,
    caller: MaybeAuthenticated,
    Json(mut request, _share): Json<CreateAccessTokenRequest>,
) -> Reply {
    if request.session_token.is_empty() && request.refresh_token.is_empty() && request.api_key.is_empty() {
        let text = "the request needs the session cookie of a sign-in, the sessionToken of a sign-in with tokenInAnswer, a refreshToken or an apiKey";
        match (caller.identity.session_secret(), caller.identity.api_key()) {
            (Some(secret), _) => secret.clone_into(&mut request.session_token),
            (None, Some(key)) => key.clone_into(&mut request.api_key),
            (None, None) => return Err(fault(ErrorCode::Unauthenticated, "TOKEN_MISSING", text).into()),
        }
    }
    reply(app.upstream.auth().create_access_token(caller.anonymous().request(request)).await?.get_ref())
}

pub(crate) async fn key_set(
    State(app): State<Arc<App>>,
    info: axum::Extension<RequestInfo>,
    Params(request): Params<GetKeySetRequest>,
) -> Reply {
    let answer = app.upstream.auth().get_key_set(info.context(None).request(request)).await?;
    let mut response = reply(answer.get_ref())?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    Ok(response)
}
