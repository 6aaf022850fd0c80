//! The page on which a person proves again who they are, before a page that needs a recent proof. It leads back there.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use proto::auth::{GetFactorsRequest, GetFactorsResponse, PasskeyPurpose, StepUpRequest};

use super::{
    in_query, passkeys,
    providers::{provider_links, providers_of},
    signed_in::{Said, SignedIn, refused, wrong},
};
use crate::{
    app::App,
    error::fault_of,
    identity::authenticate::Authenticated,
    json::{form::Form as Fields, reply::Reply},
    routes::{auth::with_cookie, sessions::end_current},
    web::account::{
        form::{Field, Form},
        html::{Page, see_other},
        menu::{CONFIRM, MENU, address_named},
        refusal::Refusal,
    },
};

/// Asks for a passkey or a code if the account has a second factor, else for the password.
async fn page(app: &App, caller: &Authenticated, next: &str, said: Said) -> Response {
    let factors = match app.upstream.auth().get_factors(caller.context.request(GetFactorsRequest {})).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return refused(CONFIRM, &fault_of(&status)),
    };
    let (has_passkey, has_code) = (factors.passkeys > 0, has_code(&factors));
    let has_second_factor = has_passkey || has_code;
    let next = address_named(next).map_or("", |_| next);
    let hidden = if next.is_empty() { Vec::new() } else { vec![("next", next)] };
    let field = if has_second_factor { Field::code(factors.totp_create_time.is_some()) } else { Field::password() };
    let sections = if has_passkey { vec![passkeys::passkey_section(hidden.clone())] } else { Vec::new() };
    let form = Form { hidden, fields: vec![field], button: "Continue", is_refused: said.is_wrong(), ..Form::default() };
    let form = (has_code || !has_second_factor).then_some(form);
    let mut texts = vec!["For this you must have proved within the last ten minutes that it is you."];
    if !has_second_factor {
        texts.push("If your account has no password, sign in again with a linked account.");
    }
    let providers = if has_second_factor { Vec::new() } else { provider_links(&providers_of(app, &caller.context).await, next) };
    let links: Vec<_> = providers.iter().map(|(to, label)| (to.as_str(), label.as_str())).collect();
    said.respond(CONFIRM, Page { title: "Confirm that it is you", texts: &texts, form, sections, links: &links, ..Page::default() })
}

/// Whether the account has a second factor that is typed.
fn has_code(factors: &GetFactorsResponse) -> bool {
    factors.totp_create_time.is_some() || (factors.passkeys > 0 && factors.recovery_codes > 0)
}

pub(crate) async fn confirm_identity_page(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, RawQuery(query): RawQuery) -> Response {
    page(&app, &caller, &in_query(query.as_deref(), "next"), Said::Nothing).await
}

/// Asks for a passkey.
async fn ask(app: &App, caller: &Authenticated, next: &str) -> Response {
    let started = match passkeys::question(app, &caller.context, PasskeyPurpose::StepUp, "").await {
        Ok(started) => started,
        Err(status) => {
            return match wrong(CONFIRM, &status) {
                Ok(said) => page(app, caller, next, said).await,
                Err(response) => response,
            };
        }
    };
    let hidden = address_named(next).map(|_| ("next", next)).into_iter().collect();
    let page = Page { title: "Use a passkey", ask: Some(passkeys::ask(&started, hidden, "Use the passkey")), ..Page::default() };
    Said::Nothing.respond(CONFIRM, page)
}

/// The session gets a new id and a new secret.
pub(crate) async fn confirm_identity(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, form: Fields) -> Reply {
    if form.get("action") == passkeys::ASK {
        return Ok(ask(&app, &caller, form.get("next")).await);
    }
    let field = |name| form.get(name).to_owned();
    let (ceremony_token, credential) = (field("ceremony_token"), field("credential"));
    let request = StepUpRequest { password: field("password"), code: field("code"), ceremony_token, credential, ..Default::default() };
    match app.upstream.auth().step_up(caller.context.request(request)).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            end_current(&app, &caller);
            let next = address_named(form.get("next")).filter(|page| page != CONFIRM);
            with_cookie(&app, see_other(next.as_deref().unwrap_or(MENU[0].0)), &answer.session_token, answer.session.as_ref())
        }
        Err(status) => Ok(match wrong(CONFIRM, &status) {
            Ok(Said::Wrong(refusal)) if fault_of(&status).reason == "BAD_CREDENTIALS" => {
                let said = Said::Wrong(Refusal::of_field(refusal.status, "password", "The password is wrong."));
                page(&app, &caller, form.get("next"), said).await
            }
            Ok(said) => page(&app, &caller, form.get("next"), said).await,
            Err(response) => response,
        }),
    }
}
