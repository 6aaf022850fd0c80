//! Chats: the AI SDK's routes over turns.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use proto::agent_streaming::{CancelTurnRequest, Turn};
use serde::{Deserialize, Serialize};

use super::{
    turn_stream::{Form, TurnStream, with_turn_headers},
    turns::{invalid_cursor, invalid_number},
};
use crate::{
    app::App,
    chat::{
        ai_sdk::{
            request::ChatRequest,
            stream::{Level, UiStream},
            turns::{ChatTurns, Plan},
        },
        conversation::ChatId,
    },
    http::idempotency::{Replay, read_key},
    identity::authenticate::Authenticated,
    json::{
        body::Json,
        limits::CHAT,
        params::{Params, PathParam},
        reply::{Reply, reply},
    },
    stream::{event_stream::EventStream, sse::cursor},
};

/// Answers a message.
pub(crate) async fn send(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    Json(body, _share): Json<ChatRequest, CHAT>,
) -> Reply {
    let level = Level::requested(&headers)?;
    let mut key = String::new();
    read_key(&headers, &mut key, "Idempotency-Key")?;
    let prompt = body.read()?;
    let stream = TurnStream::open(app, caller)?;
    let turns = ChatTurns { upstream: &stream.app.upstream, caller: &stream.caller, chat: &prompt.chat };
    let (turn, replay) = match turns.plan(&prompt).await? {
        Plan::Attach(turn) => (*turn, Replay(true)),
        Plan::Start { replaces } => stream.start_turn(prompt.into_request(&replaces, key)).await?,
    };
    stream.respond(&turn.id.clone(), replay, UiStream::new(turn, level, 0), Form::Compact).await
}

/// The parameters of a client that resumes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ResumeRequest {
    id: String,
    /// The number of the last event that the client has.
    #[serde(default)]
    after: String,
    /// The turn of that event.
    #[serde(default)]
    turn_id: String,
}

/// Streams the running turn, from its first chunk or after the client's cursor.
pub(crate) async fn resume(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    Params(request): Params<ResumeRequest>,
) -> Reply {
    let level = Level::requested(&headers)?;
    let chat = ChatId::parse(&request.id, "id")?;
    let invalid = || invalid_number("after", &request.after);
    let after = if request.after.is_empty() { 0 } else { request.after.parse().map_err(|_| invalid())? };
    let after = cursor(&headers, after).ok_or_else(|| invalid_cursor(&headers))?;
    let permit = app.streams.open(caller.user.id)?;
    let turns = ChatTurns { upstream: &app.upstream, caller: &caller, chat: &chat };
    let turn = match request.turn_id.as_str() {
        // A client that has a part wants the rest, even if the turn has ended in the meantime.
        "" => turns.latest(after == 0).await?,
        id => turns.turn(id).await?,
    };
    let Some(turn) = turn.filter(|turn| after == 0 || after < turn.last_seq || !turn.state().has_ended()) else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let id = turn.id.clone();
    let stream = EventStream::new(&app, caller, id.clone(), Box::new(UiStream::new(turn, level, after)), permit);
    // To restore the state of a client that has a part, events are needed as they were sent.
    let stream = if after == 0 { stream.compact() } else { stream };
    Ok(with_turn_headers(stream.resume(0).await?, &id))
}

/// The body of a stop. A client may also send its copy of the answer, which is not read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StopRequest {
    /// The turn that the client follows.
    active_stream_id: Option<String>,
}

#[derive(Serialize)]
struct StopResponse {
    success: bool,
}

/// Cancels the turns that run or wait, or only the named one. It is not an error if there are none.
pub(crate) async fn stop(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    PathParam(id): PathParam,
    Json(body, _share): Json<StopRequest, CHAT>,
) -> Reply {
    let chat = ChatId::parse(&id, "id")?;
    let turns = ChatTurns { upstream: &app.upstream, caller: &caller, chat: &chat }.open().await?;
    let is_selected = |turn: &&Turn| body.active_stream_id.as_ref().is_none_or(|id| id.is_empty() || *id == turn.id);
    for turn in turns.iter().filter(is_selected) {
        let request = caller.context.request(CancelTurnRequest { turn_id: turn.id.clone() });
        app.upstream.agents().cancel_turn(request).await?;
    }
    reply(&StopResponse { success: true })
}
