//! The pages of accounts: verification, the reset of a password, sign-in and sign-up, each with its form.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use proto::auth::{ConfirmPasswordResetRequest, RequestPasswordResetRequest, Session, SignInRequest, SignUpRequest, VerifyEmailRequest};
use tonic::Status;

use crate::{
    app::App,
    error::fault_of,
    identity::authenticate::MaybeAuthenticated,
    json::{form::Form as Fields, reply::Reply},
    routes::auth::{reply_with_cookie, user_agent},
    web::account::{
        html::{Field, Form, Page},
        link,
        words::refusal,
    },
};

const VERIFY: &str = "/account/verify";
const CONFIRM: &str = "/account/reset/confirm";
const SIGN_IN: (&str, &str) = ("/account/sign-in", "Sign in");
const SIGN_UP: (&str, &str) = ("/account/sign-up", "Create an account");
const RESET: (&str, &str) = ("/account/reset", "Set a new password");
const CHECK_MAIL: &str =
    "Open the link in the mail to go on. If there is no mail after a few minutes, look into the folder for unwanted mail.";

/// What is wrong with a form, with the status of the page; nothing for a new form.
type Wrong = Option<(StatusCode, String)>;

fn wrong(status: &Status) -> Wrong {
    Some(refusal(&fault_of(status)))
}

/// The page with the status of what is wrong.
fn with(wrong: Wrong, page: Page<'_>) -> Response {
    match wrong {
        Some((status, text)) => Page { fault: Some(text), ..page }.respond(status),
        None => page.respond(StatusCode::OK),
    }
}

/// The page of a link. With a token in its address it redirects to the one without.
fn linked(app: &App, path: &'static str, query: Option<&str>, headers: &HeaderMap, page: fn(&str, Wrong) -> Response) -> Response {
    if let Some(token) = link::in_query(query) {
        return link::redirect(path, &token, app.origins.secure());
    }
    match link::in_cookie(headers) {
        Some(token) => page(&token, None),
        None => {
            let text = "The address of this page is incomplete. Open the link in the mail again, or copy all of it into the browser.";
            Page { title: "Open the link in the mail", texts: &[text], links: &[RESET, SIGN_IN], ..Page::default() }.respond(StatusCode::OK)
        }
    }
}

fn verify_form(token: &str, wrong: Wrong) -> Response {
    let form = Form { token: Some(token), fields: Vec::new(), button: "Confirm the address" };
    let texts = ["Confirm that you have entered your e-mail address here. If you have not, close this page: nothing happens then."];
    with(wrong, Page { title: "Confirm your e-mail address", texts: &texts, form: Some(form), ..Page::default() })
}

pub(crate) async fn verify_page(State(app): State<Arc<App>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    linked(&app, VERIFY, query.as_deref(), &headers, verify_form)
}

pub(crate) async fn verify(State(app): State<Arc<App>>, caller: MaybeAuthenticated, form: Fields) -> Response {
    let request = VerifyEmailRequest { token: form.get("token").to_owned() };
    match app.upstream.auth().verify_email(caller.anonymous().request(request)).await {
        Ok(answer) => {
            let text = format!("{} is confirmed. You can sign in now.", answer.get_ref().email);
            let page = Page { title: "Your e-mail address is confirmed", texts: &[&text], links: &[SIGN_IN], ..Page::default() };
            done(&app, VERIFY, page)
        }
        Err(status) => verify_form(form.get("token"), wrong(&status)),
    }
}

fn reset_form(email: &str, wrong: Wrong) -> Response {
    let form = Form { token: None, fields: vec![Field::email(email)], button: "Send the mail" };
    let texts = ["Enter the e-mail address of your account. You get a mail with a link to set a new password."];
    with(wrong, Page { title: RESET.1, texts: &texts, form: Some(form), links: &[SIGN_IN], ..Page::default() })
}

pub(crate) async fn reset_page() -> Response {
    reset_form("", None)
}

/// The page is the same with and without an account.
pub(crate) async fn reset(State(app): State<Arc<App>>, caller: MaybeAuthenticated, form: Fields) -> Response {
    let request = RequestPasswordResetRequest { email: form.get("email").to_owned() };
    match app.upstream.auth().request_password_reset(caller.anonymous().request(request)).await {
        Ok(_) => {
            let texts = ["If the address has an account, a mail is on its way.", CHECK_MAIL];
            Page { title: "Look into your mail", texts: &texts, ..Page::default() }.respond(StatusCode::OK)
        }
        Err(status) => reset_form(form.get("email"), wrong(&status)),
    }
}

fn confirm_form(token: &str, wrong: Wrong) -> Response {
    let form = Form { token: Some(token), fields: vec![Field::new_password()], button: "Set the password" };
    let texts = ["All devices are signed out when you set a new password."];
    with(wrong, Page { title: "Choose a new password", texts: &texts, form: Some(form), links: &[RESET], ..Page::default() })
}

pub(crate) async fn confirm_page(State(app): State<Arc<App>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    linked(&app, CONFIRM, query.as_deref(), &headers, confirm_form)
}

pub(crate) async fn confirm(State(app): State<Arc<App>>, caller: MaybeAuthenticated, form: Fields) -> Response {
    let request = ConfirmPasswordResetRequest { token: form.get("token").to_owned(), password: form.get("password").to_owned() };
    match app.upstream.auth().confirm_password_reset(caller.anonymous().request(request)).await {
        Ok(_) => {
            let page = Page { title: "Your password is changed", texts: &["Sign in with it."], links: &[SIGN_IN], ..Page::default() };
            done(&app, CONFIRM, page)
        }
        Err(status) => confirm_form(form.get("token"), wrong(&status)),
    }
}

/// The last page of a link, which forgets the token.
fn done(app: &App, path: &str, page: Page<'_>) -> Response {
    let mut response = page.respond(StatusCode::OK);
    link::forget(&mut response, path, app.origins.secure());
    response
}

fn sign_in_form(email: &str, wrong: Wrong) -> Response {
    let form = Form { token: None, fields: vec![Field::email(email), Field::password()], button: SIGN_IN.1 };
    with(wrong, Page { title: SIGN_IN.1, form: Some(form), links: &[SIGN_UP, RESET], ..Page::default() })
}

pub(crate) async fn sign_in_page() -> Response {
    sign_in_form("", None)
}

pub(crate) async fn sign_in(State(app): State<Arc<App>>, caller: MaybeAuthenticated, headers: HeaderMap, form: Fields) -> Reply {
    let (email, password) = (form.get("email").to_owned(), form.get("password").to_owned());
    let mut request = SignInRequest { email, password, ..Default::default() };
    user_agent(&headers, &mut request.user_agent);
    match app.upstream.auth().sign_in(caller.anonymous().request(request)).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            signed_in(&app, &caller, &answer.session_token, answer.session.as_ref()).await
        }
        Err(status) => Ok(sign_in_form(form.get("email"), wrong(&status))),
    }
}

fn sign_up_form(email: &str, wrong: Wrong) -> Response {
    let form = Form { token: None, fields: vec![Field::email(email), Field::new_password()], button: SIGN_UP.1 };
    with(wrong, Page { title: SIGN_UP.1, form: Some(form), links: &[SIGN_IN, RESET], ..Page::default() })
}

pub(crate) async fn sign_up_page() -> Response {
    sign_up_form("", None)
}

pub(crate) async fn sign_up(State(app): State<Arc<App>>, caller: MaybeAuthenticated, headers: HeaderMap, form: Fields) -> Reply {
    let (email, password) = (form.get("email").to_owned(), form.get("password").to_owned());
    let mut request = SignUpRequest { email, password, ..Default::default() };
    user_agent(&headers, &mut request.user_agent);
    match app.upstream.auth().sign_up(caller.anonymous().request(request)).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            if answer.session.is_some() {
                return signed_in(&app, &caller, &answer.session_token, answer.session.as_ref()).await;
            }
            let texts = ["A mail is on its way to the address.", CHECK_MAIL];
            Ok(Page { title: "Look into your mail", texts: &texts, ..Page::default() }.respond(StatusCode::OK))
        }
        Err(status) => Ok(sign_up_form(form.get("email"), wrong(&status))),
    }
}

/// The first page, with the cookie of a new session.
async fn signed_in(app: &App, caller: &MaybeAuthenticated, secret: &str, session: Option<&Session>) -> Reply {
    let response = (StatusCode::SEE_OTHER, [(header::LOCATION, HeaderValue::from_static("/"))]).into_response();
    reply_with_cookie(app, caller, response, secret, session).await
}
