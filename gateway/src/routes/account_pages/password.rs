//! The page of a new password.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use proto::auth::ChangePasswordRequest;

use super::{
    providers::password_rule_of,
    signed_in::{Said, SignedIn, done, wrong},
};
use crate::{
    app::App,
    error::fault_of,
    identity::authenticate::Authenticated,
    json::{form::Form as Fields, reply::Reply},
    routes::{
        auth::{user_agent, with_cookie},
        sessions::end_current,
    },
    web::account::{
        form::{Field, Form},
        html::Page,
        refusal::Refusal,
    },
};

const PATH: &str = "/account/password";
const DONE: [(&str, &str); 1] = [("changed", "Your password is changed, and all other sessions have ended.")];

async fn page(app: &App, caller: &Authenticated, said: Said) -> Response {
    let rule = password_rule_of(app, &caller.context).await;
    let current = Field { name: "current_password", label: "Current password", ..Field::password() };
    let fields = vec![current, Field::new_password(&rule)];
    let form = Form { fields, button: "Change the password", is_refused: said.is_wrong(), ..Form::default() };
    let texts = ["All other devices and programs are signed out when you change the password, and your API keys are deleted."];
    said.respond(PATH, Page { title: "Password", texts: &texts, form: Some(form), ..Page::default() })
}

pub(crate) async fn password_page(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, RawQuery(query): RawQuery) -> Response {
    page(&app, &caller, Said::in_query(query.as_deref(), &DONE)).await
}

pub(crate) async fn password(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, headers: HeaderMap, form: Fields) -> Reply {
    let (current_password, password) = (form.get("current_password").to_owned(), form.get("password").to_owned());
    let mut request = ChangePasswordRequest { current_password, password, ..Default::default() };
    user_agent(&headers, &mut request.user_agent);
    match app.upstream.auth().change_password(caller.context.request(request)).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            end_current(&app, &caller);
            with_cookie(&app, done(PATH, "changed"), &answer.session_token, answer.session.as_ref())
        }
        Err(status) => Ok(match wrong(PATH, &status) {
            Ok(Said::Wrong(refusal)) if fault_of(&status).reason == "BAD_CREDENTIALS" => {
                let said = Said::Wrong(Refusal::of_field(refusal.status, "current_password", "The current password is wrong."));
                page(&app, &caller, said).await
            }
            Ok(said) => page(&app, &caller, said).await,
            Err(response) => response,
        }),
    }
}
