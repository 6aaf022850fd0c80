//! The page on which a person lets a device sign in: it asks for the code of the device, shows what asks, and takes the decision.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use proto::auth::{DecideDeviceSignInRequest, GetDeviceSignInRequest};

use super::{
    in_query,
    signed_in::{Said, SignedIn, done, wrong},
};
use crate::{
    app::App,
    identity::authenticate::Authenticated,
    json::form::Form as Fields,
    web::account::{
        form::{Field, Form},
        html::Page,
        menu::{DEVICE, device_with},
        section::Section,
    },
};

const TITLE: &str = "Connect a device";
const DONE: [(&str, &str); 2] = [("approved", "The device is connected. You can go back to it."), ("denied", "The device was refused.")];

/// With a code in its address it shows what asks. That decides nothing.
pub(crate) async fn device_page(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, RawQuery(query): RawQuery) -> Response {
    let code = in_query(query.as_deref(), "user_code");
    if !code.is_empty() {
        return show(&app, &caller, &code).await;
    }
    match Said::in_query(query.as_deref(), &DONE) {
        Said::Nothing => ask("", Said::Nothing),
        decided => decided.respond(DEVICE, Page { title: TITLE, links: &[(DEVICE, "Connect another device")], ..Page::default() }),
    }
}

pub(crate) async fn device(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, form: Fields) -> Response {
    let code = form.get("user_code");
    match form.get("action") {
        "find" => show(&app, &caller, code).await,
        "approve" => decide(&app, &caller, code, true).await,
        "deny" => decide(&app, &caller, code, false).await,
        _ => ask("", Said::unknown_form()),
    }
}

fn ask(code: &str, said: Said) -> Response {
    let hint = "Eight letters that the device shows, such as WDJB-MJHT.";
    let field = Field { value: code, hint, ..Field::text("user_code", "Code") };
    let form = Form { fields: vec![field], is_refused: said.is_wrong(), ..Form::of_action("find", "Continue") };
    let section = Section { heading: "Enter the code", forms: vec![form], ..Section::default() };
    said.respond(DEVICE, Page { title: TITLE, sections: vec![section], ..Page::default() })
}

async fn show(app: &App, caller: &Authenticated, code: &str) -> Response {
    let request = GetDeviceSignInRequest { user_code: code.to_owned() };
    let found = match app.upstream.auth().get_device_sign_in(caller.context.request(request)).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return wrong(&device_with(code), &status).map_or_else(|response| response, |said| ask(code, said)),
    };
    let network = if found.network.is_empty() { "an unknown network" } else { &found.network };
    let texts = vec![
        format!("A program that calls itself “{}” asks for access as {}. It asks from {network}.", found.client_name, found.email),
        "It will be able to do everything that you can do with your projects. Continue only if you have just started it yourself, and if the device shows this code."
            .to_owned(),
    ];
    let answer = |action, button| {
        let form = Form::of_action(action, button);
        Form { hidden: [form.hidden, vec![("user_code", code)]].concat(), ..form }
    };
    let forms = vec![answer("approve", "Connect the device"), Form { is_destructive: true, ..answer("deny", "Refuse") }];
    let heading = format!("Code {code}");
    let section = Section { heading: &heading, texts, forms, ..Section::default() };
    Said::Nothing.respond(DEVICE, Page { title: TITLE, sections: vec![section], ..Page::default() })
}

async fn decide(app: &App, caller: &Authenticated, code: &str, approve: bool) -> Response {
    let request = DecideDeviceSignInRequest { user_code: code.to_owned(), approve };
    match app.upstream.auth().decide_device_sign_in(caller.context.request(request)).await {
        Ok(_) => done(DEVICE, if approve { "approved" } else { "denied" }),
        Err(status) => wrong(&device_with(code), &status).map_or_else(|response| response, |said| ask(code, said)),
    }
}
