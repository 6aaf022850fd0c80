//! The page of the second factor: an authenticator app, passkeys, and recovery codes.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use chassis::clock::{Timestamp, from_timestamp};
use proto::auth::{
    ConfirmTotpRequest, CreatePasskeyRequest, CreateRecoveryCodesRequest, DeletePasskeyRequest, DeleteTotpRequest, GetFactorsRequest,
    GetFactorsResponse, ListPasskeysRequest, PasskeyPurpose, RenamePasskeyRequest, StartTotpRequest, StartTotpResponse,
};
use tonic::Status;

use super::{
    in_query, passkeys,
    providers::providers_of,
    signed_in::{Said, SignedIn, done, refused, wrong},
};
use crate::{
    app::App,
    error::fault_of,
    identity::authenticate::Authenticated,
    json::form::Form as Fields,
    routes::sessions::renew_rights,
    web::account::{
        form::{Field, Form},
        html::Page,
        menu::{REQUIRED, landing},
        qr_code,
        section::Section,
    },
};

const PATH: &str = "/account/second-factor";
const TITLE: &str = "Second factor";
const ADD_ONE: &str = "This site requires a second factor. Add an authenticator app or a passkey to go on.";
const DONE: [(&str, &str); 4] = [
    ("removed", "The authenticator app is removed. All other devices are signed out."),
    ("added", "The passkey is added. You can sign in with it from now on."),
    ("renamed", "The passkey has the new name."),
    ("deleted", "The passkey is removed. All other devices are signed out."),
];
const SHOWN_ONCE: &str = "Each code can be used once in place of the second factor. Keep the codes in a place that you can reach without it. They are not \
                          shown again.";

pub(crate) async fn second_factor_page(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, RawQuery(query): RawQuery) -> Response {
    let said = match onward(query.as_deref()) {
        Some(_) => Said::Asked(ADD_ONE),
        None => Said::in_query(query.as_deref(), &DONE),
    };
    page(&app, &caller, said, "").await
}

/// Where a person goes on who had to add a factor, as the address of the page says. The forms of the page keep the address.
fn onward(query: Option<&str>) -> Option<String> {
    (!in_query(query, REQUIRED).is_empty()).then(|| landing(&in_query(query, "next")))
}

pub(crate) async fn second_factor(
    State(app): State<Arc<App>>,
    SignedIn(caller): SignedIn,
    RawQuery(query): RawQuery,
    form: Fields,
) -> Response {
    let onward = onward(query.as_deref());
    let outcome = match form.get("action") {
        "start" => start(&app, &caller).await,
        "confirm" => confirm(&app, &caller, form.get("code"), onward.as_deref()).await,
        "remove" => remove(&app, &caller).await,
        "codes" => new_codes(&app, &caller).await,
        passkeys::ASK => ask(&app, &caller, form.get("display_name")).await,
        passkeys::ANSWER => add(&app, &caller, &form, onward.as_deref()).await,
        "rename" => rename(&app, &caller, &form).await,
        "delete" => delete(&app, &caller, form.get("passkey_id")).await,
        _ => Ok(Said::unknown_form()),
    };
    match outcome {
        Ok(said) => page(&app, &caller, said, form.get("action")).await,
        Err(response) => response,
    }
}

/// Shows the secret of a new app. `Err` is the answer.
async fn start(app: &App, caller: &Authenticated) -> Result<Said, Response> {
    let answer = app.upstream.auth().start_totp(caller.context.request(StartTotpRequest {})).await;
    let started = answer.map_err(|status| failed(&status))?.into_inner();
    Err(respond(Said::Nothing, vec![of_secret(&started)]))
}

fn of_secret(started: &StartTotpResponse) -> Section<'_> {
    Section {
        heading: "Add an authenticator app",
        texts: vec![
            "Scan the QR code with the app, or type the key into it. Then enter the code that the app shows, within ten minutes."
                .to_owned(),
        ],
        secrets: vec![grouped(&started.secret)],
        picture: qr_code::image(&started.uri).map(|image| (image, "QR code with the key below")),
        forms: vec![confirm_form(false)],
        ..Section::default()
    }
}

/// The key in groups of four characters.
fn grouped(secret: &str) -> String {
    secret.chars().collect::<Vec<_>>().chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

fn confirm_form(is_refused: bool) -> Form<'static> {
    Form { fields: vec![Field::app_code()], is_refused, ..Form::of_action("confirm", "Confirm the code") }
}

/// `Err` is the answer if the code is right, or if nothing can be confirmed.
async fn confirm(app: &App, caller: &Authenticated, code: &str, onward: Option<&str>) -> Result<Said, Response> {
    match app.upstream.auth().confirm_totp(caller.context.request(ConfirmTotpRequest { code: code.to_owned() })).await {
        Ok(answer) => {
            renew_rights(app, caller);
            let text = "The authenticator app is added. From now on a sign-in needs a code.";
            Err(added(text, &answer.get_ref().recovery_codes, onward))
        }
        Err(status) => match wrong(PATH, &status) {
            Ok(said) if matches!(fault_of(&status).reason.as_str(), "BAD_SECOND_FACTOR" | "INVALID_FIELD") => {
                let again = Section {
                    heading: "Add an authenticator app",
                    texts: vec!["The key stays in the app. Enter the code that it shows now.".to_owned()],
                    forms: vec![confirm_form(true), Form::of_action("start", "Start again with a new key")],
                    ..Section::default()
                };
                Err(respond(said, vec![again]))
            }
            other => other,
        },
    }
}

async fn remove(app: &App, caller: &Authenticated) -> Result<Said, Response> {
    match app.upstream.auth().delete_totp(caller.context.request(DeleteTotpRequest {})).await {
        Ok(_) => Err(done(PATH, "removed")),
        Err(status) => wrong(PATH, &status),
    }
}

/// Asks for a new passkey. `Err` is the answer.
async fn ask(app: &App, caller: &Authenticated, name: &str) -> Result<Said, Response> {
    match passkeys::question(app, &caller.context, PasskeyPurpose::Registration, "").await {
        Ok(started) => {
            let name = if name.trim().is_empty() { "Passkey" } else { name };
            let ask = passkeys::ask_for_new(&started, name);
            Err(Said::Nothing.respond(PATH, Page { title: "Add a passkey", ask: Some(ask), ..Page::default() }))
        }
        Err(status) => wrong(PATH, &status),
    }
}

/// `Err` is the answer if the passkey is added.
async fn add(app: &App, caller: &Authenticated, form: &Fields, onward: Option<&str>) -> Result<Said, Response> {
    let field = |name| form.get(name).to_owned();
    let (ceremony_token, credential, display_name) = (field("ceremony_token"), field("credential"), field("display_name"));
    let request = CreatePasskeyRequest { ceremony_token, credential, display_name };
    match app.upstream.auth().create_passkey(caller.context.request(request)).await {
        Ok(answer) if answer.get_ref().recovery_codes.is_empty() => Err(done(PATH, "added")),
        Ok(answer) => {
            renew_rights(app, caller);
            let text = "The passkey is added. From now on a sign-in with the password needs it, too.";
            Err(added(text, &answer.get_ref().recovery_codes, onward))
        }
        Err(status) => wrong(PATH, &status),
    }
}

async fn rename(app: &App, caller: &Authenticated, form: &Fields) -> Result<Said, Response> {
    let request = RenamePasskeyRequest { passkey_id: form.get("passkey_id").to_owned(), display_name: form.get("new_name").to_owned() };
    match app.upstream.auth().rename_passkey(caller.context.request(request)).await {
        Ok(_) => Err(done(PATH, "renamed")),
        Err(status) => wrong(PATH, &status),
    }
}

async fn delete(app: &App, caller: &Authenticated, id: &str) -> Result<Said, Response> {
    match app.upstream.auth().delete_passkey(caller.context.request(DeletePasskeyRequest { passkey_id: id.to_owned() })).await {
        Ok(_) => Err(done(PATH, "deleted")),
        Err(status) => wrong(PATH, &status),
    }
}

/// Shows new recovery codes. `Err` is the answer.
async fn new_codes(app: &App, caller: &Authenticated) -> Result<Said, Response> {
    match app.upstream.auth().create_recovery_codes(caller.context.request(CreateRecoveryCodesRequest {})).await {
        Ok(answer) => Err(respond(Said::Done("Your earlier codes no longer work."), vec![of_codes(&answer.get_ref().recovery_codes)])),
        Err(status) => wrong(PATH, &status),
    }
}

/// Shows what was added, and the recovery codes. A person who had to add it goes on from here.
fn added(text: &'static str, codes: &[String], onward: Option<&str>) -> Response {
    let links: Vec<_> = onward.map(|to| (to, "Continue")).into_iter().collect();
    let sections = vec![of_codes(codes)];
    Said::Done(text).respond(PATH, Page { title: TITLE, sections, links: &links, ..Page::default() })
}

fn of_codes(codes: &[String]) -> Section<'_> {
    Section { heading: "Recovery codes", texts: vec![SHOWN_ONCE.to_owned()], secrets: codes.to_vec(), ..Section::default() }
}

/// The answer in place of a form that cannot be shown.
fn failed(status: &Status) -> Response {
    match wrong(PATH, status) {
        Ok(said) => respond(said, Vec::new()),
        Err(response) => response,
    }
}

fn respond(said: Said, sections: Vec<Section<'_>>) -> Response {
    said.respond(PATH, Page { title: TITLE, sections, ..Page::default() })
}

/// `action` is that of the form that was sent.
async fn page(app: &App, caller: &Authenticated, said: Said, action: &str) -> Response {
    let factors = match app.upstream.auth().get_factors(caller.context.request(GetFactorsRequest {})).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return refused(PATH, &fault_of(&status)),
    };
    let found = match app.upstream.auth().list_passkeys(caller.context.request(ListPasskeysRequest {})).await {
        Ok(answer) => answer.into_inner().passkeys,
        Err(status) => return refused(PATH, &fault_of(&status)),
    };
    let are_offered = providers_of(app, &caller.context).await.passkeys_offered;
    let names: Vec<_> = found.iter().map(|passkey| (passkey.id.as_str(), passkey.display_name.as_str())).collect();
    let mut all = vec![app_section(&factors)];
    if are_offered || !found.is_empty() {
        all.push(passkeys::list_section(&found, &names, are_offered, if said.is_wrong() { action } else { "" }));
    }
    if factors.totp_create_time.is_some() || factors.passkeys > 0 {
        all.push(codes_section(&factors));
    }
    respond(said, all)
}

fn app_section(factors: &GetFactorsResponse) -> Section<'static> {
    let (text, form) = match &factors.totp_create_time {
        Some(since) => {
            let remove = Form { is_destructive: true, ..Form::of_action("remove", "Remove the authenticator app") };
            (format!("A sign-in needs a code of the app{}.", day(since)), remove)
        }
        None => (
            "With an authenticator app a stolen password is not enough: a sign-in also needs a code that the app shows.".to_owned(),
            Form::of_action("start", "Add an authenticator app"),
        ),
    };
    Section { heading: "Authenticator app", texts: vec![text], forms: vec![form], ..Section::default() }
}

fn codes_section(factors: &GetFactorsResponse) -> Section<'static> {
    Section {
        heading: "Recovery codes",
        texts: vec![format!("{} recovery codes are left. New ones replace them.", factors.recovery_codes)],
        forms: vec![Form::of_action("codes", "Create new recovery codes")],
        ..Section::default()
    }
}

fn day(time: &Timestamp) -> String {
    from_timestamp(time).map_or_else(String::new, |at| format!(" since {}", at.date()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_had_to_add_a_factor_goes_on_to_the_page_before() {
        for (query, expected) in [
            (Some("required=yes&next=device.WDJB-MJHT"), Some("/account/device?user_code=WDJB-MJHT")),
            (Some("required=yes&next=%2F%2Fevil.example"), Some("/")),
            (Some("required=yes"), Some("/")),
            (Some("next=sessions"), None),
            (None, None),
        ] {
            assert_eq!(onward(query).as_deref(), expected, "{query:?}");
        }
    }

    #[test]
    fn a_key_is_shown_in_groups() {
        assert_eq!(grouped("ABCDEFGHIJ"), "ABCD EFGH IJ");
    }

    #[test]
    fn the_page_offers_what_the_account_can_do() {
        assert_eq!(app_section(&GetFactorsResponse::default()).forms[0].button, "Add an authenticator app");
        let enrolled = GetFactorsResponse { totp_create_time: Some(Timestamp::default()), recovery_codes: 9, ..Default::default() };
        assert_eq!(app_section(&enrolled).forms[0].button, "Remove the authenticator app");
        assert!(codes_section(&enrolled).texts[0].starts_with("9 recovery codes"));
    }
}
