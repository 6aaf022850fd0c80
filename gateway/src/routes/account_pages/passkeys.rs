//! The parts of pages that use passkeys: buttons without a script lead to a page that asks the browser for the passkey.

use chassis::context::Context;
use proto::auth::{Passkey, PasskeyPurpose, StartPasskeyCeremonyRequest, StartPasskeyCeremonyResponse};
use tonic::Status;

use crate::{
    app::App,
    web::account::{
        form::{Field, Form},
        menu::address_named,
        passkey::Ask,
        section::{Cell, Row, Section, Table},
    },
};

/// The action of a button that leads to the page with the passkey.
pub(super) const ASK: &str = "passkey";
/// The action of the form with the answer.
pub(super) const ANSWER: &str = "passkey-answer";

/// The button of the sign-in page. `next` names the page that the sign-in leads to.
pub(super) fn sign_in_section(next: &str) -> Section<'_> {
    let mut form = Form::of_action(ASK, "Sign in with a passkey");
    form.hidden.extend(address_named(next).map(|_| ("next", next)));
    Section { heading: "Without a password", forms: vec![form], ..Section::default() }
}

/// The button of a page that asks for another proof. `hidden` is what the form of that page sends, too.
pub(super) fn passkey_section<'a>(hidden: Vec<(&'a str, &'a str)>) -> Section<'a> {
    let mut form = Form::of_action(ASK, "Use a passkey");
    form.hidden.extend(hidden);
    Section { heading: "Passkey", forms: vec![form], ..Section::default() }
}

/// The passkeys of an account, with the forms to change them. `names` are their ids and names, `refused` is the action of the form that is
/// refused.
pub(super) fn list_section<'a>(passkeys: &[Passkey], names: &'a [(&'a str, &'a str)], are_offered: bool, refused: &str) -> Section<'a> {
    let row = |(passkey, (id, name)): (&Passkey, &(&'a str, &'a str))| {
        let kind = match (passkey.discoverable, passkey.backed_up) {
            (true, true) => "Sign-in and second factor, on several devices",
            (true, false) => "Sign-in and second factor",
            (false, _) => "Second factor",
        };
        let mut form = Form::of_action("delete", "Remove");
        form.hidden.push(("passkey_id", id));
        let cells = vec![
            Cell::Text((*name).to_owned()),
            Cell::Text(kind.to_owned()),
            Cell::Time(passkey.create_time),
            Cell::Time(passkey.last_use_time),
        ];
        Row { cells, form: Some(Form { subject: name, is_destructive: true, ..form }) }
    };
    let rows: Vec<_> = passkeys.iter().zip(names).map(row).collect();
    let mut forms = Vec::new();
    if are_offered {
        let hint = "For example the device that keeps it. The browser asks you for the passkey on the next page, which needs JavaScript.";
        forms.push(Form {
            fields: vec![Field { hint, ..Field::text("display_name", "Name of the passkey") }],
            is_refused: [ASK, ANSWER].contains(&refused),
            ..Form::of_action(ASK, "Add a passkey")
        });
    }
    if !names.is_empty() {
        let name = Field { of: "display_name", ..Field::text("new_name", "New name") };
        let fields = vec![Field { options: names, ..Field::text("passkey_id", "Passkey") }, name];
        forms.push(Form { fields, is_refused: refused == "rename", ..Form::of_action("rename", "Rename the passkey") });
    }
    let head: &[&str] = &["Name", "Use", "Added", "Last used"];
    let table = (!rows.is_empty()).then_some(Table { caption: "Passkeys", head, rows });
    let text = "A passkey is kept by your device, a security key or a password manager. It signs you in without a password, and is a second factor.";
    Section { heading: "Passkeys", texts: vec![text.to_owned()], table, forms, ..Section::default() }
}

/// Begins an exchange with an authenticator.
pub(super) async fn question(
    app: &App,
    context: &Context,
    purpose: PasskeyPurpose,
    sign_in_token: &str,
) -> Result<StartPasskeyCeremonyResponse, Status> {
    let request = StartPasskeyCeremonyRequest { purpose: purpose.into(), sign_in_token: sign_in_token.to_owned() };
    Ok(app.upstream.auth().start_passkey_ceremony(context.request(request)).await?.into_inner())
}

/// What a page asks for. `hidden` comes back with the answer.
pub(super) fn ask<'a>(started: &'a StartPasskeyCeremonyResponse, hidden: Vec<(&'a str, &'a str)>, button: &'a str) -> Ask<'a> {
    let mut form = Form::of_action(ANSWER, button);
    form.hidden.extend([("ceremony_token", started.ceremony_token.as_str()), ("credential", "")]);
    form.hidden.extend(hidden);
    Ask { is_new: false, options: &started.options, form }
}

/// The same for a new passkey.
pub(super) fn ask_for_new<'a>(started: &'a StartPasskeyCeremonyResponse, name: &'a str) -> Ask<'a> {
    Ask { is_new: true, ..ask(started, vec![("display_name", name)], "Create the passkey") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_offers_what_can_be_done() {
        let buttons = |section: &Section<'_>| section.forms.iter().map(|form| form.button.to_owned()).collect::<Vec<_>>();
        assert_eq!(buttons(&list_section(&[], &[], true, "")), ["Add a passkey"]);
        let passkey = Passkey { id: "1".into(), display_name: "Phone".into(), discoverable: true, ..Passkey::default() };
        let names = [("1", "Phone")];
        let section = list_section(&[passkey], &names, false, "rename");
        assert_eq!(buttons(&section), ["Rename the passkey"]);
        let refused: Vec<_> = section.forms[0].refused_fields().collect();
        assert_eq!(refused, [("passkey_id", "passkey_id"), ("new_name", "display_name")]);
        let row = &section.table.as_ref().expect("a table").rows[0];
        assert_eq!(row.form.as_ref().expect("a form").hidden, [("action", "delete"), ("passkey_id", "1")]);
    }

    #[test]
    fn an_answer_comes_back_with_its_token() {
        let started = StartPasskeyCeremonyResponse { options: "{}".into(), ceremony_token: "t".into(), expire_time: None };
        let asked = ask_for_new(&started, "Phone");
        let hidden = [("action", ANSWER), ("ceremony_token", "t"), ("credential", ""), ("display_name", "Phone")];
        assert!(asked.is_new && asked.form.hidden == hidden, "{asked:?}");
        assert_eq!(sign_in_section("sessions").forms[0].hidden, [("action", ASK), ("next", "sessions")]);
        assert_eq!(sign_in_section("//evil").forms[0].hidden, [("action", ASK)]);
    }
}
