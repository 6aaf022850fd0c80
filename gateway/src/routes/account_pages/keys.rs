//! The page of API keys: their list, and a form for a new one, whose secret is shown once.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use proto::auth::{ApiKey, ApiKeyScope, CreateApiKeyRequest, DeleteApiKeyRequest, ListApiKeysRequest};
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

const PATH: &str = "/account/keys";
const DONE: [(&str, &str); 1] = [("deleted", "The key is deleted. Programs that use it are refused from now on.")];
/// The columns of a table of keys.
pub(super) const HEAD: &[&str] = &["Name", "Ends with", "May", "Projects", "Created", "Last use", "Expires"];
const SCOPES: &[(&str, &str)] = &[("read", "Read"), ("write", "Read and change")];
const LIFETIMES: &[(&str, &str)] = &[("7", "7 days"), ("30", "30 days"), ("90", "90 days"), ("366", "366 days")];

pub(crate) async fn keys_page(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, RawQuery(query): RawQuery) -> Response {
    page(&app, &caller, Said::in_query(query.as_deref(), &DONE), KeyForm::default(), None).await
}

pub(crate) async fn keys(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, form: Fields) -> Response {
    match form.get("action") {
        "create" => create(&app, &caller, &form).await,
        "delete" => delete(&app, &caller, form.get("key")).await,
        _ => {
            let said = Said::unknown_form();
            page(&app, &caller, said, KeyForm::default(), None).await
        }
    }
}

/// What was typed into the form of a new key.
pub(super) struct KeyForm<'a> {
    name: &'a str,
    scope: &'a str,
    projects: &'a str,
    days: &'a str,
}

impl Default for KeyForm<'_> {
    fn default() -> Self {
        Self { name: "", scope: "read", projects: "", days: "90" }
    }
}

impl<'a> KeyForm<'a> {
    pub(super) fn of(form: &'a Fields) -> Self {
        Self { name: form.get("name"), scope: form.get("scope"), projects: form.get("projects"), days: form.get("days") }
    }

    /// The request for a key of the person.
    pub(super) fn request(&self) -> CreateApiKeyRequest {
        let scope = match self.scope {
            "read" => ApiKeyScope::Read,
            "write" => ApiKeyScope::Write,
            _ => ApiKeyScope::Unspecified,
        };
        let separator = |c: char| c.is_whitespace() || c == ',';
        CreateApiKeyRequest {
            display_name: self.name.to_owned(),
            scope: scope.into(),
            project_ids: self.projects.split(separator).filter(|id| !id.is_empty()).map(str::to_owned).collect(),
            // What is no number is refused as too many days.
            lifetime_days: self.days.parse().unwrap_or(u32::MAX),
            ..Default::default()
        }
    }

    /// The fields of the form.
    pub(super) fn fields(&self) -> Vec<Field<'a>> {
        let hint = "For example, the program that will use it.";
        let name = Field { of: "display_name", value: self.name, hint, ..Field::text("name", "Name") };
        let scope = Field { value: self.scope, options: SCOPES, ..Field::text("scope", "What it may do with projects") };
        let projects = Field {
            of: "project_ids",
            value: self.projects,
            is_optional: true,
            hint: "At most 20 ids, separated by spaces. Empty for all projects, also later ones.",
            ..Field::text("projects", "Only these projects")
        };
        let days = Field { of: "lifetime_days", value: self.days, options: LIFETIMES, ..Field::text("days", "Expires after") };
        vec![name, scope, projects, days]
    }
}

/// Shows the secret in the answer to the form, because no other page can.
async fn create(app: &App, caller: &Authenticated, form: &Fields) -> Response {
    let typed = KeyForm::of(form);
    match app.upstream.auth().create_api_key(caller.context.request(typed.request())).await {
        Ok(answer) => page(app, caller, Said::Done("The key is created."), KeyForm::default(), Some(answer.into_inner().secret)).await,
        Err(status) => again(app, caller, &status, typed).await,
    }
}

async fn delete(app: &App, caller: &Authenticated, id: &str) -> Response {
    let request = DeleteApiKeyRequest { api_key_id: id.to_owned(), ..Default::default() };
    match app.upstream.auth().delete_api_key(caller.context.request(request)).await {
        Ok(_) => {
            if let Ok(id) = id.parse() {
                app.revocations.end(id, Instant::now());
            }
            done(PATH, "deleted")
        }
        Err(status) => again(app, caller, &status, KeyForm::default()).await,
    }
}

async fn again(app: &App, caller: &Authenticated, status: &Status, typed: KeyForm<'_>) -> Response {
    match wrong(PATH, status) {
        Ok(said) => page(app, caller, said, typed, None).await,
        Err(response) => response,
    }
}

async fn page(app: &App, caller: &Authenticated, said: Said, typed: KeyForm<'_>, secret: Option<String>) -> Response {
    let keys = match app.upstream.auth().list_api_keys(caller.context.request(ListApiKeysRequest::default())).await {
        Ok(answer) => answer.into_inner().api_keys,
        Err(status) => return refused(PATH, &fault_of(&status)),
    };
    let mut sections = Vec::new();
    sections.extend(secret.map(new_secret));
    let table = Table { caption: "API keys of your account", head: HEAD, rows: keys.iter().map(row).collect() };
    let texts = if keys.is_empty() { vec!["You have no keys.".to_owned()] } else { Vec::new() };
    sections.push(Section { heading: "Your keys", texts, table: (!keys.is_empty()).then_some(table), ..Section::default() });
    sections.push(new_key(&typed, said.is_wrong()));
    said.respond(PATH, Page { title: "API keys", sections, ..Page::default() })
}

/// Shows the secret of a new key.
pub(super) fn new_secret(secret: String) -> Section<'static> {
    Section {
        heading: "Copy the new key now",
        texts: vec!["It is shown only here. A program sends it in the header “Authorization: Bearer …”.".to_owned()],
        secrets: vec![secret],
        ..Section::default()
    }
}

fn row(key: &ApiKey) -> Row<'_> {
    let hidden = vec![("action", "delete"), ("key", key.id.as_str())];
    Row {
        cells: cells(key),
        form: Some(Form { hidden, button: "Delete", subject: &key.display_name, is_destructive: true, ..Form::default() }),
    }
}

/// What a table with [`HEAD`] has of a key.
pub(super) fn cells(key: &ApiKey) -> Vec<Cell> {
    let may = if key.scope() == ApiKeyScope::Write { "Read and change" } else { "Read" };
    let projects = if key.project_ids.is_empty() { "all".to_owned() } else { key.project_ids.join(" ") };
    vec![
        Cell::Text(key.display_name.clone()),
        Cell::Text(key.last_four.clone()),
        Cell::Text(may.to_owned()),
        Cell::Text(projects),
        Cell::Time(key.create_time),
        Cell::Time(key.last_use_time),
        Cell::Time(key.expire_time),
    ]
}

fn new_key<'a>(typed: &KeyForm<'a>, is_refused: bool) -> Section<'a> {
    let form = Form { fields: typed.fields(), is_refused, ..Form::of_action("create", "Create the key") };
    Section {
        heading: "New key",
        texts: vec![
            "A program with the key acts for you. It cannot use your account: sessions, keys, password and e-mail address.".to_owned(),
        ],
        forms: vec![form],
        ..Section::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_read_as_a_request() {
        let typed = KeyForm { name: "ci", scope: "write", projects: " a,b\n c  ", days: "30" };
        let request = typed.request();
        assert_eq!((request.scope(), request.lifetime_days), (ApiKeyScope::Write, 30));
        assert_eq!(request.project_ids, ["a", "b", "c"]);
        let request = KeyForm { scope: "all", projects: "", days: "soon", ..typed }.request();
        assert_eq!((request.scope(), request.lifetime_days, request.project_ids.len()), (ApiKeyScope::Unspecified, u32::MAX, 0));
        assert_eq!(KeyForm::default().request().scope(), ApiKeyScope::Read);
    }
}
