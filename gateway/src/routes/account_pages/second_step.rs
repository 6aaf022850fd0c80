//! The second step of a sign-in, for accounts with a second factor.

use axum::{http::HeaderMap, response::Response};
use proto::{auth::VerifySignInRequest, error::Fault};

use super::{SIGN_IN, Wrong, passkeys::passkey_section, signed_in, with, wrong};
use crate::{
    app::App,
    error::fault_of,
    identity::authenticate::MaybeAuthenticated,
    json::{form::Form as Fields, reply::Reply},
    routes::auth::user_agent,
    web::account::{
        form::{Field, Form},
        html::Page,
        menu::{address_named, landing},
    },
};

/// The form of the second step, if the first one was right and needs it. `next` names the page that the sign-in leads to.
pub(super) fn form_after(fault: &Fault, next: &str) -> Option<Response> {
    let token = fault.metadata.get("sign_in_token").filter(|_| fault.reason == "SECOND_FACTOR_REQUIRED")?;
    let methods = fault.metadata.get("methods").map_or("", String::as_str);
    Some(form((token, methods), next, None))
}

/// The page of the second step. `methods` are those of the refusal: the ways that the account has.
pub(super) fn form((token, methods): (&str, &str), next: &str, wrong: Wrong) -> Response {
    let mut hidden = vec![("sign_in_token", token), ("methods", methods)];
    hidden.extend(address_named(next).map(|_| ("next", next)));
    let has = |name: &str| methods.split(',').any(|method| method == name);
    // A page of the release before does not know the methods.
    let (has_passkey, has_app) = (has("passkey"), has("totp") || methods.is_empty());
    let has_code = methods != "passkey";
    let is_refused = wrong.is_some();
    let mut sections = if has_passkey { vec![passkey_section(hidden.clone())] } else { Vec::new() };
    // The page may be the answer of another address: that of a provider.
    sections.iter_mut().flat_map(|section| &mut section.forms).for_each(|form| form.to = SIGN_IN.0);
    let form = Form { to: SIGN_IN.0, hidden, fields: vec![Field::code(has_app)], button: SIGN_IN.1, is_refused, ..Form::default() };
    let (title, text) = match (has_code, has_passkey) {
        (true, true) => ("Enter a code or use a passkey", "The first step is done. Your account also needs a code or a passkey."),
        (true, false) => ("Enter a code", "The first step is done. Your account also needs a code."),
        (false, _) => ("Use a passkey", "The first step is done. Your account also needs a passkey."),
    };
    with(wrong, Page { title, texts: &[text], form: has_code.then_some(form), sections, links: &[SIGN_IN], ..Page::default() })
}

/// Completes the sign-in. `Err` is what is wrong if the first step has to be done again.
pub(super) async fn complete(app: &App, caller: &MaybeAuthenticated, headers: &HeaderMap, fields: &Fields) -> Result<Reply, Wrong> {
    let (token, next) = (fields.get("sign_in_token"), fields.get("next"));
    let mut request = VerifySignInRequest { sign_in_token: token.to_owned(), code: fields.get("code").to_owned(), ..Default::default() };
    user_agent(headers, &mut request.user_agent);
    match app.upstream.auth().verify_sign_in(caller.anonymous().request(request)).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            Ok(signed_in(app, caller, &landing(next), &answer.session_token, answer.session.as_ref()).await)
        }
        Err(status) if matches!(fault_of(&status).reason.as_str(), "SIGN_IN_EXPIRED" | "BAD_CREDENTIALS") => Err(wrong(&status)),
        Err(status) => Ok(Ok(form((token, fields.get("methods")), next, wrong(&status)))),
    }
}
