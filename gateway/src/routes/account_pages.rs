//! The pages of accounts: verification, the reset of a password, sign-in and sign-up, each with its form. The pages of a signed-in person
//! are in modules of their own.

mod confirm;
mod data;
mod dead_link;
mod device;
mod email;
mod identities;
mod keys;
mod passkey_sign_in;
mod passkeys;
mod password;
mod provider_keys;
mod providers;
mod remove_factor;
mod reset;
mod second_factor;
mod second_step;
mod service_accounts;
mod sessions;
mod sign_up;
mod signed_in;
mod verification;

use std::sync::Arc;

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use proto::auth::{ListProvidersResponse, Session, SignInRequest, VerifyEmailRequest};
use tonic::Status;
use url::form_urlencoded;

pub(crate) use self::{
    confirm::{confirm_identity, confirm_identity_page},
    data::{delete_account, delete_page, export, export_page},
    device::{device, device_page},
    email::{email, email_page, new_email, new_email_page},
    identities::{identities, identities_page},
    keys::{keys, keys_page},
    password::{password, password_page},
    provider_keys::{provider_keys, provider_keys_page},
    providers::{provider_callback, provider_start},
    remove_factor::{remove_factor, remove_factor_page},
    reset::{confirm, confirm_page, reset, reset_page},
    second_factor::{second_factor, second_factor_page},
    service_accounts::{service_accounts, service_accounts_page},
    sessions::{sessions, sessions_page},
    sign_up::{sign_up, sign_up_page},
    signed_in::{overview, sign_out},
    verification::{verify_email, verify_email_page},
};
use self::{
    dead_link::OF_SIGN_UP,
    providers::{provider_links, providers_of},
};
use crate::{
    app::App,
    edge::request::RequestInfo,
    error::fault_of,
    identity::authenticate::MaybeAuthenticated,
    json::{form::Form as Fields, reply::Reply},
    routes::auth::{reply_with_cookie, user_agent},
    web::account::{
        challenge::{Challenge, SOLUTION},
        form::{Field, Form},
        html::{Page, see_other},
        link::{self, Sent},
        menu::{self, VERIFY_EMAIL, add_factor_for, address_named, landing},
        refusal::Refusal,
        words::refusal,
    },
};

const VERIFY: &str = "/account/verify";
const CONFIRM: &str = "/account/reset/confirm";
const REMOVE_FACTOR: &str = "/account/remove-factor";
const SIGN_IN: (&str, &str) = (menu::SIGN_IN, "Sign in");
const SIGN_UP: (&str, &str) = ("/account/sign-up", "Create an account");
const RESET: (&str, &str) = ("/account/reset", "Set a new password");
const CHECK_MAIL: &str = "Open the link in the mail to continue. If there is no mail after a few minutes, check your spam folder.";

const NOT_SOLVED: &str =
    "The solution of your browser was wrong, was used before, or came after more than five minutes. It solves a new task now.";

/// What is wrong with a form; nothing for a new one.
type Wrong = Option<Refusal>;

fn wrong(status: &Status) -> Wrong {
    Some(refusal(&fault_of(status)))
}

/// The first value of a name in a query; an absent one is empty.
fn in_query(query: Option<&str>, name: &str) -> String {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.find(|(key, _)| key == name).map_or_else(String::new, |(_, value)| value.into_owned())
}

/// The page with the status of what is wrong.
fn with(wrong: Wrong, page: Page<'_>) -> Response {
    match wrong {
        Some(refusal) => {
            let status = refusal.status;
            Page { fault: Some(refusal), ..page }.respond(status)
        }
        None => page.respond(StatusCode::OK),
    }
}

/// The token of the page of a link. With a token in its address the answer redirects to the one without. A token that is cut off is not that of
/// the link before.
fn token_of_link(app: &App, path: &'static str, query: Option<&str>, headers: &HeaderMap) -> Result<String, Response> {
    let secure = app.origins.secure();
    let stored = match link::in_query(query) {
        Sent::Token(token) => return Err(link::redirect(path, &token, secure)),
        Sent::Malformed => None,
        Sent::Nothing => link::in_cookie(path, headers, secure),
    };
    stored.ok_or_else(|| {
        let text = "The address of this page is incomplete. Open the link in the mail again, or copy all of it into the browser.";
        Page { title: "Open the link in the mail", texts: &[text], links: &[RESET, SIGN_IN], ..Page::default() }.respond(StatusCode::OK)
    })
}

/// The page of the link of a sign-up. Whoever signed up with the address of somebody else does not get an account by its owner.
fn verify_form(token: &str, wrong: Wrong) -> Response {
    let (hidden, fields) = (vec![("token", token)], vec![Field::password()]);
    let form = Form { hidden, fields, button: "Confirm the address", is_refused: wrong.is_some(), ..Form::default() };
    let texts = [
        "Enter the password that you chose when you signed up here.",
        "If you have forgotten it, or somebody else signed up with your address, choose another one. If you want no account, close this page.",
    ];
    let token: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
    let other = format!("{CONFIRM}?token={token}");
    let links = [(other.as_str(), "Choose another password")];
    with(wrong, Page { title: "Confirm your e-mail address", texts: &texts, links: &links, form: Some(form), ..Page::default() })
}

pub(crate) async fn verify_page(
    State(app): State<Arc<App>>,
    Extension(info): Extension<RequestInfo>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let token = match token_of_link(&app, VERIFY, query.as_deref(), &headers) {
        Ok(token) => token,
        Err(response) => return response,
    };
    if OF_SIGN_UP.is_dead(&app, &info.context(None), &token).await { OF_SIGN_UP.page(&app) } else { verify_form(&token, None) }
}

pub(crate) async fn verify(State(app): State<Arc<App>>, caller: MaybeAuthenticated, form: Fields) -> Response {
    let request = VerifyEmailRequest { token: form.get("token").to_owned(), password: form.get("password").to_owned() };
    match app.upstream.auth().verify_email(caller.context.request(request)).await {
        Ok(answer) => {
            let text = format!("{} is confirmed. You can sign in now.", answer.get_ref().email);
            let page = Page { title: "Your e-mail address is confirmed", texts: &[&text], links: &[SIGN_IN], ..Page::default() };
            done(&app, VERIFY, page)
        }
        Err(status) => {
            let fault = fault_of(&status);
            match fault.reason.as_str() {
                // The link of a mail of the release before, to the address of an account.
                "TOKEN_MISSING" => link::redirect(VERIFY_EMAIL, form.get("token"), app.origins.secure()),
                "LINK_INVALID" => OF_SIGN_UP.page(&app),
                _ => verify_form(form.get("token"), Some(refusal(&fault))),
            }
        }
    }
}

/// The last page of a link, which forgets the token.
fn done(app: &App, path: &str, page: Page<'_>) -> Response {
    let mut response = page.respond(StatusCode::OK);
    link::forget(&mut response, path, app.origins.secure());
    response
}

/// `next` names the page that the sign-in leads to. The page solves the challenge.
fn sign_in_form(email: &str, next: &str, providers: &ListProvidersResponse, wrong: Wrong, challenge: Option<Challenge<'_>>) -> Response {
    let next = address_named(next).map_or("", |_| next);
    let mut hidden = if next.is_empty() { Vec::new() } else { vec![("next", next)] };
    hidden.extend(challenge.map(|_| (SOLUTION, "")));
    let fields = vec![Field::email(email), Field::password()];
    let form = Form { hidden, fields, button: SIGN_IN.1, is_refused: wrong.is_some(), ..Form::default() };
    let sections = if providers.passkeys_offered { vec![passkeys::sign_in_section(next)] } else { Vec::new() };
    let links = provider_links(providers, next);
    let links: Vec<_> = links.iter().map(|(to, label)| (to.as_str(), label.as_str())).chain([SIGN_UP, RESET]).collect();
    with(wrong, Page { title: SIGN_IN.1, challenge, form: Some(form), sections, links: &links, ..Page::default() })
}

pub(crate) async fn sign_in_page(
    State(app): State<Arc<App>>,
    Extension(info): Extension<RequestInfo>,
    RawQuery(query): RawQuery,
) -> Response {
    let providers = providers_of(&app, &info.context(None)).await;
    sign_in_form("", &in_query(query.as_deref(), "next"), &providers, None, None)
}

pub(crate) async fn sign_in(State(app): State<Arc<App>>, caller: MaybeAuthenticated, headers: HeaderMap, form: Fields) -> Reply {
    let outcome = match form.get("action") {
        passkeys::ASK => Some(passkey_sign_in::start(&app, &caller, &form).await.map(Ok)),
        passkeys::ANSWER => Some(passkey_sign_in::complete(&app, &caller, &headers, &form).await),
        _ if !form.get("sign_in_token").is_empty() => Some(second_step::complete(&app, &caller, &headers, &form).await),
        _ => None,
    };
    match outcome {
        Some(Ok(reply)) => return reply,
        Some(Err(wrong)) => return Ok(sign_in_form("", form.get("next"), &providers_of(&app, &caller.context).await, wrong, None)),
        None => {}
    }
    let (email, password, challenge_solution) =
        (form.get("email").to_owned(), form.get("password").to_owned(), form.get(SOLUTION).to_owned());
    let mut request = SignInRequest { email, password, challenge_solution, ..Default::default() };
    user_agent(&headers, &mut request.user_agent);
    match app.upstream.auth().sign_in(caller.anonymous().request(request)).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            let to = landing_in_one_step(&app, &caller, form.get("next")).await;
            signed_in(&app, &caller, &to, &answer.session_token, answer.session.as_ref()).await
        }
        Err(status) => {
            let fault = fault_of(&status);
            if let Some(second) = second_step::form_after(&fault, form.get("next")) {
                return Ok(second);
            }
            let providers = providers_of(&app, &caller.context).await;
            let mut refusal = refusal(&fault);
            let challenge = Challenge::of(&fault);
            if challenge.is_some() && !form.get(SOLUTION).is_empty() {
                refusal.text = format!("{NOT_SOLVED} {}", refusal.text);
            }
            Ok(sign_in_form(form.get("email"), form.get("next"), &providers, Some(refusal), challenge))
        }
    }
}

/// Where a sign-in leads to that needed no second step. The account has no second factor, so a site that requires one asks for it first.
async fn landing_in_one_step(app: &App, caller: &MaybeAuthenticated, next: &str) -> String {
    let to = landing(next);
    if providers_of(app, &caller.anonymous()).await.second_factor_required { add_factor_for(&to) } else { to }
}

/// Leads to a page, with the cookie of a new session.
async fn signed_in(app: &App, caller: &MaybeAuthenticated, to: &str, secret: &str, session: Option<&Session>) -> Reply {
    reply_with_cookie(app, caller, see_other(to), secret, session).await
}
