//! The page of the link in the mail about a new second factor. It needs no session: whoever added the factor may keep its owner out.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use proto::auth::RemoveNewFactorRequest;

use super::{
    REMOVE_FACTOR, RESET, SIGN_IN, Wrong,
    dead_link::{OF_FACTOR, is_of_link},
    done, token_of_link, with, wrong,
};
use crate::{
    app::App,
    edge::request::RequestInfo,
    error::fault_of,
    identity::authenticate::MaybeAuthenticated,
    json::form::Form as Fields,
    web::account::{form::Form, html::Page},
};

fn remove_form(token: &str, wrong: Wrong) -> Response {
    let hidden = vec![("token", token)];
    let button = "Remove the second factor";
    let form = Form { hidden, button, is_refused: wrong.is_some(), is_destructive: true, ..Form::default() };
    let texts = ["If you have not added the second factor that the mail is about, remove it here. All devices are signed out then."];
    with(wrong, Page { title: button, texts: &texts, form: Some(form), ..Page::default() })
}

pub(crate) async fn remove_factor_page(
    State(app): State<Arc<App>>,
    Extension(info): Extension<RequestInfo>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let token = match token_of_link(&app, REMOVE_FACTOR, query.as_deref(), &headers) {
        Ok(token) => token,
        Err(response) => return response,
    };
    if OF_FACTOR.is_dead(&app, &info.context(None), &token).await { OF_FACTOR.page(&app) } else { remove_form(&token, None) }
}

pub(crate) async fn remove_factor(State(app): State<Arc<App>>, caller: MaybeAuthenticated, form: Fields) -> Response {
    let request = RemoveNewFactorRequest { token: form.get("token").to_owned() };
    match app.upstream.auth().remove_new_factor(caller.anonymous().request(request)).await {
        Ok(_) => {
            let texts = ["All devices are signed out. Whoever added it may know your password, so set a new one now."];
            done(
                &app,
                REMOVE_FACTOR,
                Page { title: "The second factor is removed", texts: &texts, links: &[RESET, SIGN_IN], ..Page::default() },
            )
        }
        Err(status) if is_of_link(&fault_of(&status)) => OF_FACTOR.page(&app),
        Err(status) => remove_form(form.get("token"), wrong(&status)),
    }
}
