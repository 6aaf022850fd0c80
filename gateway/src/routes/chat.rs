//! Chats: the AI SDK's routes over turns.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use proto::agent_streaming::{CancelTurnRequest, Turn, TurnState};
use serde::{Deserialize, Serialize};

use super::{
    Replayed, idempotency,
    turns::{named, no_number, not_a_cursor},
};
use crate::{
    app::App,
    auth::Signed,
    chat::{
        Chat,
        request::ChatRequest,
        stream::{Level, UiStream},
        turns::{Plan, Turns},
    },
    follow::Viewer,
    json::{CHAT, Json, Params, Reply, Target, reply},
    sse::cursor,
};

/// Answers a message.
pub(crate) async fn send(
    State(app): State<Arc<App>>,
    signed: Signed,
    headers: HeaderMap,
    Json(body, _share): Json<ChatRequest, CHAT>,
) -> Reply {
    let level = Level::wanted(&headers)?;
    let mut key = String::new();
    idempotency(&headers, &mut key, "Idempotency-Key")?;
    let asked = body.read()?;
    // Before the turn exists, so that a refusal starts nothing.
    let open = app.streams.open(signed.user.id)?;
    let turns = Turns { app: &app, signed: &signed, chat: &asked.chat };
    let (turn, replayed) = match turns.plan(&asked).await? {
        Plan::Attach(turn) => (*turn, Replayed(true)),
        Plan::Start { replaces } => app.upstream.start_turn(&signed.context, asked.start(&replaces, key)).await?,
    };
    let id = turn.id.clone();
    let stream = UiStream::new(turn, level, 0);
    let viewer = Viewer::new(Arc::clone(&app), signed, id.clone(), Box::new(stream), open).compact();
    Ok(replayed.tell(named(viewer.follow_started().await?, &id)))
}

/// The parameters of a client that comes back.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Resume {
    id: String,
    /// The last event that the client has.
    #[serde(default)]
    after: String,
    /// The turn that the event is of.
    #[serde(default)]
    turn_id: String,
}

/// Follows the turn that runs, from its first chunk or from where the client was.
pub(crate) async fn resume(State(app): State<Arc<App>>, signed: Signed, headers: HeaderMap, Params(request): Params<Resume>) -> Reply {
    let level = Level::wanted(&headers)?;
    let chat = Chat::parse(&request.id, "id")?;
    let number = || no_number("after", &request.after);
    let after = if request.after.is_empty() { 0 } else { request.after.parse().map_err(|_| number())? };
    let after = cursor(&headers, after).ok_or_else(|| not_a_cursor(&headers))?;
    let open = app.streams.open(signed.user.id)?;
    let turns = Turns { app: &app, signed: &signed, chat: &chat };
    let turn = match request.turn_id.as_str() {
        // A client that has a part wants the rest, also of a turn that has ended meanwhile.
        "" => turns.latest(after == 0).await?,
        id => turns.turn(id).await?,
    };
    let Some(turn) = turn.filter(|turn| after == 0 || after < turn.last_seq || !has_ended(turn)) else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let id = turn.id.clone();
    let viewer = Viewer::new(Arc::clone(&app), signed, id.clone(), Box::new(UiStream::new(turn, level, after)), open);
    // What the client has is gone through event by event, as it was when it came.
    let viewer = if after == 0 { viewer.compact() } else { viewer };
    Ok(named(viewer.follow(0).await?, &id))
}

fn has_ended(turn: &Turn) -> bool {
    matches!(turn.state(), TurnState::Completed | TurnState::Failed | TurnState::Cancelled | TurnState::Conflicted)
}

/// The body of a stop. The client's copy of the answer, which it may send along, is not read: we have our own.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stop {
    /// The turn that the client sees.
    active_stream_id: Option<String>,
}

#[derive(Serialize)]
struct Stopped {
    success: bool,
}

/// Stops what runs or waits, or only the turn that is named; that nothing does is as good.
pub(crate) async fn stop(State(app): State<Arc<App>>, signed: Signed, target: Target, Json(body, _share): Json<Stop, CHAT>) -> Reply {
    let chat = Chat::parse(&target.0, "id")?;
    let turns = Turns { app: &app, signed: &signed, chat: &chat }.open().await?;
    let meant = |turn: &&Turn| body.active_stream_id.as_ref().is_none_or(|id| id.is_empty() || *id == turn.id);
    for turn in turns.iter().filter(meant) {
        let request = signed.context.request(CancelTurnRequest { turn_id: turn.id.clone() });
        app.upstream.agents().cancel_turn(request).await?;
    }
    reply(&Stopped { success: true })
}
