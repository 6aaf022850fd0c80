//! Checks of files.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::extract::State;
use proto::agent_streaming::GetFindingsRequest;

use crate::{
    app::App,
    identity::authenticate::Authenticated,
    json::{
        params::Params,
        reply::{Reply, reply},
    },
};

/// The time for the files of a check, in addition to the limit of compile.
const READ_TIME: Duration = Duration::from_secs(30);

pub(crate) async fn findings(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<GetFindingsRequest>) -> Reply {
    let mut context = caller.context;
    context.deadline = Some(Instant::now() + app.config.build_timeout + READ_TIME);
    reply(app.upstream.agents().get_findings(context.request(request)).await?.get_ref())
}
