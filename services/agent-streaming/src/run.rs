//! A turn that has its slot: the tree it works on, then step after step of the model and its tools on a staged copy, then the
//! commit. Nothing outside of the log and the staged copy changes before the commit.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use proto::{
    agent_streaming::{
        FileClosed, FileOpened, FileRejected, StepFinished, StepStarted, ToolFailed, ToolOutput, TurnStarted, turn_event::Kind,
    },
    error::Fault,
    id::TurnId,
    project_storage::{File, GetTurnTreeResponse, Message},
};

use crate::{
    Parts,
    agents::Agent,
    answer::Answer,
    journal::{Stopped, TurnLog},
    overlay::{BaseError, BaseFiles, Overlay},
    prompt,
    provider::{FinishReason, ModelMessage, ModelRequest, Provider, ToolResult},
    saga,
    step::{self, Call, Ended, Meter, Record},
    tools::{self, ToolOutcome},
    turn::{Change, Failure, Reason, Turn},
    upstream::{Upstream, insist},
};

/// How long a turn waits for project-storage at its start and while it reads files.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages of the conversation that the prompt is made from.
const HISTORY: i32 = 50;

/// Drives a turn to its end.
pub(crate) async fn run(parts: &Parts, log: &TurnLog, turn: &Turn) -> Result<(), Stopped> {
    let mut record = Record { log, answer: Answer::default(), meter: Meter::default() };
    let ended = match work(parts, &mut record, turn).await {
        Ok(done) => {
            let request = saga::fix(log, turn, &done.base_revision, done.overlay.changes(), &record.answer).await?;
            return saga::commit(parts, log, request).await;
        }
        Err(ended) => ended,
    };
    match ended {
        Ended::Failed(failure) => saga::fail(parts, log, &failure, record.answer.text()).await,
        Ended::Stopped(stopped) => Err(stopped),
    }
}

/// What is to be committed.
struct Done {
    base_revision: String,
    overlay: Overlay,
}

/// What every step of the turn needs.
struct Desk<'a> {
    turn: &'a Turn,
    provider: Arc<dyn Provider>,
    /// As the provider calls it.
    model: String,
    base: TurnFiles,
}

async fn work(parts: &Parts, record: &mut Record<'_>, turn: &Turn) -> Result<Done, Ended> {
    let (agent, provider, model) = cast(parts, turn)?;
    let (tree, history) = read_project(parts, turn).await?;
    let started = TurnStarted { base_revision: tree.revision.clone(), model: turn.model.clone() };
    // The model need not wait for the commit: who claimed the turn owns it, and nothing is shown before it is written.
    record.log.push_with(Kind::TurnStarted(started), Change::started(tree.revision.clone())).await?;

    let (system, messages) = prompt::build(agent, &history, &tree.files, &turn.prompt);
    let base = TurnFiles { upstream: parts.upstream.clone(), turn: turn.id, revision: tree.revision.clone() };
    let mut overlay = Overlay::new(tree.files, tree.limits.unwrap_or_default());
    let desk = Desk { turn, provider, model, base };
    let mut request = ModelRequest {
        model: desk.model.clone(),
        system,
        messages,
        tools: tools::specs(&agent.tools),
        max_tokens: parts.limits.max_output_tokens,
        prompt_key: turn.id.to_string(),
    };
    for step in 1..=parts.limits.max_steps {
        if desk.step(record, &mut overlay, &mut request, step).await? {
            return Ok(Done { base_revision: tree.revision, overlay });
        }
    }
    Err(Failure::new(Reason::TooManySteps, format!("the agent was not done after {} steps", parts.limits.max_steps)).into())
}

/// The agent and the model of the turn; both were there when it was accepted.
fn cast<'a>(parts: &'a Parts, turn: &Turn) -> Result<(&'a Agent, Arc<dyn Provider>, String), Failure> {
    let agent = parts.agents.get(&turn.agent);
    let agent = agent.ok_or_else(|| Failure::new(Reason::Internal, format!("this cluster has no agent {:?} any more", turn.agent)))?;
    let model = parts.providers.get(&turn.model);
    let (provider, model) =
        model.ok_or_else(|| Failure::new(Reason::Internal, format!("this cluster has no model {:?} any more", turn.model)))?;
    Ok((agent, provider, model))
}

async fn read_project(parts: &Parts, turn: &Turn) -> Result<(GetTurnTreeResponse, Vec<Message>), Failure> {
    let tree = insist(Some(PATIENCE), || parts.upstream.tree(turn.id, &turn.asked_revision));
    let history = insist(Some(PATIENCE), || parts.upstream.messages(turn.id, HISTORY));
    tokio::try_join!(tree, history).map_err(|fault| saga::refusal(&fault))
}

impl Desk<'_> {
    /// One answer of the model and its tools. True: the model is done.
    async fn step(&self, record: &mut Record<'_>, overlay: &mut Overlay, request: &mut ModelRequest, step: u32) -> Result<bool, Ended> {
        record.push(Kind::StepStarted(StepStarted { step })).await?;
        let said = step::ask(record, &self.provider, &self.turn.model, request.clone()).await?;
        match said.finish {
            FinishReason::Length => return Err(Failure::new(Reason::Truncated, "the model's answer was cut at its longest").into()),
            FinishReason::ContentFilter => return Err(Failure::new(Reason::ProviderRefused, "the model declined to answer").into()),
            FinishReason::Stop | FinishReason::ToolCalls => {}
        }
        let done = said.calls.is_empty();
        let mut results = Vec::with_capacity(said.calls.len());
        for call in &said.calls {
            results.push(self.call(record, overlay, call).await?);
        }
        let finish_reason = said.finish.as_str().to_owned();
        record.push(Kind::StepFinished(StepFinished { step, finish_reason })).await?;
        request.messages.push(ModelMessage::Assistant { blocks: said.blocks });
        request.messages.push(ModelMessage::ToolResults(results));
        Ok(done)
    }

    async fn call(&self, record: &mut Record<'_>, overlay: &mut Overlay, call: &Call) -> Result<ToolResult, Ended> {
        let outcome = tools::execute(overlay, &self.base, &call.tool, &call.input).await;
        let outcome = outcome.map_err(|BaseError(fault)| saga::refusal(&fault))?;
        for kind in outcome_events(call, &outcome) {
            record.push(kind).await?;
        }
        Ok(ToolResult { call_id: call.id.clone(), is_error: outcome.failure.is_some(), content: outcome.content })
    }
}

/// What viewers see of a tool.
fn outcome_events(call: &Call, outcome: &ToolOutcome) -> Vec<Kind> {
    let call_id = || call.id.clone();
    let mut kinds = Vec::new();
    if let Some(file) = &outcome.file {
        let before = file.from.as_ref().unwrap_or(&file.path).clone();
        if !call.opened {
            kinds.push(Kind::FileOpened(FileOpened { call_id: call_id(), path: before.clone(), operation: file.operation as i32 }));
        }
        kinds.push(match &outcome.failure {
            None => Kind::FileClosed(FileClosed { call_id: call_id(), path: file.path.clone(), size_bytes: file.size }),
            Some(failure) => Kind::FileRejected(FileRejected {
                call_id: call_id(),
                path: before,
                reason: failure.reason.to_owned(),
                nearest_region: failure.nearest_region.clone(),
                nearest_line: failure.nearest_line,
            }),
        });
    }
    kinds.push(match &outcome.failure {
        None => Kind::ToolOutput(ToolOutput { call_id: call_id(), summary: outcome.summary.clone() }),
        Some(failure) => {
            Kind::ToolFailed(ToolFailed { call_id: call_id(), reason: failure.reason.to_owned(), message: failure.message.clone() })
        }
    });
    kinds
}

/// The base revision, as project-storage has it.
struct TurnFiles {
    upstream: Upstream,
    turn: TurnId,
    revision: String,
}

impl BaseFiles for TurnFiles {
    fn read<'a>(&'a self, paths: &'a [String]) -> BoxFuture<'a, Result<Vec<File>, BaseError>> {
        async move {
            let files = insist(Some(PATIENCE), || self.upstream.files(self.turn, &self.revision, paths.to_vec())).await;
            files.map_err(|fault: Fault| BaseError(fault))
        }
        .boxed()
    }
}
