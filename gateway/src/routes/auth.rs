//! Accounts and sessions. The session's secret travels in the cookie; in a body only for those who ask for it there, because a browser
//! keeps no cookie for a page of another site.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};
use proto::{
    auth::{CreateAccessTokenRequest, GetKeySetRequest, GetSessionRequest, Session, SignInRequest, SignOutRequest, SignUpRequest},
    error::ErrorCode,
};

use crate::{
    app::App,
    auth::{Anyone, Signed},
    error::fault,
    json::{Json, Params, Reply, reply},
    request::Arrival,
};

pub(crate) async fn sign_up(State(app): State<Arc<App>>, anyone: Anyone, Json(request, _share): Json<SignUpRequest>) -> Reply {
    let in_answer = request.token_in_answer;
    let mut answer = app.upstream.auth().sign_up(anonymous(&anyone).request(request)).await?.into_inner();
    if in_answer {
        return reply(&answer);
    }
    end_shown(&app, &anyone).await;
    let secret = std::mem::take(&mut answer.session_token);
    let response = reply(&answer)?;
    signed_in(&app, response, &secret, answer.session.as_ref())
}

pub(crate) async fn sign_in(State(app): State<Arc<App>>, anyone: Anyone, Json(request, _share): Json<SignInRequest>) -> Reply {
    let in_answer = request.token_in_answer;
    let mut answer = app.upstream.auth().sign_in(anonymous(&anyone).request(request)).await?.into_inner();
    if in_answer {
        return reply(&answer);
    }
    end_shown(&app, &anyone).await;
    let secret = std::mem::take(&mut answer.session_token);
    let response = reply(&answer)?;
    signed_in(&app, response, &secret, answer.session.as_ref())
}

/// The cookie of the session that was shown is about to be replaced: nobody could end it any more. Whoever signs in is not kept from
/// it by an end that fails.
async fn end_shown(app: &App, anyone: &Anyone) {
    let (Some(secret), Some(user)) = (anyone.identity.session_secret(), anyone.identity.user()) else { return };
    let request = SignOutRequest { session_token: secret.to_owned() };
    match app.upstream.auth().sign_out(anyone.context.request(request)).await {
        Ok(_) => app.revocations.end(user.session_id, std::time::Instant::now()),
        Err(status) => tracing::warn!(code = ?status.code(), "the session before a sign-in could not be ended"),
    }
    app.sessions.forget(secret);
}

/// Who was signed in before does not matter to these.
fn anonymous(anyone: &Anyone) -> chassis::context::Context {
    chassis::context::Context { user: None, ..anyone.context.clone() }
}

fn signed_in(app: &App, mut response: Response, secret: &str, session: Option<&Session>) -> Reply {
    let ends = session.and_then(|s| s.expire_time.as_ref()).map_or(0, |t| t.seconds);
    let life = u64::try_from(ends - chassis::clock::now().unix_timestamp()).unwrap_or_default();
    let cookie = app.origins.cookie.set(secret, Duration::from_secs(life));
    let cookie = cookie.ok_or_else(|| fault(ErrorCode::Internal, "INTERNAL", "auth's session secret cannot be a cookie"))?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// The cookie goes away whatever auth says, unless another session is named; one that has ended already is signed out.
pub(crate) async fn sign_out(State(app): State<Arc<App>>, anyone: Anyone, Json(mut request, _share): Json<SignOutRequest>) -> Reply {
    if !request.session_token.is_empty() {
        let secret = request.session_token.clone();
        let answer = app.upstream.auth().sign_out(anonymous(&anyone).request(request)).await?.into_inner();
        app.sessions.forget(&secret);
        return reply(&answer);
    }
    let secret = anyone.identity.session_secret();
    if let Some(secret) = secret {
        secret.clone_into(&mut request.session_token);
    }
    let answer = app.upstream.auth().sign_out(anyone.context.request(request)).await?.into_inner();
    if let Some(secret) = secret {
        app.sessions.forget(secret);
    }
    if let Some(user) = anyone.identity.user() {
        app.revocations.end(user.session_id, std::time::Instant::now());
    }
    let mut response = reply(&answer)?;
    if let Some(cookie) = app.origins.cookie.clear() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

pub(crate) async fn session(State(app): State<Arc<App>>, signed: Signed, Params(request): Params<GetSessionRequest>) -> Reply {
    reply(app.upstream.auth().get_session(signed.context.request(request)).await?.get_ref())
}

/// An access token for programs and for pages of other sites, from the cookie or the secret that is sent.
pub(crate) async fn token(State(app): State<Arc<App>>, anyone: Anyone, Json(mut request, _share): Json<CreateAccessTokenRequest>) -> Reply {
    if request.session_token.is_empty() {
        let text = "this needs the session cookie of a sign-in, or the sessionToken of one with tokenInAnswer";
        let secret = anyone.identity.session_secret();
        secret.ok_or_else(|| fault(ErrorCode::Unauthenticated, "TOKEN_MISSING", text))?.clone_into(&mut request.session_token);
    }
    reply(app.upstream.auth().create_access_token(anonymous(&anyone).request(request)).await?.get_ref())
}

pub(crate) async fn key_set(
    State(app): State<Arc<App>>,
    arrival: axum::Extension<Arrival>,
    Params(request): Params<GetKeySetRequest>,
) -> Reply {
    let answer = app.upstream.auth().get_key_set(arrival.context(None).request(request)).await?;
    let mut response = reply(answer.get_ref())?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    Ok(response)
}
