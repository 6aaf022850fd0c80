//! AG-UI runs over turns.

use std::sync::Arc;

use axum::extract::State;

use super::turn_stream::{Form, TurnStream};
use crate::{
    app::App,
    chat::agui::{
        request::{Run, RunAgentInput},
        stream::AguiStream,
    },
    identity::authenticate::Authenticated,
    json::{body::Json, limits::CHAT, reply::Reply},
};

/// Runs the agent. A repetition of a run follows the same turn.
pub(crate) async fn run(State(app): State<Arc<App>>, caller: Authenticated, Json(body, _share): Json<RunAgentInput, CHAT>) -> Reply {
    let Run { thread, run, start } = body.read()?;
    let stream = TurnStream::open(app, caller)?;
    let (turn, replay) = stream.start_turn(start).await?;
    stream.respond(&turn.id.clone(), replay, AguiStream::new(turn, thread, run), Form::Compact).await
}
