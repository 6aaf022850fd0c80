//! Decodes and encodes the RPCs that answer with a credential of a session: its secret, a refresh token or an access token.

use chassis::{
    clock::{now, timestamp},
    context::Context,
};
use proto::auth::{
    ChangePasswordRequest, ChangePasswordResponse, CreateAccessTokenRequest, CreateAccessTokenResponse, CreateRefreshTokenRequest,
    CreateRefreshTokenResponse, SignInRequest, SignInResponse, SignUpRequest, SignUpResponse,
};

use super::{
    decode::{self, Exchange},
    encode::{current, session, user},
};
use crate::{
    account::{self, SignedUp},
    api_key,
    app::App,
    error::Error,
    password_change, refresh,
};

pub(super) async fn sign_up(app: &App, context: &Context, request: SignUpRequest) -> Result<SignUpResponse, Error> {
    let new = decode::new_account(request, app.password_min)?;
    let SignedUp::Session(begun) = account::sign_up(app, context, new, now()).await? else { return Ok(SignUpResponse::default()) };
    Ok(SignUpResponse {
        session: Some(session(&app.places, &begun.session, Some(begun.session.id))),
        session_token: begun.secret.expose().to_owned(),
        user: Some(user(begun.user)),
    })
}

pub(super) async fn sign_in(app: &App, context: &Context, request: SignInRequest) -> Result<SignInResponse, Error> {
    let begun = account::sign_in(app, context, decode::attempt(request)?, now()).await?;
    Ok(SignInResponse {
        user: Some(user(begun.user)),
        session: Some(session(&app.places, &begun.session, Some(begun.session.id))),
        session_token: begun.secret.expose().to_owned(),
    })
}

pub(super) async fn change_password(app: &App, context: &Context, request: ChangePasswordRequest) -> Result<ChangePasswordResponse, Error> {
    let begun = password_change::change(app, context, &decode::change(request, app.password_min)?, now()).await?;
    Ok(ChangePasswordResponse {
        session: Some(session(&app.places, &begun.session, Some(begun.session.id))),
        session_token: begun.secret.expose().to_owned(),
    })
}

pub(super) async fn create_refresh_token(
    app: &App,
    context: &Context,
    request: CreateRefreshTokenRequest,
) -> Result<CreateRefreshTokenResponse, Error> {
    let (started, secret) = refresh::start(app, context, decode::name(request.display_name)?, now()).await?;
    Ok(CreateRefreshTokenResponse {
        session: Some(session(&app.places, &started, current(context))),
        refresh_token: secret.expose().to_owned(),
    })
}

pub(super) async fn create_access_token(
    app: &App,
    context: &Context,
    request: CreateAccessTokenRequest,
) -> Result<CreateAccessTokenResponse, Error> {
    let (access, next) = match decode::exchange(request)? {
        Exchange::Session(secret) => (account::create_access_token(app, &secret, now()).await?, None),
        Exchange::ApiKey(text) => (api_key::exchange(app, &text, now()).await?, None),
        Exchange::RefreshToken(text) => {
            let (access, next) = refresh::exchange(app, context, &text, now()).await?;
            (access, Some(next))
        }
    };
    Ok(CreateAccessTokenResponse {
        access_token: access.token,
        expire_time: Some(timestamp(access.expires_at)),
        user: Some(user(access.user)),
        session_id: access.session.id.to_string(),
        refresh_token: next.map(|secret| secret.expose().to_owned()).unwrap_or_default(),
    })
}
