//! The page that verifies the address of an account: it sends the mail, and its link leads back here. It needs a session of the account:
//! whoever made an account with the address of somebody else gets no proof from its owner.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use proto::auth::{SendVerificationRequest, VerifyEmailRequest};

use super::{
    CHECK_MAIL, RESET,
    dead_link::{dead, is_dead, is_of_link},
    done as done_with_link,
    signed_in::{Said, SignedIn, done, wrong},
    token_of_link,
};
use crate::{
    app::App,
    error::fault_of,
    identity::authenticate::Authenticated,
    json::form::Form as Fields,
    web::account::{
        form::Form,
        html::Page,
        link::{self, Sent},
        menu::{VERIFY_EMAIL, sign_in_for},
    },
};

const TITLE: &str = "Confirm your e-mail address";
const DONE: [(&str, &str); 1] = [("sent", "A mail is on its way, unless your e-mail address is confirmed already.")];

fn confirm_form(token: &str, said: Said) -> Response {
    let form = Form { hidden: vec![("token", token)], button: "Confirm the address", is_refused: said.is_wrong(), ..Form::default() };
    let texts = ["Confirm that the account in which you are signed in has your e-mail address."];
    said.respond(VERIFY_EMAIL, Page { title: TITLE, texts: &texts, form: Some(form), ..Page::default() })
}

/// The page without a link: it offers a mail with one.
fn mail_form(said: Said) -> Response {
    if matches!(said, Said::Done(_)) {
        return said.respond(VERIFY_EMAIL, Page { title: TITLE, texts: &[CHECK_MAIL], ..Page::default() });
    }
    let texts = ["You get a mail with a link to confirm the e-mail address of your account. Nothing happens if it is confirmed already."];
    let form = Form { is_refused: said.is_wrong(), ..Form::of_action("send", "Send the mail") };
    said.respond(VERIFY_EMAIL, Page { title: TITLE, texts: &texts, form: Some(form), ..Page::default() })
}

/// The page of a link that cannot be used.
fn dead_link(app: &App) -> Response {
    let mut response = mail_form(Said::Wrong(dead()));
    link::forget(&mut response, VERIFY_EMAIL, app.origins.secure());
    response
}

/// The page for whoever has the link and no session.
fn sign_in_first() -> Response {
    let sign_in = sign_in_for(VERIFY_EMAIL);
    let texts = [
        "If you have made the account with this e-mail address, sign in. You come back to this page.",
        "If you have not made it, set a new password. Then the account is yours, and whoever made it is signed out.",
    ];
    let links = [(sign_in.as_str(), "Sign in"), RESET];
    Page { title: "Sign in to confirm your e-mail address", texts: &texts, links: &links, ..Page::default() }.respond(StatusCode::OK)
}

/// Moves the token of the link into its cookie, which keeps it during a sign-in.
pub(crate) async fn verify_email_page(
    State(app): State<Arc<App>>,
    caller: Result<SignedIn, Response>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let has_link =
        link::in_query(query.as_deref()) != Sent::Nothing || link::in_cookie(VERIFY_EMAIL, &headers, app.origins.secure()).is_some();
    let token = || token_of_link(&app, VERIFY_EMAIL, query.as_deref(), &headers);
    let caller = match caller {
        Ok(SignedIn(caller)) if has_link => caller,
        Ok(_) => return mail_form(Said::in_query(query.as_deref(), &DONE)),
        Err(response) if has_link && response.status() == StatusCode::SEE_OTHER => {
            return token().map_or_else(|response| response, |_| sign_in_first());
        }
        Err(response) => return response,
    };
    let token = match token() {
        Ok(token) => token,
        Err(response) => return response,
    };
    if is_dead(&app, &caller.context, &token, |link| link.verifies_email).await {
        return dead_link(&app);
    }
    confirm_form(&token, Said::Nothing)
}

pub(crate) async fn verify_email(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, form: Fields) -> Response {
    match form.get("action") {
        "" => confirm(&app, &caller, form.get("token")).await,
        "send" => send(&app, &caller).await,
        _ => mail_form(Said::unknown_form()),
    }
}

async fn send(app: &App, caller: &Authenticated) -> Response {
    match app.upstream.auth().send_verification(caller.context.request(SendVerificationRequest {})).await {
        Ok(_) => done(VERIFY_EMAIL, DONE[0].0),
        Err(status) => wrong(VERIFY_EMAIL, &status).map_or_else(|response| response, mail_form),
    }
}

async fn confirm(app: &App, caller: &Authenticated, token: &str) -> Response {
    let request = VerifyEmailRequest { token: token.to_owned(), ..Default::default() };
    match app.upstream.auth().verify_email(caller.context.request(request)).await {
        Ok(answer) => {
            let text = format!("{} is confirmed.", answer.get_ref().email);
            let page = Page { title: "Your e-mail address is confirmed", texts: &[&text], ..Page::default() };
            done_with_link(app, VERIFY_EMAIL, Page { signed_in: Some(VERIFY_EMAIL), ..page })
        }
        Err(status) if is_of_link(&fault_of(&status)) => dead_link(app),
        Err(status) => wrong(VERIFY_EMAIL, &status).map_or_else(|response| response, |said| confirm_form(token, said)),
    }
}
