//! The prompt of a turn: planned and stored when the turn starts, and read again by every later worker. What has changed since, such as the
//! conversation, changes no running turn.

use std::sync::Arc;

use chassis::seeded_bug;
use proto::{
    agent_streaming::{ContextPlanned, TurnStarted, turn_event::Kind},
    project_storage::{GetTurnTreeResponse, Message},
};

use super::{
    base::{READ_TIMEOUT, TurnFiles},
    recorder::{Recorder, RunError},
};
use crate::{
    app::App,
    model::{
        conversation::{self, Conversation},
        message::ToolSpec,
        prompt::Prompt,
    },
    planning::{self, Material, Plan, PlanError},
    store::context,
    turn::{Change, Failure, Reason, Turn},
    upstream::failure_of,
    workspace::overlay::BaseError,
};

/// What a prompt is made of.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// The system prompt.
    pub(super) system: &'a str,
    pub(super) tools: &'a [&'static ToolSpec],
    pub(super) tree: &'a GetTurnTreeResponse,
    pub(super) base: &'a TurnFiles,
}

/// The prompt of a turn. The log has `turn.started` and `context.planned` afterwards, and both are stored.
pub(super) async fn of_turn(app: &App, recorder: &mut Recorder<'_>, turn: &Turn, source: Source<'_>) -> Result<Prompt, RunError> {
    if let Some(plan) = recorder.transcript.context.as_ref().filter(|_| !seeded_bug::is("read-the-conversation-anew")) {
        return stored(app, turn, plan).await;
    }
    let conversation = if recorder.transcript.was_asked {
        // The release before has started the turn, which stores no plan.
        conversation::recorded(&app.upstream, turn, READ_TIMEOUT).await?
    } else {
        // The model has got nothing yet, also if a worker was lost before it stored the plan.
        conversation::newest(&app.upstream, turn, READ_TIMEOUT).await?
    };
    if turn.started_at.is_none() {
        start(recorder, turn, source.tree, &conversation.messages).await?;
    }
    let Plan { event, prompt, parts } = planned(app, turn, source, conversation).await.map_err(run_error)?;
    context::keep_parts(&app.db, turn.id, &parts).await?;
    recorder.push(Kind::ContextPlanned(event)).await?;
    // The plan must be stored before the model gets the prompt, so that a later worker sends the same one.
    recorder.log.flush().await?;
    Ok(prompt)
}

async fn start(recorder: &mut Recorder<'_>, turn: &Turn, tree: &GetTurnTreeResponse, messages: &[Message]) -> Result<(), RunError> {
    let event = TurnStarted { base_revision: tree.revision.clone(), model: turn.model.clone(), locked_paths: tree.locked_paths.clone() };
    let change = Change::started(tree.revision.clone(), conversation::stored(messages)?);
    Ok(recorder.push_with(Kind::TurnStarted(event), change).await?)
}

async fn planned(app: &App, turn: &Turn, source: Source<'_>, conversation: Conversation) -> Result<Plan, PlanError> {
    let material = Material {
        user: turn.user_id,
        project: turn.project_id,
        files: source.tree.files.clone(),
        limits: source.tree.limits.unwrap_or_default(),
        base: Arc::new(source.base.clone()),
        conversation,
        system: source.system.to_owned(),
        tools: source.tools.to_vec(),
        prompt: turn.prompt.clone(),
        plan: turn.plan.clone(),
        pinned: turn.pinned.clone(),
        excluded: turn.excluded.clone(),
    };
    planning::plan(&app.db, &app.upstream, app.limits.context, material).await
}

/// The prompt that the plan of the log is of.
async fn stored(app: &App, turn: &Turn, plan: &ContextPlanned) -> Result<Prompt, RunError> {
    let texts = context::find_parts(&app.db, turn.id, &plan.part_ids).await?;
    let missing = || Failure::new(Reason::Internal, "the prompt that the turn has started with can no longer be read");
    Ok(texts.and_then(planning::prompt).ok_or_else(missing)?)
}

/// What becomes of a turn without a plan: it fails, or another worker continues it.
fn run_error(error: PlanError) -> RunError {
    let failure = match error {
        PlanError::TooLong(_) | PlanError::Pin(_) => Failure::new(Reason::PromptTooLong, error.to_string()),
        PlanError::PinMissing(_) => Failure::new(Reason::PinMissing, error.to_string()),
        PlanError::Files(BaseError(fault)) => failure_of(&fault),
        PlanError::Store(error) => return error.into(),
    };
    failure.into()
}
