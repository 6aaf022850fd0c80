//! The page of a person's own keys of model providers: their list, and forms to add, rename and delete one. No page shows a key.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use proto::agent_streaming::{
    CreateProviderKeyRequest, DeleteProviderKeyRequest, ListProviderKeysRequest, ProviderKey, UpdateProviderKeyRequest,
};
use tonic::Status;

use super::signed_in::{Said, SignedIn, done, refused, wrong};
use crate::{
    app::App,
    error::fault_of,
    identity::authenticate::Authenticated,
    json::form::Form as Fields,
    web::account::{
        form::{Field, Form},
        html::Page,
        section::{Cell, Row, Section, Table},
    },
};

const PATH: &str = "/account/provider-keys";
const DONE: [(&str, &str); 3] = [
    ("added", "The key is stored. Your next turns with models of this provider use it."),
    ("renamed", "The key has its new name."),
    ("deleted", "The key is deleted. A turn that uses it fails at its next request to the model."),
];
const PROVIDERS: &[(&str, &str)] = &[("anthropic", "Anthropic"), ("openai", "OpenAI, or a server that speaks its protocol")];

pub(crate) async fn provider_keys_page(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, RawQuery(query): RawQuery) -> Response {
    page(&app, &caller, Said::in_query(query.as_deref(), &DONE), &Fields::default()).await
}

pub(crate) async fn provider_keys(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, form: Fields) -> Response {
    let outcome = match form.get("action") {
        "add" => add(&app, &caller, &form).await,
        "rename" => rename(&app, &caller, &form).await,
        "delete" => delete(&app, &caller, &form).await,
        _ => {
            let said = Said::unknown_form();
            return page(&app, &caller, said, &form).await;
        }
    };
    match outcome {
        Ok(name) => done(PATH, name),
        Err(status) => match wrong(PATH, &status) {
            Ok(said) => page(&app, &caller, said, &form).await,
            Err(response) => response,
        },
    }
}

async fn add(app: &App, caller: &Authenticated, form: &Fields) -> Result<&'static str, Status> {
    let request = CreateProviderKeyRequest {
        provider: form.get("provider").to_owned(),
        key: form.get("secret").to_owned(),
        base_url: form.get("address").to_owned(),
        display_name: form.get("name").to_owned(),
        project_id: String::new(),
    };
    app.upstream.agents().create_provider_key(caller.context.request(request)).await?;
    Ok("added")
}

async fn rename(app: &App, caller: &Authenticated, form: &Fields) -> Result<&'static str, Status> {
    let display_name = Some(form.get("new_name").to_owned());
    let request = UpdateProviderKeyRequest { key_id: form.get("renamed").to_owned(), display_name, ..Default::default() };
    app.upstream.agents().update_provider_key(caller.context.request(request)).await?;
    Ok("renamed")
}

async fn delete(app: &App, caller: &Authenticated, form: &Fields) -> Result<&'static str, Status> {
    let request = DeleteProviderKeyRequest { key_id: form.get("key").to_owned() };
    app.upstream.agents().delete_provider_key(caller.context.request(request)).await?;
    Ok("deleted")
}

/// `form` has what was typed, if a form was refused. A key that was typed is not shown again.
async fn page(app: &App, caller: &Authenticated, said: Said, form: &Fields) -> Response {
    let keys = match app.upstream.agents().list_provider_keys(caller.context.request(ListProviderKeysRequest::default())).await {
        Ok(answer) => answer.into_inner().provider_keys,
        Err(status) => return refused(PATH, &fault_of(&status)),
    };
    let names: Vec<String> = keys.iter().map(name).collect();
    let options: Vec<(&str, &str)> = keys.iter().zip(&names).map(|(key, name)| (key.id.as_str(), name.as_str())).collect();
    let refused = if said.is_wrong() { form.get("action") } else { "" };
    let mut sections = vec![list(&keys, &names)];
    if !keys.is_empty() {
        sections.push(new_name(form, &options, refused));
    }
    sections.push(new_key(form, refused));
    said.respond(PATH, Page { title: "Keys of model providers", sections, ..Page::default() })
}

/// What a person calls a key.
fn name(key: &ProviderKey) -> String {
    if key.display_name.is_empty() { format!("{} …{}", key.provider, key.last_four) } else { key.display_name.clone() }
}

fn list<'a>(keys: &'a [ProviderKey], names: &'a [String]) -> Section<'a> {
    let rows = keys.iter().zip(names).map(|(key, name)| Row {
        cells: vec![
            Cell::Text(name.clone()),
            Cell::Text(key.provider.clone()),
            Cell::Text(key.last_four.clone()),
            Cell::Text(key.base_url.clone()),
            Cell::Time(key.create_time),
            Cell::Time(key.update_time),
            Cell::Time(key.last_use_time),
        ],
        form: Some(Form {
            hidden: vec![("action", "delete"), ("key", key.id.as_str())],
            button: "Delete",
            subject: name,
            is_destructive: true,
            ..Form::default()
        }),
    });
    let head = &["Name", "Provider", "Ends with", "Address", "Created", "Changed", "Last use"];
    let table = Table { caption: "Your keys of model providers", head, rows: rows.collect() };
    let texts = if keys.is_empty() { vec!["You have no keys. Your turns use those of this site.".to_owned()] } else { Vec::new() };
    Section { heading: "Your keys", texts, table: (!keys.is_empty()).then_some(table), ..Section::default() }
}

fn new_name<'a>(form: &'a Fields, options: &'a [(&'a str, &'a str)], refused: &str) -> Section<'a> {
    let key = Field { of: "key_id", value: form.get("renamed"), options, ..Field::text("renamed", "Key to rename") };
    let name = Field { of: "display_name", value: form.get("new_name"), is_optional: true, ..Field::text("new_name", "New name") };
    let form = Form { fields: vec![key, name], is_refused: refused == "rename", ..Form::of_action("rename", "Rename") };
    Section { heading: "Rename", forms: vec![form], ..Section::default() }
}

fn new_key<'a>(form: &'a Fields, refused: &str) -> Section<'a> {
    let provider = Field { value: form.get("provider"), options: PROVIDERS, ..Field::text("provider", "Provider") };
    let secret =
        Field { of: "key", kind: "password", hint: "It is stored encrypted, and never shown again.", ..Field::text("secret", "Key") };
    let name = Field { of: "display_name", value: form.get("name"), is_optional: true, ..Field::text("name", "Name") };
    let address = Field {
        of: "base_url",
        value: form.get("address"),
        is_optional: true,
        hint: "Only for another server than that of the provider.",
        ..Field::text("address", "Address")
    };
    let fields = vec![provider, secret, name, address];
    let form = Form { fields, is_refused: refused == "add", ..Form::of_action("add", "Store the key") };
    let text = "Your turns with models of the provider use the key, and the provider charges its owner. A turn of a project with a key of its own uses that one.";
    Section { heading: "New key", texts: vec![text.to_owned()], forms: vec![form], ..Section::default() }
}
