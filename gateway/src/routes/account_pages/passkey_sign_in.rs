//! Sign-ins with a passkey: without another step, or as the second one.

use axum::{http::HeaderMap, response::Response};
use proto::auth::{PasskeyPurpose, SignInWithPasskeyRequest};

use super::{
    SIGN_IN, Wrong,
    passkeys::{ask, question},
    second_step, signed_in, with, wrong,
};
use crate::{
    app::App,
    error::fault_of,
    identity::authenticate::MaybeAuthenticated,
    json::{form::Form as Fields, reply::Reply},
    routes::auth::user_agent,
    web::account::{
        html::Page,
        menu::{address_named, landing},
    },
};

/// Asks for a passkey to sign in, or for the second step. `Err` is what is wrong if the sign-in has to begin again.
pub(super) async fn start(app: &App, caller: &MaybeAuthenticated, fields: &Fields) -> Result<Response, Wrong> {
    let (token, next) = (fields.get("sign_in_token"), fields.get("next"));
    let purpose = if token.is_empty() { PasskeyPurpose::SignIn } else { PasskeyPurpose::SecondStep };
    let started = question(app, &caller.anonymous(), purpose, token).await.map_err(|status| wrong(&status))?;
    let mut hidden: Vec<_> = address_named(next).map(|_| ("next", next)).into_iter().collect();
    if !token.is_empty() {
        hidden.extend([("sign_in_token", token), ("methods", fields.get("methods"))]);
    }
    let mut ask = ask(&started, hidden, "Use the passkey");
    ask.form.to = SIGN_IN.0;
    Ok(with(None, Page { title: "Use a passkey", ask: Some(ask), links: &[SIGN_IN], ..Page::default() }))
}

/// Completes the sign-in. `Err` is what is wrong if it has to begin again.
pub(super) async fn complete(app: &App, caller: &MaybeAuthenticated, headers: &HeaderMap, fields: &Fields) -> Result<Reply, Wrong> {
    let (token, next) = (fields.get("sign_in_token"), fields.get("next"));
    let (ceremony_token, credential) = (fields.get("ceremony_token").to_owned(), fields.get("credential").to_owned());
    let mut request = SignInWithPasskeyRequest { ceremony_token, credential, ..Default::default() };
    user_agent(headers, &mut request.user_agent);
    match app.upstream.auth().sign_in_with_passkey(caller.anonymous().request(request)).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            Ok(signed_in(app, caller, &landing(next), &answer.session_token, answer.session.as_ref()).await)
        }
        Err(status) if token.is_empty() || matches!(fault_of(&status).reason.as_str(), "SIGN_IN_EXPIRED" | "BAD_CREDENTIALS") => {
            Err(wrong(&status))
        }
        Err(status) => Ok(Ok(second_step::form((token, fields.get("methods")), next, wrong(&status)))),
    }
}
