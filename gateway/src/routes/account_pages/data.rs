//! The pages of a person's data: its export, and the end of the account.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use proto::auth::{DeleteAccountRequest, ExportAccountRequest};

use super::signed_in::{Said, SignedIn, refused, signed_out, wrong};
use crate::{
    app::App,
    json::form::Form as Fields,
    routes::{export, sessions::end_current},
    web::account::{
        form::{Field, Form},
        html::Page,
    },
};

const EXPORT: &str = "/account/export";
const DELETE: &str = "/account/delete";

pub(crate) async fn export_page(SignedIn(_): SignedIn) -> Response {
    let texts = [
        "You get a zip file with your account, your sessions, the log of your account, and your projects with their files and conversations.",
        "It has nothing that other people wrote. A large account takes a while.",
    ];
    let form = Form { button: "Download your data", ..Form::default() };
    Said::Nothing.respond(EXPORT, Page { title: "Export", texts: &texts, form: Some(form), ..Page::default() })
}

/// Answers with the file itself, so the browser stays on the page.
pub(crate) async fn export(State(app): State<Arc<App>>, SignedIn(caller): SignedIn) -> Response {
    export::respond(app, caller, ExportAccountRequest {}).await.unwrap_or_else(|failure| refused(EXPORT, &failure.0))
}

fn delete(said: Said) -> Response {
    let hint = "The address of this account, as a confirmation.";
    let fields = vec![Field { hint, ..Field::email("") }];
    let form =
        Form { fields, button: "Delete the account permanently", is_refused: said.is_wrong(), is_destructive: true, ..Form::default() };
    let texts = [
        "Your account, your service accounts, your projects with their files and published sites, and your templates are deleted, also if other people use them.",
        "This cannot be undone. Export your data first if you want to keep it.",
    ];
    said.respond(DELETE, Page { title: "Delete the account", texts: &texts, form: Some(form), ..Page::default() })
}

pub(crate) async fn delete_page(SignedIn(_): SignedIn) -> Response {
    delete(Said::Nothing)
}

pub(crate) async fn delete_account(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, form: Fields) -> Response {
    let request = DeleteAccountRequest { email: form.get("email").to_owned() };
    match app.upstream.auth().delete_account(caller.context.request(request)).await {
        Ok(_) => {
            end_current(&app, &caller);
            signed_out(&app)
        }
        Err(status) => match wrong(DELETE, &status) {
            Ok(said) => delete(said),
            Err(response) => response,
        },
    }
}
