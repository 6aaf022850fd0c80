//! The page of linked accounts.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use proto::auth::{Identity, ListIdentitiesRequest, ListProvidersResponse, StartProviderSignInRequest, UnlinkIdentityRequest};

use super::{
    providers::{providers_of, started},
    signed_in::{Said, SignedIn, done, refused, wrong},
};
use crate::{
    app::App,
    error::fault_of,
    identity::authenticate::Authenticated,
    json::form::Form as Fields,
    web::account::{
        form::Form,
        html::Page,
        section::{Cell, Row, Section, Table},
    },
};

const PATH: &str = "/account/identities";
const DONE: [(&str, &str); 2] =
    [("linked", "The account is linked."), ("unlinked", "The account is unlinked, and all other sessions have ended.")];

pub(crate) async fn identities_page(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, RawQuery(query): RawQuery) -> Response {
    page(&app, &caller, Said::in_query(query.as_deref(), &DONE)).await
}

pub(crate) async fn identities(State(app): State<Arc<App>>, SignedIn(caller): SignedIn, form: Fields) -> Response {
    let outcome = match form.get("action") {
        "link" => link(&app, &caller, form.get("provider")).await,
        "unlink" => unlink(&app, &caller, form.get("identity")).await,
        _ => Ok(Said::unknown_form()),
    };
    match outcome {
        Ok(said) => page(&app, &caller, said).await,
        Err(response) => response,
    }
}

/// Starts a link. `Err` is the answer after it.
async fn link(app: &App, caller: &Authenticated, provider: &str) -> Result<Said, Response> {
    let request = StartProviderSignInRequest { provider: provider.to_owned(), link: true, ..Default::default() };
    match app.upstream.auth().start_provider_sign_in(caller.context.request(request)).await {
        Ok(answer) => Err(started(app, answer.get_ref())),
        Err(status) => wrong(PATH, &status),
    }
}

/// Unlinks an identity. `Err` is the answer after it.
async fn unlink(app: &App, caller: &Authenticated, id: &str) -> Result<Said, Response> {
    let request = UnlinkIdentityRequest { identity_id: id.to_owned() };
    match app.upstream.auth().unlink_identity(caller.context.request(request)).await {
        Ok(_) => Err(done(PATH, "unlinked")),
        Err(status) => wrong(PATH, &status),
    }
}

async fn page(app: &App, caller: &Authenticated, said: Said) -> Response {
    let found = match app.upstream.auth().list_identities(caller.context.request(ListIdentitiesRequest {})).await {
        Ok(answer) => answer.into_inner().identities,
        Err(status) => return refused(PATH, &fault_of(&status)),
    };
    let providers = providers_of(app, &caller.context).await;
    let texts = ["You can sign in with each of these accounts, as well as with your password."];
    let sections = vec![list(&found, &providers), more(&providers)];
    said.respond(PATH, Page { title: "Linked accounts", texts: &texts, sections, ..Page::default() })
}

fn list<'a>(found: &'a [Identity], providers: &'a ListProvidersResponse) -> Section<'a> {
    let heading = "Accounts that are linked";
    if found.is_empty() {
        return Section { heading, texts: vec!["None.".to_owned()], ..Section::default() };
    }
    let rows = found.iter().map(|identity| row(identity, title(providers, &identity.provider))).collect();
    let table = Table { caption: "Linked accounts", head: &["Provider", "Account", "Linked", "Last use"], rows };
    Section { heading, table: Some(table), ..Section::default() }
}

fn row<'a>(identity: &'a Identity, title: &'a str) -> Row<'a> {
    let label = if identity.label.is_empty() { "without a name" } else { &identity.label };
    let cells = vec![
        Cell::Text(title.to_owned()),
        Cell::Text(label.to_owned()),
        Cell::Time(identity.create_time),
        Cell::Time(identity.last_use_time),
    ];
    let hidden = vec![("action", "unlink"), ("identity", identity.id.as_str())];
    Row { cells, form: Some(Form { hidden, button: "Unlink", subject: title, is_destructive: true, ..Form::default() }) }
}

/// What people call a provider. One that was removed has only its name.
fn title<'a>(providers: &'a ListProvidersResponse, name: &'a str) -> &'a str {
    providers.providers.iter().find(|provider| provider.name == name).map_or(name, |provider| &provider.display_name)
}

fn more(providers: &ListProvidersResponse) -> Section<'_> {
    let heading = "Link another account";
    if providers.providers.is_empty() {
        return Section { heading, texts: vec!["This site has no providers to link.".to_owned()], ..Section::default() };
    }
    let forms = providers.providers.iter().map(|provider| Form {
        hidden: vec![("action", "link"), ("provider", &provider.name)],
        button: &provider.display_name,
        ..Form::default()
    });
    Section { heading, forms: forms.collect(), ..Section::default() }
}
