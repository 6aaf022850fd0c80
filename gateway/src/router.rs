//! Every route. The first list is the contract's; a test compares it with `google.api.http`. The second list is the gateway's own.

mod projects;

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    handler::Handler,
    middleware::{from_fn, from_fn_with_state},
    routing::{self, MethodRouter},
};
use proto::error::ErrorCode;
use tower::ServiceExt as _;

use crate::{
    app::App,
    edge::rate_limit,
    error::{Failure, fault},
    http::etag::{VERSIONED, refuse_if_match},
    identity::authenticate::identify,
    routes::{
        account_pages, agents, agui, api_keys, auth, chat, checks, device, email, export, factors, identities, imports, passkeys,
        service_accounts, sessions, sites, system, turns,
    },
    web::{page, preview, site},
};

/// What happens before the handler of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Identity and the policy `general`.
    Counted,
    /// Identity. Event streams have limits of their own.
    Stream,
    /// Neither: for keys, probes, documents and the page.
    Plain,
}

/// One method on one path.
struct Route {
    method: &'static str,
    /// As `google.api.http` spells it.
    template: &'static str,
    class: Class,
    handler: MethodRouter<Arc<App>>,
}

/// The method and the path of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteInfo {
    pub method: &'static str,
    pub template: &'static str,
}

/// The routes of the contract.
#[must_use]
pub fn contract_routes() -> Vec<RouteInfo> {
    contract().iter().map(info).collect()
}

/// The gateway's own routes.
#[must_use]
pub fn own_routes() -> Vec<RouteInfo> {
    own().iter().map(info).collect()
}

fn info(route: &Route) -> RouteInfo {
    RouteInfo { method: route.method, template: route.template }
}

fn contract() -> Vec<Route> {
    [
        account_routes(),
        email_routes(),
        factor_routes(),
        projects::project_routes(),
        projects::site_routes(),
        projects::history_routes(),
        projects::conversation_routes(),
        projects::template_routes(),
        turn_routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Accounts and sessions.
fn account_routes() -> Vec<Route> {
    use Class::{Counted, Plain};
    vec![
        post("/api/auth/signup", Counted, auth::sign_up),
        post("/api/auth/signin", Counted, auth::sign_in),
        post("/api/auth/signout", Counted, auth::sign_out),
        get("/api/auth/session", Counted, auth::session),
        post("/api/auth/token", Counted, auth::token),
        get("/api/auth/sessions", Counted, sessions::list),
        delete("/api/auth/sessions/{session_id}", Counted, sessions::revoke),
        post("/api/auth/sessions:revoke", Counted, sessions::revoke_all),
        post("/api/auth/password", Counted, sessions::change_password),
        post("/api/auth/step-up", Counted, sessions::step_up),
        post("/api/auth/refresh-tokens", Counted, sessions::create_refresh_token),
        post("/api/auth/keys", Counted, api_keys::create),
        get("/api/auth/keys", Counted, api_keys::list),
        delete("/api/auth/keys/{api_key_id}", Counted, api_keys::delete),
        post("/api/auth/service-accounts", Counted, service_accounts::create),
        get("/api/auth/service-accounts", Counted, service_accounts::list),
        patch("/api/auth/service-accounts/{service_account_id}", Counted, service_accounts::update),
        delete("/api/auth/service-accounts/{service_account_id}", Counted, service_accounts::delete),
        get("/api/auth/providers", Counted, identities::providers),
        get("/api/auth/identities", Counted, identities::list),
        delete("/api/auth/identities/{identity_id}", Counted, identities::unlink),
        post("/api/auth/account:delete", Counted, sessions::delete_account),
        post("/api/auth/export", Counted, export::export),
        get("/.well-known/jwks.json", Plain, auth::key_set),
    ]
}

/// Second factors.
fn factor_routes() -> Vec<Route> {
    use Class::Counted;
    vec![
        post("/api/auth/signin:verify", Counted, factors::verify_sign_in),
        get("/api/auth/factors", Counted, factors::get),
        post("/api/auth/totp", Counted, factors::start_totp),
        post("/api/auth/totp:confirm", Counted, factors::confirm_totp),
        delete("/api/auth/totp", Counted, factors::delete_totp),
        post("/api/auth/recovery-codes", Counted, factors::create_recovery_codes),
        post("/api/auth/passkeys:start", Counted, passkeys::start),
        post("/api/auth/passkeys", Counted, passkeys::create),
        get("/api/auth/passkeys", Counted, passkeys::list),
        patch("/api/auth/passkeys/{passkey_id}", Counted, passkeys::rename),
        delete("/api/auth/passkeys/{passkey_id}", Counted, passkeys::delete),
        post("/api/auth/signin:passkey", Counted, passkeys::sign_in),
    ]
}

/// Proofs of e-mail addresses.
fn email_routes() -> Vec<Route> {
    use Class::Counted;
    vec![
        post("/api/auth/verify", Counted, email::verify),
        post("/api/auth/verify/send", Counted, email::send_verification),
        post("/api/auth/reset", Counted, email::request_reset),
        post("/api/auth/reset/confirm", Counted, email::confirm_reset),
        post("/api/auth/email", Counted, email::change),
        post("/api/auth/email/confirm", Counted, email::confirm_change),
    ]
}

/// Turns and agents.
fn turn_routes() -> Vec<Route> {
    use Class::{Counted, Stream};
    vec![
        post("/api/turns", Counted, turns::start),
        get("/api/turns", Counted, turns::list),
        post("/api/agent/stream", Stream, turns::stream),
        get("/api/turns/{turn_id}", Counted, turns::get),
        get("/api/turns/{turn_id}/events", Stream, turns::events),
        get("/api/turns/{turn_id}/files", Counted, turns::files),
        get("/api/turns/{turn_id}/files/{path=**}", Counted, turns::file),
        post("/api/turns/{turn_id}/cancel", Counted, turns::cancel),
        get("/api/projects/{project_id}/findings", Counted, checks::findings),
        get("/api/agents", Counted, agents::list),
        get("/api/agents/{name}", Counted, agents::get),
        post("/api/agents/select", Counted, agents::select),
        post("/api/turns:plan", Counted, agents::plan),
    ]
}

fn own() -> Vec<Route> {
    use Class::{Counted, Plain, Stream};
    let mut routes = account_pages();
    routes.extend(signed_in_pages());
    routes.extend([
        post("/api/chat", Stream, chat::send),
        get("/api/chat/{id}/stream", Stream, chat::resume),
        post("/api/chat/{id}/stop", Counted, chat::stop),
        post("/api/agui", Stream, agui::run),
        post("/api/auth/device", Counted, device::start),
        post("/api/auth/device/token", Counted, device::token),
        get("/.well-known/oauth-authorization-server", Plain, device::metadata),
        post("/api/projects/import", Counted, imports::import),
        post("/api/projects/{project_id}/import", Counted, imports::import),
        post("/api/projects/{project_id}/publish", Counted, sites::publish),
        get("/healthz", Plain, system::healthz),
        get("/readyz", Plain, system::readyz),
        get("/openapi.json", Plain, system::openapi),
        get("/", Plain, page::index),
        get("/page/{path=**}", Plain, page::file),
    ]);
    routes
}

/// The pages of accounts. Those without a form do not depend on the person.
fn account_pages() -> Vec<Route> {
    use Class::{Counted, Plain};
    vec![
        get("/account/verify", Plain, account_pages::verify_page),
        post("/account/verify", Counted, account_pages::verify),
        get("/account/reset", Plain, account_pages::reset_page),
        post("/account/reset", Counted, account_pages::reset),
        get("/account/reset/confirm", Plain, account_pages::confirm_page),
        post("/account/reset/confirm", Counted, account_pages::confirm),
        get("/account/remove-factor", Plain, account_pages::remove_factor_page),
        post("/account/remove-factor", Counted, account_pages::remove_factor),
        get("/account/sign-in", Plain, account_pages::sign_in_page),
        post("/account/sign-in", Counted, account_pages::sign_in),
        get("/account/sign-up", Plain, account_pages::sign_up_page),
        post("/account/sign-up", Counted, account_pages::sign_up),
        get("/account/oauth/{provider}", Counted, account_pages::provider_start),
        get("/account/oauth/{provider}/callback", Counted, account_pages::provider_callback),
    ]
}

/// The pages of a signed-in person.
fn signed_in_pages() -> Vec<Route> {
    use Class::{Counted, Plain};
    vec![
        get("/account", Plain, account_pages::overview),
        post("/account/sign-out", Counted, account_pages::sign_out),
        get("/account/sessions", Counted, account_pages::sessions_page),
        post("/account/sessions", Counted, account_pages::sessions),
        get("/account/identities", Counted, account_pages::identities_page),
        post("/account/identities", Counted, account_pages::identities),
        get("/account/email", Counted, account_pages::email_page),
        post("/account/email", Counted, account_pages::email),
        get("/account/new-email", Counted, account_pages::new_email_page),
        post("/account/new-email", Counted, account_pages::new_email),
        get("/account/verify-email", Counted, account_pages::verify_email_page),
        post("/account/verify-email", Counted, account_pages::verify_email),
        get("/account/password", Counted, account_pages::password_page),
        post("/account/password", Counted, account_pages::password),
        get("/account/second-factor", Counted, account_pages::second_factor_page),
        post("/account/second-factor", Counted, account_pages::second_factor),
        get("/account/keys", Counted, account_pages::keys_page),
        post("/account/keys", Counted, account_pages::keys),
        get("/account/service-accounts", Counted, account_pages::service_accounts_page),
        post("/account/service-accounts", Counted, account_pages::service_accounts),
        get("/account/provider-keys", Counted, account_pages::provider_keys_page),
        post("/account/provider-keys", Counted, account_pages::provider_keys),
        get("/account/confirm", Counted, account_pages::confirm_identity_page),
        post("/account/confirm", Counted, account_pages::confirm_identity),
        get("/account/device", Counted, account_pages::device_page),
        post("/account/device", Counted, account_pages::device),
        get("/account/export", Counted, account_pages::export_page),
        post("/account/export", Counted, account_pages::export),
        get("/account/delete", Counted, account_pages::delete_page),
        post("/account/delete", Counted, account_pages::delete_account),
    ]
}

fn get<H: Handler<T, Arc<App>>, T: 'static>(template: &'static str, class: Class, handler: H) -> Route {
    Route { method: "GET", template, class, handler: routing::get(handler) }
}

fn post<H: Handler<T, Arc<App>>, T: 'static>(template: &'static str, class: Class, handler: H) -> Route {
    Route { method: "POST", template, class, handler: routing::post(handler) }
}

fn put<H: Handler<T, Arc<App>>, T: 'static>(template: &'static str, class: Class, handler: H) -> Route {
    Route { method: "PUT", template, class, handler: routing::put(handler) }
}

fn patch<H: Handler<T, Arc<App>>, T: 'static>(template: &'static str, class: Class, handler: H) -> Route {
    Route { method: "PATCH", template, class, handler: routing::patch(handler) }
}

fn delete<H: Handler<T, Arc<App>>, T: 'static>(template: &'static str, class: Class, handler: H) -> Route {
    Route { method: "DELETE", template, class, handler: routing::delete(handler) }
}

/// The routes of the main listener.
pub(crate) fn main(app: &Arc<App>) -> Router {
    let mut router = Router::new();
    for Route { method, template, class, handler } in contract().into_iter().chain(own()) {
        let handler = if VERSIONED.contains(&(method, template)) { handler } else { handler.layer(from_fn(refuse_if_match)) };
        let handler = match class {
            Class::Plain => handler,
            Class::Stream => handler.layer(from_fn_with_state(Arc::clone(&app.sessions), identify)),
            Class::Counted => handler
                .layer(from_fn_with_state(Arc::clone(&app.general), rate_limit::general))
                .layer(from_fn_with_state(Arc::clone(&app.sessions), identify)),
        };
        router = router.route(&template.replace("{path=**}", "{*path}"), handler);
    }
    router.method_not_allowed_fallback(method_not_allowed).fallback(not_found).with_state(Arc::clone(app))
}

/// The routes of the listener for previews and sites. The host decides which of them a request is for.
pub(crate) fn previews(app: &Arc<App>) -> Router {
    let previews = preview::with_headers(files(routing::get(preview::file)), &app.origins).with_state(Arc::clone(app));
    if app.origins.sites.is_none() {
        return previews;
    }
    let sites = site::with_headers(files(routing::get(site::file))).with_state(Arc::clone(app));
    let app = Arc::clone(app);
    Router::new().fallback(move |request: Request| {
        let router = if site::slug(&app, &request).is_some() { sites.clone() } else { previews.clone() };
        router.oneshot(request)
    })
}

/// Every path leads to a file.
fn files(file: MethodRouter<Arc<App>>) -> Router<Arc<App>> {
    let router = Router::new().route("/", file.clone()).route("/{*path}", file);
    router.method_not_allowed_fallback(method_not_allowed).fallback(not_found)
}

/// The routes of the listener for metrics.
pub(crate) fn metrics(app: &Arc<App>) -> Router {
    let router = Router::new().route("/metrics", routing::get(system::metrics));
    router.method_not_allowed_fallback(method_not_allowed).fallback(not_found).with_state(Arc::clone(app))
}

/// axum adds `Allow`.
async fn method_not_allowed() -> Failure {
    fault(ErrorCode::InvalidArgument, "METHOD_NOT_ALLOWED", "the path does not support this method; see Allow").into()
}

async fn not_found() -> Failure {
    fault(ErrorCode::NotFound, "ROUTE_NOT_FOUND", "there is no such path").into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::contract::bindings;

    #[test]
    fn every_http_binding_has_exactly_one_route() {
        let annotated: Vec<(&str, String)> = bindings().into_iter().map(|b| (b.method, b.template)).collect();
        let mounted: Vec<(&str, String)> = contract_routes().into_iter().map(|r| (r.method, r.template.to_owned())).collect();
        let (expected, actual) = (annotated.iter().collect::<BTreeSet<_>>(), mounted.iter().collect::<BTreeSet<_>>());
        assert!(annotated.len() > 20, "the bindings can be read");
        assert_eq!(expected, actual);
        assert_eq!((annotated.len(), mounted.len()), (expected.len(), actual.len()), "no binding and no route occurs twice");
    }

    #[test]
    fn own_routes_are_not_in_the_contract() {
        let contract: BTreeSet<_> = contract_routes().into_iter().map(|r| r.template).collect();
        assert!(own_routes().into_iter().all(|r| !contract.contains(r.template)));
    }

    #[test]
    fn the_body_of_a_binding_is_the_whole_request_or_empty_or_a_file() {
        for binding in bindings() {
            let expected = match binding.rpc.name() {
                // Its body is the content of a file.
                "UploadFile" => "data",
                _ if ["GET", "DELETE"].contains(&binding.method) => "",
                _ => "*",
            };
            assert_eq!(binding.body, expected, "{}", binding.template);
            let output = binding.rpc.output();
            assert!(binding.response_body.is_empty() || output.get_field_by_name(&binding.response_body).is_some(), "{}", binding.template);
        }
    }
}
