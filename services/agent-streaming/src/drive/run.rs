//! A turn that has its slot: the tree it works on, then step after step of the model and its tools on a staged copy, then the
//! commit. Nothing outside of the log and the staged copy changes before the commit, so a turn whose process was lost goes on from
//! its log: the finished steps bring the staged copy back, the next one is asked for.

use std::sync::Arc;

use chassis::seeded_bug;
use proto::{
    agent_streaming::{StepSuperseded, TurnStarted, turn_event::Kind},
    project_storage::{GetTurnTreeResponse, Message},
};

use super::{
    attempt::{Record, RunError},
    commit,
    step::{PATIENCE, StepRunner, TurnFiles},
};
use crate::{
    app::App,
    log::journal::{TurnLog, WriteError},
    model::{
        agents::Agent,
        history, prompt,
        provider::{ModelRequest, Provider},
    },
    turn::{Change, Failure, Reason, Turn, transcript::RecordedTurn},
    upstream::retry_until_answered,
    workspace::{overlay::Overlay, tools},
};

/// Runs a turn that has its slot to its end. With a past it was begun by another process: steps that were finished are not asked for
/// again, and of one that was not, nothing counts any more.
pub(crate) async fn run(app: &App, log: &TurnLog, turn: &Turn, past: Option<RecordedTurn>) -> Result<(), WriteError> {
    let started = past.is_some();
    let unfinished = past.as_ref().and_then(RecordedTurn::unfinished);
    let mut record = Record::new(log, past.map(|past| past.transcript).unwrap_or_default());
    if let Some((from, to)) = unfinished.filter(|_| !seeded_bug::is("no-superseded")) {
        record.push(Kind::StepSuperseded(StepSuperseded { from, to })).await?;
    }
    match work(app, &mut record, turn, started).await {
        Ok(done) => {
            let request = commit::seal(log, turn, &done.base_revision, done.overlay.changes(), &record.transcript.answer).await?;
            commit::commit(app, log, request).await
        }
        Err(RunError::Failed(failure)) => commit::fail(app, log, &failure).await,
        Err(RunError::Write(stopped)) => Err(stopped),
    }
}

/// What is to be committed.
struct Done {
    base_revision: String,
    overlay: Overlay,
}

/// From the tree and the steps so far to the last step.
async fn work(app: &App, record: &mut Record<'_>, turn: &Turn, started: bool) -> Result<Done, RunError> {
    let (agent, provider, model) = agent_and_model(app, turn)?;
    let (tree, told) = if started { read_base(app, turn).await? } else { read_project(app, turn).await? };
    if !started {
        let event = TurnStarted { base_revision: tree.revision.clone(), model: turn.model.clone() };
        record.push_with(Kind::TurnStarted(event), Change::started(tree.revision.clone(), history::ids(&told)?)).await?;
        // The model waits for the commit: a later owner has to know what this one told it.
        record.log.flush().await?;
    }

    let (system, messages) = prompt::build(agent, &told, &tree.files, &turn.prompt);
    let base = TurnFiles { upstream: app.upstream.clone(), turn: turn.id, revision: tree.revision.clone() };
    let mut overlay = Overlay::new(tree.files, tree.limits.unwrap_or_default());
    let tools = tools::specs(&agent.tools);
    let runner = StepRunner { turn, provider, model, base, tools, limits: app.limits.step };
    let mut request = Arc::new(ModelRequest {
        model: runner.model.clone(),
        system,
        messages,
        tools: runner.tools.clone(),
        max_tokens: app.limits.max_output_tokens,
        prompt_key: turn.id.to_string(),
    });
    let (mut done, mut next) = (false, 1);
    for step in std::mem::take(&mut record.transcript.finished) {
        done = runner.replay(&mut overlay, &mut request, step).await?;
        next += 1;
    }
    while !done {
        if next > app.limits.max_steps {
            return Err(too_many_steps(app.limits.max_steps).into());
        }
        done = runner.run(record, &mut overlay, &mut request, next).await?;
        next += 1;
    }
    Ok(Done { base_revision: tree.revision, overlay })
}

/// The agent and the model of the turn; both were there when it was accepted.
fn agent_and_model<'a>(app: &'a App, turn: &Turn) -> Result<(&'a Agent, Arc<dyn Provider>, String), Failure> {
    let agent = app.agents.get(&turn.agent);
    let agent = agent.ok_or_else(|| Failure::new(Reason::Internal, format!("this cluster has no agent {:?} any more", turn.agent)))?;
    let model = app.providers.get(&turn.model);
    let (provider, model) =
        model.ok_or_else(|| Failure::new(Reason::Internal, format!("this cluster has no model {:?} any more", turn.model)))?;
    Ok((agent, provider, model))
}

type Read = (GetTurnTreeResponse, Vec<Message>);

async fn read_project(app: &App, turn: &Turn) -> Result<Read, Failure> {
    tokio::try_join!(tree(app, turn, &turn.asked_revision), history::first(&app.upstream, turn, PATIENCE))
}

/// The same for a turn that has started: the base and the messages that it started with.
async fn read_base(app: &App, turn: &Turn) -> Result<Read, Failure> {
    let (tree, told) = tokio::try_join!(tree(app, turn, &turn.base_revision), history::again(&app.upstream, turn, PATIENCE))?;
    if turn.base_revision.is_empty() {
        // It began with a project without files; what has come since is the head's.
        return Ok((GetTurnTreeResponse { revision: String::new(), files: Vec::new(), ..tree }, told));
    }
    Ok((tree, told))
}

async fn tree(app: &App, turn: &Turn, revision: &str) -> Result<GetTurnTreeResponse, Failure> {
    retry_until_answered(Some(PATIENCE), || app.upstream.tree(turn.id, revision)).await.map_err(|fault| commit::refusal(&fault))
}

fn too_many_steps(limit: u32) -> Failure {
    let steps = tools::count(limit as usize, "step");
    Failure::new(Reason::TooManySteps, format!("the agent was not done after {steps}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_of_too_many_steps_says_how_many() {
        for (limit, said) in [(1, "1 step"), (30, "30 steps")] {
            assert_eq!(too_many_steps(limit).message, format!("the agent was not done after {said}"));
        }
    }
}
