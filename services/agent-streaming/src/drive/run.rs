//! Runs a turn that has its slot: reads the base tree, runs steps (the model, then its tools on the staged files), then commits. Before
//! the commit only the log and the staged files change. So a worker can resume a turn from its log: it replays the tools of the
//! finished steps to restore the staged files, and continues with the next step.

use std::sync::Arc;

use chassis::seeded_bug;
use proto::{
    agent_streaming::{StepSuperseded, TurnStarted, turn_event::Kind},
    project_storage::{GetTurnTreeResponse, Message},
};

use super::{
    commit,
    final_check::{FinalCheck, Next},
    recorder::{Recorder, RunError},
    step::{READ_TIMEOUT, StepRunner, TurnFiles},
};
use crate::{
    app::App,
    log::journal::{TurnLog, WriteError},
    model::{
        agents::{Agent, Agents},
        conversation, prompt,
        provider::{ModelRequest, Provider, Providers},
    },
    turn::{Change, Failure, Reason, Turn, transcript::RecordedTurn},
    upstream::{Upstream, failure_of, retry_until_answered},
    workspace::{overlay::Overlay, tools},
};

/// Runs a turn that has its slot to its end. `recorded` is the log of a turn that another worker has started: its finished steps are not
/// repeated, and its unfinished step is superseded.
pub(crate) async fn run(app: &App, log: &TurnLog, turn: &Turn, recorded: Option<RecordedTurn>) -> Result<(), WriteError> {
    let started = recorded.is_some();
    let unfinished = recorded.as_ref().and_then(RecordedTurn::unfinished);
    let mut recorder = Recorder::new(log, recorded.map(|recorded| recorded.transcript).unwrap_or_default());
    if let Some((from, to)) = unfinished.filter(|_| !seeded_bug::is("no-superseded")) {
        recorder.push(Kind::StepSuperseded(StepSuperseded { from, to })).await?;
    }
    match run_steps(app, &mut recorder, turn, started).await {
        Ok(StagedFiles { base_revision, overlay }) => {
            let request = commit::seal(log, turn, &base_revision, overlay.changes(), &recorder.transcript).await?;
            commit::commit(&app.upstream, &app.outbox, log, request).await
        }
        Err(RunError::Failed(failure)) => commit::fail(&app.outbox, log, &failure).await,
        Err(RunError::Write(error)) => Err(error),
    }
}

/// The files to commit.
struct StagedFiles {
    base_revision: String,
    overlay: Overlay,
}

/// Replays the finished steps and runs the others, until the model calls no more tools.
async fn run_steps(app: &App, recorder: &mut Recorder<'_>, turn: &Turn, started: bool) -> Result<StagedFiles, RunError> {
    let (agent, provider, model) = agent_and_model(&app.agents, &app.providers, turn)?;
    let (tree, conversation) = if started { read_started(&app.upstream, turn).await? } else { read_new(&app.upstream, turn).await? };
    if !started {
        let event =
            TurnStarted { base_revision: tree.revision.clone(), model: turn.model.clone(), locked_paths: tree.locked_paths.clone() };
        recorder.push_with(Kind::TurnStarted(event), Change::started(tree.revision.clone(), conversation::ids(&conversation)?)).await?;
        // The ids of the messages must be stored before the model gets them, so that a later worker sends the same messages.
        recorder.log.flush().await?;
    }

    let (system, messages) = prompt::build(agent, &conversation, &tree.files, &turn.prompt);
    let base = TurnFiles { upstream: app.upstream.clone(), turn: turn.id, revision: tree.revision.clone() };
    // The locks at the start, which are in the log: a worker that replays the tools gets the same refusals. The commit checks the present
    // locks.
    let locked = recorder.transcript.locked_paths.clone();
    let mut overlay = Overlay::new(tree.files, tree.limits.unwrap_or_default()).with_locked(locked);
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
    run_to_commit(recorder, &runner, (&mut overlay, &mut request), app.limits.max_steps).await?;
    Ok(StagedFiles { base_revision: tree.revision, overlay })
}

/// Replays the finished steps and runs the others, until the files are to be committed.
async fn run_to_commit(
    recorder: &mut Recorder<'_>,
    runner: &StepRunner<'_>,
    (overlay, request): (&mut Overlay, &mut Arc<ModelRequest>),
    max_steps: u32,
) -> Result<(), RunError> {
    let mut check = FinalCheck::default();
    let mut recorded = std::mem::take(&mut recorder.transcript.checks).into_iter().peekable();
    let (mut done, mut next) = (false, 1);
    for (number, step) in (1..).zip(std::mem::take(&mut recorder.transcript.finished)) {
        done = runner.replay(overlay, request, step).await?;
        next += 1;
        while let Some((_, checks)) = recorded.next_if(|(after, _)| *after == number) {
            done = check.replay(request, checks) == Next::Commit;
        }
    }
    loop {
        while !done {
            if next > max_steps {
                return Err(too_many_steps(max_steps).into());
            }
            done = runner.run(recorder, overlay, request, next).await?;
            next += 1;
        }
        match check.run(recorder, runner, (&mut *overlay, &mut *request), next <= max_steps).await? {
            Next::Commit => return Ok(()),
            Next::Correct => done = false,
        }
    }
}

/// The agent and the model of the turn. Both existed when the turn was accepted; a changed configuration may have removed them.
fn agent_and_model<'a>(agents: &'a Agents, providers: &Providers, turn: &Turn) -> Result<(&'a Agent, Arc<dyn Provider>, String), Failure> {
    let agent = agents.get(&turn.agent);
    let agent = agent.ok_or_else(|| Failure::new(Reason::Internal, format!("this cluster no longer has the agent {:?}", turn.agent)))?;
    let model = providers.get(&turn.model);
    let (provider, model) =
        model.ok_or_else(|| Failure::new(Reason::Internal, format!("this cluster no longer has the model {:?}", turn.model)))?;
    Ok((agent, provider, model))
}

type TreeAndConversation = (GetTurnTreeResponse, Vec<Message>);

/// Reads the base tree and the messages of a turn that has not started.
async fn read_new(upstream: &Upstream, turn: &Turn) -> Result<TreeAndConversation, Failure> {
    tokio::try_join!(read_tree(upstream, turn, &turn.asked_revision), conversation::newest(upstream, turn, READ_TIMEOUT))
}

/// Reads the base tree and the messages that a turn has started with.
async fn read_started(upstream: &Upstream, turn: &Turn) -> Result<TreeAndConversation, Failure> {
    let (tree, conversation) =
        tokio::try_join!(read_tree(upstream, turn, &turn.base_revision), conversation::recorded(upstream, turn, READ_TIMEOUT))?;
    if turn.base_revision.is_empty() {
        // The project had no revision when the turn started. The tree may be that of a newer head, so its files are ignored.
        return Ok((GetTurnTreeResponse { revision: String::new(), files: Vec::new(), ..tree }, conversation));
    }
    Ok((tree, conversation))
}

async fn read_tree(upstream: &Upstream, turn: &Turn, revision: &str) -> Result<GetTurnTreeResponse, Failure> {
    retry_until_answered(Some(READ_TIMEOUT), || upstream.tree(turn.id, revision)).await.map_err(|fault| failure_of(&fault))
}

fn too_many_steps(limit: u32) -> Failure {
    let steps = tools::count(limit as usize, "step");
    Failure::new(Reason::TooManySteps, format!("the agent was not done after {steps} (BACKLOT_MAX_STEPS)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failure_of_too_many_steps_names_the_limit() {
        for (limit, steps) in [(1, "1 step"), (30, "30 steps")] {
            assert_eq!(too_many_steps(limit).message, format!("the agent was not done after {steps} (BACKLOT_MAX_STEPS)"));
        }
    }
}
