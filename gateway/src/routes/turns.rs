//! Turns: start, look, follow, stop.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use proto::agent_streaming::{CancelTurnRequest, GetTurnRequest, ListTurnsRequest, StartTurnRequest, StreamTurnEventsRequest};

use super::idempotency;
use crate::{
    app::App,
    auth::Signed,
    error::{Failure, invalid},
    follow::Viewer,
    json::{Json, PROMPT, Params, Reply, Target, created, present, reply, wrong::got},
    sse::{Format, cursor},
};

/// Names the turn before its first event arrives.
const TURN_ID: HeaderName = HeaderName::from_static("x-backlot-turn-id");

pub(crate) async fn start(
    State(app): State<Arc<App>>,
    signed: Signed,
    headers: HeaderMap,
    Json(mut request, _share): Json<StartTurnRequest, PROMPT>,
) -> Reply {
    idempotency(&headers, &mut request.idempotency_key, "idempotency_key")?;
    let (turn, replayed) = app.upstream.start_turn(&signed.context, request).await?;
    Ok(replayed.tell(created(&turn, &location(&turn.id))?))
}

/// Starts a turn and follows it in the same answer.
pub(crate) async fn stream(
    State(app): State<Arc<App>>,
    signed: Signed,
    headers: HeaderMap,
    Json(mut request, _share): Json<StartTurnRequest, PROMPT>,
) -> Reply {
    idempotency(&headers, &mut request.idempotency_key, "idempotency_key")?;
    // Before the turn exists, so that a refusal starts nothing.
    let open = app.streams.open(signed.user.id)?;
    let (turn, replayed) = app.upstream.start_turn(&signed.context, request).await?;
    let viewer = Viewer::new(Arc::clone(&app), signed, turn.id.clone(), Box::new(Format::wanted(&headers)), open);
    Ok(replayed.tell(named(viewer.follow_started().await?, &turn.id)))
}

/// An event stream that says whose it is.
pub(super) fn named(mut response: Response, turn: &str) -> Response {
    if response.status() == StatusCode::OK {
        for (name, value) in [(TURN_ID, turn.to_owned()), (header::LOCATION, location(turn))] {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
    }
    response
}

fn location(turn: &str) -> String {
    format!("/api/turns/{turn}")
}

pub(crate) async fn get(State(app): State<Arc<App>>, signed: Signed, Params(request): Params<GetTurnRequest>) -> Reply {
    reply(&present(app.upstream.agents().get_turn(signed.context.request(request)).await?.into_inner().turn)?)
}

pub(crate) async fn list(State(app): State<Arc<App>>, signed: Signed, Params(request): Params<ListTurnsRequest>) -> Reply {
    reply(&app.upstream.agents().list_turns(signed.context.request(request)).await?.into_inner())
}

/// Follows a turn from where the viewer was.
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    signed: Signed,
    headers: HeaderMap,
    Params(request): Params<StreamTurnEventsRequest>,
) -> Reply {
    let after = cursor(&headers, request.after).ok_or_else(|| not_a_cursor(&headers))?;
    let open = app.streams.open(signed.user.id)?;
    let viewer = Viewer::new(Arc::clone(&app), signed, request.turn_id, Box::new(Format::wanted(&headers)), open);
    if request.compact { viewer.compact() } else { viewer }.follow(after).await
}

pub(super) fn not_a_cursor(headers: &HeaderMap) -> Failure {
    let sent = headers.get("last-event-id").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default();
    no_number("Last-Event-ID", &sent)
}

/// What must be the number of an event is none.
pub(super) fn no_number(field: &str, text: &str) -> Failure {
    invalid(field, format!("must be a whole number from 0 to {}; got {}", u32::MAX, got(text)))
}

pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    signed: Signed,
    target: Target,
    Json(mut request, _share): Json<CancelTurnRequest>,
) -> Reply {
    target.bind(&mut request.turn_id, "turn_id")?;
    reply(&present(app.upstream.agents().cancel_turn(signed.context.request(request)).await?.into_inner().turn)?)
}
