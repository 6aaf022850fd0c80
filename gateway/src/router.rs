//! Every route, on one page. The first part is the contract's: its methods and templates are those of `google.api.http`, as a
//! test proves. The second part is the gateway's own.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    middleware::{from_fn, from_fn_with_state},
    routing::{self, MethodRouter},
};
use proto::error::ErrorCode;

use crate::{
    app::App,
    auth::identify,
    error::{Failure, fault},
    limit, page, preview,
    routes::{agents, agui, auth, chat, conflicts, projects, system, turns, unversioned},
};

/// What is asked before a handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Who asks, and the policy `general`.
    Counted,
    /// Who asks; event streams have a limit of their own.
    Stream,
    /// Nothing: keys, health, documents and the page.
    Plain,
}

/// The routes whose handlers look at `If-Match`, because what they are about has an ETag.
pub(crate) const VERSIONED: [(&str, &str); 9] = [
    ("GET", "/api/projects/{project_id}"),
    ("PATCH", "/api/projects/{project_id}"),
    ("DELETE", "/api/projects/{project_id}"),
    ("POST", "/api/projects/save"),
    ("POST", "/api/projects/{project_id}/changes"),
    ("GET", "/api/projects/{project_id}/files/{path=**}"),
    ("POST", "/api/projects/{project_id}/conflicts/{turn_id}/resolve"),
    ("GET", "/"),
    ("GET", "/page/{path=**}"),
];

/// One method on one path.
struct Route {
    method: &'static str,
    /// As `google.api.http` spells it.
    template: &'static str,
    class: Class,
    handler: MethodRouter<Arc<App>>,
}

/// A route as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mounted {
    pub method: &'static str,
    pub template: &'static str,
}

/// The routes of the contract.
#[must_use]
pub fn contract_routes() -> Vec<Mounted> {
    contract().iter().map(mounted).collect()
}

/// The gateway's own routes.
#[must_use]
pub fn own_routes() -> Vec<Mounted> {
    own().iter().map(mounted).collect()
}

fn mounted(route: &Route) -> Mounted {
    Mounted { method: route.method, template: route.template }
}

fn contract() -> Vec<Route> {
    use Class::{Counted, Plain, Stream};
    vec![
        post("/api/auth/signup", Counted, auth::sign_up),
        post("/api/auth/signin", Counted, auth::sign_in),
        post("/api/auth/signout", Counted, auth::sign_out),
        get("/api/auth/session", Counted, auth::session),
        post("/api/auth/token", Counted, auth::token),
        get("/.well-known/jwks.json", Plain, auth::key_set),
        post("/api/projects", Counted, projects::create),
        get("/api/projects", Counted, projects::list),
        get("/api/projects/{project_id}", Counted, projects::get),
        patch("/api/projects/{project_id}", Counted, projects::update),
        delete("/api/projects/{project_id}", Counted, projects::delete),
        post("/api/projects/save", Counted, projects::save),
        post("/api/projects/{project_id}/changes", Counted, projects::change),
        get("/api/projects/load", Counted, projects::load),
        get("/api/projects/{project_id}/files", Counted, projects::files),
        get("/api/projects/{project_id}/files/{path=**}", Counted, projects::file),
        get("/api/projects/{project_id}/revisions", Counted, projects::revisions),
        get("/api/projects/{project_id}/messages", Counted, projects::messages),
        get("/api/projects/{project_id}/conflicts/{turn_id}", Counted, conflicts::get),
        post("/api/projects/{project_id}/conflicts/{turn_id}/resolve", Counted, conflicts::resolve),
        post("/api/projects/{project_id}/previews", Counted, projects::preview),
        delete("/api/projects/{project_id}/previews/{capability}", Counted, projects::end_preview),
        post("/api/turns", Counted, turns::start),
        get("/api/turns", Counted, turns::list),
        post("/api/agent/stream", Stream, turns::stream),
        get("/api/turns/{turn_id}", Counted, turns::get),
        get("/api/turns/{turn_id}/events", Stream, turns::events),
        post("/api/turns/{turn_id}/cancel", Counted, turns::cancel),
        get("/api/agents", Counted, agents::list),
        get("/api/agents/{name}", Counted, agents::get),
    ]
}

fn own() -> Vec<Route> {
    use Class::{Counted, Plain, Stream};
    vec![
        post("/api/chat", Stream, chat::send),
        get("/api/chat/{id}/stream", Stream, chat::resume),
        post("/api/chat/{id}/stop", Counted, chat::stop),
        post("/api/agui", Stream, agui::run),
        get("/healthz", Plain, system::healthz),
        get("/readyz", Plain, system::readyz),
        get("/openapi.json", Plain, system::openapi),
        get("/", Plain, page::index),
        get("/page/{path=**}", Plain, page::file),
    ]
}

fn get<H: Handler<T, Arc<App>>, T: 'static>(template: &'static str, class: Class, handler: H) -> Route {
    Route { method: "GET", template, class, handler: routing::get(handler) }
}

fn post<H: Handler<T, Arc<App>>, T: 'static>(template: &'static str, class: Class, handler: H) -> Route {
    Route { method: "POST", template, class, handler: routing::post(handler) }
}

fn patch<H: Handler<T, Arc<App>>, T: 'static>(template: &'static str, class: Class, handler: H) -> Route {
    Route { method: "PATCH", template, class, handler: routing::patch(handler) }
}

fn delete<H: Handler<T, Arc<App>>, T: 'static>(template: &'static str, class: Class, handler: H) -> Route {
    Route { method: "DELETE", template, class, handler: routing::delete(handler) }
}

/// The main listener without its outer stack.
pub(crate) fn main(app: &Arc<App>) -> Router {
    let mut router = Router::new();
    for Route { method, template, class, handler } in contract().into_iter().chain(own()) {
        let handler = if VERSIONED.contains(&(method, template)) { handler } else { handler.layer(from_fn(unversioned)) };
        let handler = match class {
            Class::Plain => handler,
            Class::Stream => handler.layer(from_fn_with_state(Arc::clone(app), identify)),
            Class::Counted => {
                handler.layer(from_fn_with_state(Arc::clone(app), limit::general)).layer(from_fn_with_state(Arc::clone(app), identify))
            }
        };
        router = router.route(&template.replace("{path=**}", "{*path}"), handler);
    }
    router.method_not_allowed_fallback(wrong_method).fallback(nothing).with_state(Arc::clone(app))
}

/// The listener for previews without its outer stack: nothing else is there.
pub(crate) fn previews(app: &Arc<App>) -> Router {
    let file = routing::get(preview::file);
    let router = Router::new().route("/", file.clone()).route("/{*path}", file);
    let router = router.method_not_allowed_fallback(wrong_method).fallback(nothing);
    preview::headers(router, &app.origins).with_state(Arc::clone(app))
}

/// The listener for metrics without its outer stack.
pub(crate) fn metrics(app: &Arc<App>) -> Router {
    let router = Router::new().route("/metrics", routing::get(system::metrics));
    router.method_not_allowed_fallback(wrong_method).fallback(nothing).with_state(Arc::clone(app))
}

/// axum adds `Allow`.
async fn wrong_method() -> Failure {
    fault(ErrorCode::InvalidArgument, "METHOD_NOT_ALLOWED", "this path does not take that method; see Allow").into()
}

async fn nothing() -> Failure {
    fault(ErrorCode::NotFound, "ROUTE_NOT_FOUND", "there is no such path").into()
}
