//! Runs a turn that has its slot: reads the base tree, runs steps (the model, then its tools on the staged files), then commits. Before
//! the commit only the log and the staged files change. So a worker can resume a turn from its log: it replays the tools of the
//! finished steps to restore the staged files, and continues with the next step.

use std::sync::Arc;

use chassis::seeded_bug;
use proto::{
    agent_streaming::{StepSuperseded, turn_event::Kind},
    error::Fault,
    project_storage::GetTurnTreeResponse,
};

use super::{
    base::{READ_TIMEOUT, TurnFiles, started_tree, tree},
    commit,
    final_check::{FinalCheck, Next},
    instructions, prompt,
    recorder::{Recorder, RunError},
    step::StepRunner,
};
use crate::{
    app::App,
    digest::sha256,
    log::journal::{TurnLog, WriteError},
    model::{
        agents::Agent,
        prompt::Prompt,
        provider::{ModelMessage, ModelRequest, Provider},
        skills::Skills,
    },
    store::StoreError,
    turn::{
        Failure, Reason, Turn,
        transcript::{RecordedTurn, Transcript},
    },
    upstream::failure_of,
    workspace::{overlay::Overlay, tools},
};

/// Why a worker stops driving a turn before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the database failed")]
    Store(#[from] StoreError),
}

/// Runs a turn that has its slot to its end. `recorded` is the log of a turn that another worker has started: its finished steps are not
/// repeated, and its unfinished step is superseded. Without its agent the turn fails.
pub(crate) async fn run(app: &App, log: &TurnLog, turn: &Turn, stored: Stored, recorded: Option<RecordedTurn>) -> Result<(), DriveError> {
    let started = recorded.is_some();
    let unfinished = recorded.as_ref().and_then(RecordedTurn::unfinished);
    let transcript = recorded.map_or_else(|| Transcript::new(turn.usage), |recorded| recorded.transcript);
    let mut recorder = Recorder::new(log, transcript);
    if let Some((from, to)) = unfinished.filter(|_| !seeded_bug::is("no-superseded")) {
        recorder.push(Kind::StepSuperseded(StepSuperseded { from, to })).await?;
    }
    match run_steps(app, &mut recorder, turn, stored, started).await {
        Ok(StagedFiles { base_revision, overlay }) => {
            let request = commit::seal(log, turn, &base_revision, overlay.changes(), &recorder.transcript).await?;
            Ok(commit::commit(&app.upstream, &app.outbox, log, request).await?)
        }
        Err(RunError::Failed(failure)) => Ok(commit::fail(&app.outbox, log, &failure).await?),
        Err(RunError::Write(error)) => Err(error.into()),
        Err(RunError::Store(error)) => Err(error.into()),
    }
}

/// What the database has for a turn as it was when the turn was accepted. Each is absent if it no longer exists.
pub(crate) struct Stored {
    pub(crate) agent: Option<Agent>,
    /// The skills of the cluster.
    pub(crate) skills: Option<Arc<Skills>>,
}

/// The files to commit.
struct StagedFiles {
    base_revision: String,
    overlay: Overlay,
}

/// Replays the finished steps and runs the others, until the model calls no more tools.
async fn run_steps(app: &App, recorder: &mut Recorder<'_>, turn: &Turn, stored: Stored, started: bool) -> Result<StagedFiles, RunError> {
    let missing = || Failure::new(Reason::Internal, format!("this cluster no longer has the agent {:?}", turn.agent));
    let agent = stored.agent.ok_or_else(missing)?;
    let (provider, model) = provider_and_model(app, turn)?;
    let tree = if started { started_tree(&app.upstream, turn, READ_TIMEOUT).await } else { new_tree(app, turn).await };
    let tree = tree.map_err(|fault| failure_of(&fault))?;
    let base = TurnFiles { upstream: app.upstream.clone(), turn: turn.id, revision: tree.revision.clone(), timeout: READ_TIMEOUT };
    let instructions = instructions::of_turn(turn, (&agent, stored.skills.as_deref()), &base, &tree.files).await?;
    let (system, tools) = (instructions.system(&agent), instructions.tools());
    let source = prompt::Source { system: &system, tools: &tools, tree: &tree, base: &base };
    let prompt = prompt::of_turn(app, recorder, turn, source).await?;
    // The locks at the start, which are in the log: a worker that replays the tools gets the same refusals. The commit checks the present
    // locks.
    let locked = recorder.transcript.locked_paths.clone();
    let mut overlay = Overlay::new(tree.files, tree.limits.unwrap_or_default()).with_locked(locked);
    let (limits, window) = (app.limits.step, app.limits.context.window);
    let runner = StepRunner { turn, provider, model, base, instructions, tools, limits, window };
    let mut request = Arc::new(first_request(&runner, prompt, app.limits.max_output_tokens));
    run_to_commit(recorder, &runner, (&mut overlay, &mut request), app.limits.max_steps).await?;
    Ok(StagedFiles { base_revision: tree.revision, overlay })
}

/// The request of a turn's first step.
fn first_request(runner: &StepRunner<'_>, prompt: Prompt, max_tokens: u32) -> ModelRequest {
    let Prompt { system, tree, history: mut messages, request } = prompt;
    let history = messages.len();
    messages.push(ModelMessage::User { text: request });
    let (model, tools) = (runner.model.clone(), runner.tools.clone());
    ModelRequest { model, system, tree, messages, history, tools, max_tokens, prompt_key: prompt_key(runner.turn) }
}

/// Turns of one agent on one project share most of their prompts.
fn prompt_key(turn: &Turn) -> String {
    let project = turn.project_id.map(|id| id.to_string()).unwrap_or_default();
    sha256(format!("{project} {}", turn.agent))[..32].to_owned()
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
            if next > max_steps && check.is_correcting() {
                // The model was done before the correction, so the files are committed as they are now.
                break;
            }
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

/// The model existed when the turn was accepted; a changed configuration may have removed it.
fn provider_and_model(app: &App, turn: &Turn) -> Result<(Arc<dyn Provider>, String), Failure> {
    let missing = || Failure::new(Reason::Internal, format!("this cluster no longer has the model {:?}", turn.model));
    let Some(key) = turn.provider_key else { return app.providers.get(&turn.model).ok_or_else(missing) };
    let (_, model) = app.providers.parts(&turn.model).ok_or_else(missing)?;
    Ok((Arc::new(app.own_keys.provider(key, turn)), model.to_owned()))
}

/// The tree of a turn that has not started.
async fn new_tree(app: &App, turn: &Turn) -> Result<GetTurnTreeResponse, Fault> {
    tree(&app.upstream, turn, &turn.asked_revision, READ_TIMEOUT).await
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
