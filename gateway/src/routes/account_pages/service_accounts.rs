//! The page of service accounts: their list, their keys, and forms for new ones. The secret of a new key is shown once.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use proto::auth::{
    ApiKey, CreateApiKeyRequest, CreateServiceAccountRequest, DeleteApiKeyRequest, DeleteServiceAccountRequest, ListApiKeysRequest,
    ListServiceAccountsRequest, ServiceAccount, UpdateServiceAccountRequest,
};
use tonic::Status;

use super::{
    keys::{HEAD, KeyForm, cells, new_secret},
    signed_in::{Said, SignedIn, done, refused, wrong},
};
use crate::{
    app::App,
    error::{fault_of, invalid},
    identity::authenticate::Authenticated,
    json::form::Form as Fields,
    web::account::{
        form::{Field, Form},
        html::Page,
        section::{Cell, Row, Section, Table},
    },
};

const PATH: &str = "/account/service-accounts";
const DONE: [(&str, &str); 4] = [
    ("created", "The service account is created. Create a key for it, so that a program can use it."),
    ("renamed", "The service account has its new name."),
    ("deleted", "The service account is deleted, with its keys. Its projects are being deleted."),
    ("key-deleted", "The key is deleted. Programs that use it are refused from now on."),
];

/// A service account with its keys.
struct Account {
    account: ServiceAccount,
    keys: Vec<ApiKey>,
}

pub(crate) async fn service_accounts_page(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, RawQuery(query): RawQuery) -> Response {
    page(&app, &caller, Said::in_query(query.as_deref(), &DONE), &Fields::default(), None).await
}

pub(crate) async fn service_accounts(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, form: Fields) -> Response {
    let outcome = match form.get("action") {
        "create" => create(&app, &caller, &form).await,
        "rename" => rename(&app, &caller, &form).await,
        "delete" => delete(&app, &caller, &form).await,
        "delete-key" => delete_key(&app, &caller, &form).await,
        "create-key" => match create_key(&app, &caller, &form).await {
            Ok(secret) => return page(&app, &caller, Said::Done("The key is created."), &Fields::default(), Some(secret)).await,
            Err(status) => Err(status),
        },
        _ => {
            let said = Said::unknown_form();
            return page(&app, &caller, said, &form, None).await;
        }
    };
    match outcome {
        Ok(name) => done(PATH, name),
        Err(status) => match wrong(PATH, &status) {
            Ok(said) => page(&app, &caller, said, &form, None).await,
            Err(response) => response,
        },
    }
}

async fn create(app: &App, caller: &Authenticated, form: &Fields) -> Result<&'static str, Status> {
    let request = CreateServiceAccountRequest { display_name: form.get("account_name").to_owned() };
    app.upstream.auth().create_service_account(caller.context.request(request)).await?;
    Ok("created")
}

async fn rename(app: &App, caller: &Authenticated, form: &Fields) -> Result<&'static str, Status> {
    let (service_account_id, display_name) = (form.get("renamed").to_owned(), form.get("new_name").to_owned());
    let request = UpdateServiceAccountRequest { service_account_id, display_name };
    app.upstream.auth().update_service_account(caller.context.request(request)).await?;
    Ok("renamed")
}

/// The person has to type the name of the service account.
async fn delete(app: &App, caller: &Authenticated, form: &Fields) -> Result<&'static str, Status> {
    let (id, typed) = (form.get("deleted"), form.get("typed_name"));
    let is_other = |name: &str| !name.split_whitespace().eq(typed.split_whitespace());
    // auth refuses one that is not in the list.
    if listed(app, caller).await?.iter().any(|account| account.id == id && is_other(&account.display_name)) {
        return Err((*invalid("display_name", "is another one").0).into());
    }
    let request = DeleteServiceAccountRequest { service_account_id: id.to_owned() };
    app.upstream.auth().delete_service_account(caller.context.request(request)).await?;
    Ok("deleted")
}

async fn create_key(app: &App, caller: &Authenticated, form: &Fields) -> Result<String, Status> {
    let request = CreateApiKeyRequest { service_account_id: form.get("holder").to_owned(), ..KeyForm::of(form).request() };
    Ok(app.upstream.auth().create_api_key(caller.context.request(request)).await?.into_inner().secret)
}

async fn delete_key(app: &App, caller: &Authenticated, form: &Fields) -> Result<&'static str, Status> {
    let (api_key_id, service_account_id) = (form.get("key").to_owned(), form.get("account").to_owned());
    let id = api_key_id.parse();
    app.upstream.auth().delete_api_key(caller.context.request(DeleteApiKeyRequest { api_key_id, service_account_id })).await?;
    if let Ok(id) = id {
        app.revocations.end(id, Instant::now());
    }
    Ok("key-deleted")
}

async fn listed(app: &App, caller: &Authenticated) -> Result<Vec<ServiceAccount>, Status> {
    let answer = app.upstream.auth().list_service_accounts(caller.context.request(ListServiceAccountsRequest {})).await?;
    Ok(answer.into_inner().service_accounts)
}

async fn accounts(app: &App, caller: &Authenticated) -> Result<Vec<Account>, Status> {
    let mut auth = app.upstream.auth();
    let mut found = Vec::new();
    for account in listed(app, caller).await? {
        let request = ListApiKeysRequest { service_account_id: account.id.clone() };
        let keys = auth.list_api_keys(caller.context.request(request)).await?.into_inner().api_keys;
        found.push(Account { account, keys });
    }
    Ok(found)
}

/// `form` has what was typed, if a form was refused.
async fn page(app: &App, caller: &Authenticated, said: Said, form: &Fields, secret: Option<String>) -> Response {
    let found = match accounts(app, caller).await {
        Ok(found) => found,
        Err(status) => return refused(PATH, &fault_of(&status)),
    };
    let options: Vec<(&str, &str)> = found.iter().map(|found| (found.account.id.as_str(), found.account.display_name.as_str())).collect();
    // Two of them can have the same name.
    let labels: Vec<String> = found.iter().map(|Account { account, .. }| format!("{} ({})", account.display_name, account.id)).collect();
    let labelled: Vec<(&str, &str)> = found.iter().zip(&labels).map(|(found, label)| (found.account.id.as_str(), label.as_str())).collect();
    let refused = if said.is_wrong() { form.get("action") } else { "" };
    let mut sections: Vec<Section<'_>> = secret.map(new_secret).into_iter().collect();
    sections.push(list(&found));
    if !found.is_empty() {
        sections.push(keys(&found));
        sections.push(new_key(form, &options, refused));
        sections.push(new_name(form, &options, refused));
    }
    sections.push(new_account(form, refused));
    if !found.is_empty() {
        sections.push(deletion(form, &labelled, refused));
    }
    said.respond(PATH, Page { title: "Service accounts", sections, ..Page::default() })
}

fn list(found: &[Account]) -> Section<'_> {
    let row = |Account { account, .. }: &'_ Account| {
        let state = if account.disable_time.is_some() { "disabled by the operator" } else { "enabled" };
        vec![
            Cell::Text(account.display_name.clone()),
            Cell::Text(account.id.clone()),
            Cell::Text(state.to_owned()),
            Cell::Time(account.create_time),
        ]
    };
    let rows = found.iter().map(|found| Row { cells: row(found), form: None });
    let table = Table { caption: "Your service accounts", head: &["Name", "Id", "State", "Created"], rows: rows.collect() };
    let mut texts = vec![
        "A service account is for a program. Nobody signs in to it. It has projects and limits of its own, and reaches none of yours."
            .to_owned(),
    ];
    if found.is_empty() {
        texts.push("You have no service accounts.".to_owned());
    }
    Section { heading: "Your service accounts", texts, table: (!found.is_empty()).then_some(table), ..Section::default() }
}

fn keys(found: &[Account]) -> Section<'_> {
    let mut rows = Vec::new();
    for Account { account, keys } in found {
        for key in keys {
            let mut cells = cells(key);
            cells.insert(1, Cell::Text(account.display_name.clone()));
            let hidden = vec![("action", "delete-key"), ("account", account.id.as_str()), ("key", key.id.as_str())];
            rows.push(Row {
                cells,
                form: Some(Form { hidden, button: "Delete", subject: &key.display_name, is_destructive: true, ..Form::default() }),
            });
        }
    }
    let texts = if rows.is_empty() { vec!["Your service accounts have no keys.".to_owned()] } else { Vec::new() };
    let table = Table { caption: "API keys of your service accounts", head: KEYS_HEAD, rows };
    Section { heading: "Their keys", texts, table: (!table.rows.is_empty()).then_some(table), ..Section::default() }
}

/// Those of [`HEAD`], with the service account after the name.
const KEYS_HEAD: &[&str] = &[HEAD[0], "Service account", HEAD[1], HEAD[2], HEAD[3], HEAD[4], HEAD[5], HEAD[6]];

fn new_key<'a>(form: &'a Fields, options: &'a [(&'a str, &'a str)], refused: &str) -> Section<'a> {
    let is_refused = refused == "create-key";
    let typed = if is_refused { KeyForm::of(form) } else { KeyForm::default() };
    let mut fields =
        vec![Field { of: "service_account_id", value: form.get("holder"), options, ..Field::text("holder", "Service account") }];
    fields.extend(typed.fields());
    let form = Form { fields, is_refused, ..Form::of_action("create-key", "Create the key") };
    Section { heading: "New key", forms: vec![form], ..Section::default() }
}

fn new_name<'a>(form: &'a Fields, options: &'a [(&'a str, &'a str)], refused: &str) -> Section<'a> {
    let account =
        Field { of: "service_account_id", value: form.get("renamed"), options, ..Field::text("renamed", "Service account to rename") };
    let name = Field { of: "display_name", value: form.get("new_name"), ..Field::text("new_name", "New name") };
    let form = Form { fields: vec![account, name], is_refused: refused == "rename", ..Form::of_action("rename", "Rename") };
    Section { heading: "Rename", forms: vec![form], ..Section::default() }
}

fn new_account<'a>(form: &'a Fields, refused: &str) -> Section<'a> {
    let hint = "For example, the program that will use it.";
    let name =
        Field { of: "display_name", value: form.get("account_name"), hint, ..Field::text("account_name", "Name of the service account") };
    let form = Form { fields: vec![name], is_refused: refused == "create", ..Form::of_action("create", "Create the service account") };
    Section { heading: "New service account", forms: vec![form], ..Section::default() }
}

fn deletion<'a>(form: &'a Fields, options: &'a [(&'a str, &'a str)], refused: &str) -> Section<'a> {
    let account =
        Field { of: "service_account_id", value: form.get("deleted"), options, ..Field::text("deleted", "Service account to delete") };
    let hint = "The name of this service account, as a confirmation.";
    let name = Field { of: "display_name", value: form.get("typed_name"), hint, ..Field::text("typed_name", "Its name") };
    let form = Form {
        fields: vec![account, name],
        is_refused: refused == "delete",
        is_destructive: true,
        ..Form::of_action("delete", "Delete permanently")
    };
    let text = "It is deleted with its keys and projects. This cannot be undone.".to_owned();
    Section { heading: "Delete", texts: vec![text], forms: vec![form], ..Section::default() }
}
