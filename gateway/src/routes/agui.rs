//! AG-UI runs over turns.

use std::sync::Arc;

use axum::extract::State;

use super::turns::with_turn_headers;
use crate::{
    app::App,
    chat::agui::{
        request::{Run, RunAgentInput},
        stream::AguiStream,
    },
    identity::authenticate::Authenticated,
    json::{body::Json, limits::CHAT, reply::Reply},
    stream::event_stream::EventStream,
};

/// Runs the agent. A repetition of a run follows the same turn.
pub(crate) async fn run(State(app): State<Arc<App>>, caller: Authenticated, Json(body, _share): Json<RunAgentInput, CHAT>) -> Reply {
    let Run { thread, run, start } = body.read()?;
    // Before the turn exists, so that a refusal starts nothing.
    let permit = app.streams.open(caller.user.id)?;
    let (turn, replay) = app.upstream.start_turn(&caller.context, start).await?;
    let id = turn.id.clone();
    let projection = AguiStream::new(turn, thread, run);
    let stream = EventStream::new(&app, caller, id.clone(), Box::new(projection), permit).compact();
    Ok(replay.mark(with_turn_headers(stream.begin().await?, &id)))
}
