//! The pages of a new password: the one that asks for the mail, and that of its link.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use proto::auth::{ConfirmPasswordResetRequest, RequestPasswordResetRequest};

use super::{
    CHECK_MAIL, CONFIRM, RESET, SIGN_IN, Wrong,
    dead_link::{OF_RESET, is_of_link},
    done,
    providers::password_rule_of,
    token_of_link, with, wrong,
};
use crate::{
    app::App,
    edge::request::RequestInfo,
    error::fault_of,
    identity::authenticate::MaybeAuthenticated,
    json::form::Form as Fields,
    web::account::{
        form::{Field, Form},
        html::Page,
    },
};

fn reset_form(email: &str, wrong: Wrong) -> Response {
    let form = Form { fields: vec![Field::email(email)], button: "Send the mail", is_refused: wrong.is_some(), ..Form::default() };
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
            Page { title: "Check your mail", texts: &texts, ..Page::default() }.respond(StatusCode::OK)
        }
        Err(status) => reset_form(form.get("email"), wrong(&status)),
    }
}

/// `rule` is that of a new password.
fn confirm_form(token: &str, rule: &str, wrong: Wrong) -> Response {
    let (hidden, fields) = (vec![("token", token)], vec![Field::new_password(rule)]);
    let form = Form { hidden, fields, button: "Set the password", is_refused: wrong.is_some(), ..Form::default() };
    let texts = [
        "All devices are signed out when you set a new password.",
        "Linked accounts of the last seven days are removed, because somebody else may have added them. A second factor stays. If you have not \
         added it, remove it with the link of the mail about it.",
    ];
    with(wrong, Page { title: "Choose a new password", texts: &texts, form: Some(form), links: &[RESET], ..Page::default() })
}

pub(crate) async fn confirm_page(
    State(app): State<Arc<App>>,
    Extension(info): Extension<RequestInfo>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let token = match token_of_link(&app, CONFIRM, query.as_deref(), &headers) {
        Ok(token) => token,
        Err(response) => return response,
    };
    let context = info.context(None);
    if OF_RESET.is_dead(&app, &context, &token).await {
        return OF_RESET.page(&app);
    }
    confirm_form(&token, &password_rule_of(&app, &context).await, None)
}

pub(crate) async fn confirm(State(app): State<Arc<App>>, caller: MaybeAuthenticated, form: Fields) -> Response {
    let request = ConfirmPasswordResetRequest { token: form.get("token").to_owned(), password: form.get("password").to_owned() };
    match app.upstream.auth().confirm_password_reset(caller.anonymous().request(request)).await {
        Ok(_) => {
            let texts = ["Sign in with it.", "A mail lists the linked accounts, passkeys and the authenticator app that your account has."];
            let page = Page { title: "Your password is changed", texts: &texts, links: &[SIGN_IN], ..Page::default() };
            done(&app, CONFIRM, page)
        }
        Err(status) if is_of_link(&fault_of(&status)) => OF_RESET.page(&app),
        Err(status) => confirm_form(form.get("token"), &password_rule_of(&app, &caller.context).await, wrong(&status)),
    }
}
