//! Turns: start, read, stream, cancel, and read their staged files.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap};
use proto::agent_streaming::{
    CancelTurnRequest, GetStagedFileRequest, GetTurnRequest, ListStagedFilesRequest, ListTurnsRequest, StartTurnRequest,
    StreamTurnEventsRequest,
};

use super::{
    projects::conditional_reply,
    turn_stream::{Form, TurnStream, location},
};
use crate::{
    app::App,
    error::{Failure, invalid},
    http::{headers::LAST_EVENT_ID, idempotency::read_key},
    identity::authenticate::Authenticated,
    json::{
        body::Json,
        diagnostics::quoted_value,
        limits::PROMPT,
        params::{Params, PathParam},
        reply::{Reply, created, reply},
    },
    stream::{
        event_stream::EventStream,
        sse::{Format, cursor},
    },
    upstream::present,
};

pub(crate) async fn start(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    Json(request, _share): Json<StartTurnRequest, PROMPT>,
) -> Reply {
    let request = with_key(request, &headers)?;
    let (turn, replay) = app.upstream.start_turn(&caller.context, request).await?;
    Ok(replay.mark(created(&turn, &location(&turn.id))?))
}

/// Starts a turn and streams its events in the same response.
pub(crate) async fn stream(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    Json(request, _share): Json<StartTurnRequest, PROMPT>,
) -> Reply {
    let request = with_key(request, &headers)?;
    let stream = TurnStream::open(app, caller)?;
    let (turn, replay) = stream.start_turn(request).await?;
    stream.respond(&turn.id, replay, Format::requested(&headers), Form::Original).await
}

fn with_key(mut request: StartTurnRequest, headers: &HeaderMap) -> Result<StartTurnRequest, Failure> {
    read_key(headers, &mut request.idempotency_key, "idempotency_key")?;
    Ok(request)
}

pub(crate) async fn get(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<GetTurnRequest>) -> Reply {
    reply(&present(app.upstream.agents().get_turn(caller.context.request(request)).await?.into_inner().turn)?)
}

pub(crate) async fn list(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListTurnsRequest>) -> Reply {
    reply(&app.upstream.agents().list_turns(caller.context.request(request)).await?.into_inner())
}

/// Streams the events of a turn after the client's cursor.
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    Params(request): Params<StreamTurnEventsRequest>,
) -> Reply {
    let after = cursor(&headers, request.after).ok_or_else(|| invalid_cursor(&headers))?;
    let permit = app.streams.open(caller.user.id)?;
    let stream = EventStream::new(&app, caller, request.turn_id, Box::new(Format::requested(&headers)), permit);
    if request.compact { stream.compact() } else { stream }.resume(after).await
}

pub(super) fn invalid_cursor(headers: &HeaderMap) -> Failure {
    let sent = headers.get(LAST_EVENT_ID).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default();
    invalid_number("Last-Event-ID", &sent)
}

/// The failure of a text that is not the number of an event.
pub(super) fn invalid_number(field: &str, text: &str) -> Failure {
    invalid(field, format!("must be a whole number from 0 to {}; got {}", u32::MAX, quoted_value(text)))
}

pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    id: PathParam,
    Json(mut request, _share): Json<CancelTurnRequest>,
) -> Reply {
    id.bind(&mut request.turn_id, "turn_id")?;
    reply(&present(app.upstream.agents().cancel_turn(caller.context.request(request)).await?.into_inner().turn)?)
}

pub(crate) async fn files(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListStagedFilesRequest>) -> Reply {
    reply(app.upstream.agents().list_staged_files(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn file(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    Params(request): Params<GetStagedFileRequest>,
) -> Reply {
    let file = present(app.upstream.agents().get_staged_file(caller.context.request(request)).await?.into_inner().file)?;
    conditional_reply(&headers, &file, &file.etag)
}
