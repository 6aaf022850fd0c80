//! A cluster whose model answers as a script of a journey needs it.

use anyhow::Result;
use test_support::{
    Cluster,
    model_server::{Answer, At, ModelServer, Refusal, Request, Script},
    script::Gates,
};

/// Chooses the answer to a request.
pub(crate) type Answers = fn(&Request, &Gates) -> Answer;

/// Starts a model server that answers with `answers`, and a cluster that uses it, with these settings on top.
pub(crate) async fn start(answers: Answers, gates: &Gates, settings: &[(&str, &str)]) -> Result<(ModelServer, Cluster)> {
    let gates = gates.clone();
    let models = ModelServer::start(Script::with(move |_, request| Some(answers(request, &gates)))).await;
    let model = [("ANTHROPIC_API_KEY", "sk-ant-canary"), ("ANTHROPIC_BASE_URL", models.url()), ("BACKLOT_MODEL", "anthropic/claude-test")];
    let cluster = Cluster::with(&[&model[..], settings].concat()).await?;
    Ok((models, cluster))
}

/// An answer that waits in the middle until the gate opens.
pub(crate) fn held(gate: &str, gates: &Gates) -> Answer {
    Answer::default().text("This takes a while, but then it is done.").fragments(5).hold_at(At::Event(5), &gates.of(gate))
}

/// The refusal of a prompt that the script does not know.
pub(crate) fn refused() -> Answer {
    Answer::refuse(Refusal { status: 400, message: "as the script says".into(), retry_after: None, should_retry: None })
}
