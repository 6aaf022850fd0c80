//! The routes of projects: their files, history, conversation, sites and templates.

use super::{Class, Route, delete, get, patch, post, put};
use crate::routes::{
    archives, conflicts, contents, files, forks, history, messages, project_events, projects, provider_keys, sites, templates, usage,
};

/// Projects, their files, archives and previews.
pub(super) fn project_routes() -> Vec<Route> {
    use Class::Counted;
    vec![
        post("/api/projects", Counted, projects::create),
        get("/api/projects", Counted, projects::list),
        get("/api/projects/{project_id}", Counted, projects::get),
        patch("/api/projects/{project_id}", Counted, projects::update),
        delete("/api/projects/{project_id}", Counted, projects::delete),
        get("/api/usage", Counted, usage::account),
        get("/api/usage/tokens", Counted, usage::tokens),
        post("/api/provider-keys", Counted, provider_keys::create),
        get("/api/provider-keys", Counted, provider_keys::list),
        patch("/api/provider-keys/{key_id}", Counted, provider_keys::update),
        delete("/api/provider-keys/{key_id}", Counted, provider_keys::delete),
        get("/api/projects/{project_id}/usage", Counted, projects::project_usage),
        post("/api/projects/{project_id}/undelete", Counted, projects::undelete),
        post("/api/projects/{project_id}/fork", Counted, forks::fork),
        post("/api/projects/{project_id}/merge", Counted, forks::merge),
        get("/api/projects/{project_id}/forks", Counted, forks::list),
        post("/api/projects/save", Counted, projects::save),
        post("/api/projects/{project_id}/changes", Counted, projects::change),
        get("/api/projects/load", Counted, projects::load),
        get("/api/projects/{project_id}/files", Counted, projects::files),
        get("/api/projects/{project_id}/files/{path=**}", Counted, projects::file),
        put("/api/projects/{project_id}/files/{path=**}", Counted, files::upload),
        delete("/api/projects/{project_id}/files/{path=**}", Counted, files::delete),
        get("/api/projects/{project_id}/raw/{path=**}", Counted, files::raw),
        post("/api/projects/{project_id}/read", Counted, contents::read),
        get("/api/projects/{project_id}/search", Counted, projects::search),
        get("/api/projects/{project_id}/export", Counted, archives::export),
        post("/api/projects/{project_id}/previews", Counted, projects::preview),
        delete("/api/projects/{project_id}/previews/{capability}", Counted, projects::end_preview),
    ]
}

/// Published sites.
pub(super) fn site_routes() -> Vec<Route> {
    use Class::Counted;
    vec![
        get("/api/projects/{project_id}/site", Counted, sites::get),
        delete("/api/projects/{project_id}/site", Counted, sites::unpublish),
        get("/api/projects/{project_id}/deployments", Counted, sites::deployments),
        post("/api/projects/{project_id}/deployments/{number}/activate", Counted, sites::activate),
        get("/api/projects/{project_id}/deployments/{number}/export", Counted, sites::export),
    ]
}

/// The history of a project.
pub(super) fn history_routes() -> Vec<Route> {
    use Class::{Counted, Stream};
    vec![
        get("/api/projects/{project_id}/events", Stream, project_events::watch),
        get("/api/projects/{project_id}/revisions", Counted, history::list),
        get("/api/projects/{project_id}/revisions/{revision}", Counted, history::get),
        post("/api/projects/{project_id}/revisions/{revision}/restore", Counted, history::restore),
        post("/api/projects/{project_id}/revisions/{revision}/revert", Counted, history::revert),
        post("/api/projects/{project_id}/turns/{turn_id}/revert", Counted, history::revert_turn),
        post("/api/projects/{project_id}/undo", Counted, history::undo),
        post("/api/projects/{project_id}/redo", Counted, history::redo),
        get("/api/projects/{project_id}/diff", Counted, history::diff),
        get("/api/projects/{project_id}/history/{path=**}", Counted, history::of_file),
        get("/api/projects/{project_id}/blame/{path=**}", Counted, history::blame),
        get("/api/projects/{project_id}/labels", Counted, history::labels),
        put("/api/projects/{project_id}/labels/{label}", Counted, history::set_label),
        delete("/api/projects/{project_id}/labels/{label}", Counted, history::delete_label),
        get("/api/projects/{project_id}/locks", Counted, history::locks),
        put("/api/projects/{project_id}/locks/{path=**}", Counted, history::set_lock),
        delete("/api/projects/{project_id}/locks/{path=**}", Counted, history::delete_lock),
    ]
}

/// Messages and conflicts.
pub(super) fn conversation_routes() -> Vec<Route> {
    use Class::Counted;
    vec![
        get("/api/projects/{project_id}/messages", Counted, projects::messages),
        get("/api/messages/search", Counted, messages::search),
        patch("/api/projects/{project_id}/messages/{message_id}", Counted, messages::update),
        delete("/api/projects/{project_id}/messages/{message_id}", Counted, messages::delete),
        put("/api/projects/{project_id}/messages/{message_id}/reaction", Counted, messages::set_reaction),
        delete("/api/projects/{project_id}/messages/{message_id}/reaction", Counted, messages::delete_reaction),
        get("/api/projects/{project_id}/conflicts", Counted, conflicts::list),
        get("/api/projects/{project_id}/conflicts/{turn_id}", Counted, conflicts::get),
        post("/api/projects/{project_id}/conflicts/{turn_id}/resolve", Counted, conflicts::resolve),
    ]
}

/// Templates.
pub(super) fn template_routes() -> Vec<Route> {
    use Class::Counted;
    vec![
        post("/api/templates", Counted, templates::publish),
        get("/api/templates", Counted, templates::list),
        get("/api/templates/{template_id}", Counted, templates::get),
        delete("/api/templates/{template_id}", Counted, templates::unpublish),
        get("/api/templates/{template_id}/files/{path=**}", Counted, templates::file),
        post("/api/templates/{template_id}/use", Counted, templates::use_template),
        get("/api/templates/{template_id}/reviews", Counted, templates::reviews),
        put("/api/templates/{template_id}/review", Counted, templates::rate),
        delete("/api/templates/{template_id}/review", Counted, templates::delete_review),
        put("/api/templates/{template_id}/report", Counted, templates::report),
    ]
}
