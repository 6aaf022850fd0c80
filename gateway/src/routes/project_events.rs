//! The events of a project.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap};
use proto::project_storage::WatchProjectRequest;

use super::turns::invalid_cursor;
use crate::{
    app::App,
    identity::authenticate::Authenticated,
    json::{params::Params, reply::Reply},
    stream::{
        event_stream::EventStream,
        sse::{Format, last_event_id},
    },
};

/// Streams what happens to a project after the client's cursor.
pub(crate) async fn watch(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    Params(request): Params<WatchProjectRequest>,
) -> Reply {
    let after = last_event_id(&headers).ok_or_else(|| invalid_cursor(&headers))?.or(request.after);
    let permit = app.streams.open(caller.user.id)?;
    EventStream::of_project(&app, caller, request.project_id, Format::requested(&headers), permit).watch(after).await
}
