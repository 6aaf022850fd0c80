//! AG-UI runs over turns.

use std::sync::Arc;

use axum::extract::State;

use super::turns::named;
use crate::{
    agui::{
        request::{Run, RunAgentInput},
        stream::AguiStream,
    },
    app::App,
    auth::Signed,
    follow::Viewer,
    json::{CHAT, Json, Reply},
};

/// Runs the agent; the same run again is the same turn.
pub(crate) async fn run(State(app): State<Arc<App>>, signed: Signed, Json(body, _share): Json<RunAgentInput, CHAT>) -> Reply {
    let Run { thread, run, start } = body.read()?;
    // Before the turn exists, so that a refusal starts nothing.
    let open = app.streams.open(signed.user.id)?;
    let (turn, replayed) = app.upstream.start_turn(&signed.context, start).await?;
    let id = turn.id.clone();
    let stream = AguiStream::new(turn, thread, run);
    let viewer = Viewer::new(Arc::clone(&app), signed, id.clone(), Box::new(stream), open).compact();
    Ok(replayed.tell(named(viewer.follow_started().await?, &id)))
}
