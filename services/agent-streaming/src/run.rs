//! A turn that has its slot: the tree it works on, then step after step of the model and its tools on a staged copy, then the
//! commit. Nothing outside of the log and the staged copy changes before the commit, so a turn whose process was lost goes on from
//! its log: the finished steps bring the staged copy back, the next one is asked for.

use std::{sync::Arc, time::Duration};

use chassis::planted;
use futures::{FutureExt as _, future::BoxFuture};
use proto::{
    agent_streaming::{
        FileClosed, FileOpened, FileRejected, StepFinished, StepSuperseded, ToolFailed, ToolOutput, TurnStarted, turn_event::Kind,
    },
    error::Fault,
    id::TurnId,
    project_storage::{File, GetTurnTreeResponse, Message},
};

use crate::{
    Parts,
    agents::Agent,
    history,
    journal::{Stopped, TurnLog},
    metrics,
    overlay::{BaseError, BaseFiles, Overlay},
    prompt,
    provider::{FinishReason, ModelMessage, ModelRequest, Provider, ToolResult, ToolSpec, output_limit::SETTING},
    saga,
    step::{self, Asked, Ended, Record, StepLimits},
    tools::{self, ToolOutcome},
    transcript::{Call, Past, Step},
    turn::{Change, Failure, Reason, Turn},
    upstream::{Upstream, insist},
};

/// How long a turn waits for project-storage at its start and while it reads files.
const PATIENCE: Duration = Duration::from_secs(30);

/// Drives a turn that has just got its slot to its end.
pub(crate) async fn run(parts: &Parts, log: &TurnLog, turn: &Turn) -> Result<(), Stopped> {
    drive(parts, log, turn, None).await
}

/// Drives a turn on that another process began. Steps that were finished are not asked for again; of one that was not, nothing
/// counts any more.
pub(crate) async fn go_on(parts: &Parts, log: &TurnLog, turn: &Turn, past: Past) -> Result<(), Stopped> {
    drive(parts, log, turn, Some(past)).await
}

async fn drive(parts: &Parts, log: &TurnLog, turn: &Turn, past: Option<Past>) -> Result<(), Stopped> {
    let started = past.is_some();
    let unfinished = past.as_ref().and_then(Past::unfinished);
    let mut record = Record::new(log, past.map(|past| past.transcript).unwrap_or_default());
    if let Some((from, to)) = unfinished.filter(|_| !planted::is("no-superseded")) {
        record.push(Kind::StepSuperseded(StepSuperseded { from, to })).await?;
    }
    match work(parts, &mut record, turn, started).await {
        Ok(done) => {
            let request = saga::fix(log, turn, &done.base_revision, done.overlay.changes(), &record.transcript.answer).await?;
            saga::commit(parts, log, request).await
        }
        Err(Ended::Failed(failure)) => saga::fail(parts, log, &failure).await,
        Err(Ended::Stopped(stopped)) => Err(stopped),
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
    /// Those of the turn's agent.
    tools: Vec<&'static ToolSpec>,
    limits: StepLimits,
}

/// From the tree and the steps so far to the last step.
async fn work(parts: &Parts, record: &mut Record<'_>, turn: &Turn, started: bool) -> Result<Done, Ended> {
    let (agent, provider, model) = cast(parts, turn)?;
    let (tree, told) = if started { read_base(parts, turn).await? } else { read_project(parts, turn).await? };
    if !started {
        let event = TurnStarted { base_revision: tree.revision.clone(), model: turn.model.clone() };
        record.push_with(Kind::TurnStarted(event), Change::started(tree.revision.clone(), history::ids(&told)?)).await?;
        // The model waits for the commit: a later owner has to know what this one told it.
        record.log.flush().await?;
    }

    let (system, messages) = prompt::build(agent, &told, &tree.files, &turn.prompt);
    let base = TurnFiles { upstream: parts.upstream.clone(), turn: turn.id, revision: tree.revision.clone() };
    let mut overlay = Overlay::new(tree.files, tree.limits.unwrap_or_default());
    let tools = tools::specs(&agent.tools);
    let desk = Desk { turn, provider, model, base, tools, limits: parts.limits.step };
    let mut request = Arc::new(ModelRequest {
        model: desk.model.clone(),
        system,
        messages,
        tools: desk.tools.clone(),
        max_tokens: parts.limits.max_output_tokens,
        prompt_key: turn.id.to_string(),
    });
    let (mut done, mut next) = (false, 1);
    for step in std::mem::take(&mut record.transcript.finished) {
        done = desk.again(&mut overlay, &mut request, step).await?;
        next += 1;
    }
    while !done {
        if next > parts.limits.max_steps {
            return Err(too_many_steps(parts.limits.max_steps).into());
        }
        done = desk.step(record, &mut overlay, &mut request, next).await?;
        next += 1;
    }
    Ok(Done { base_revision: tree.revision, overlay })
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

type Read = (GetTurnTreeResponse, Vec<Message>);

async fn read_project(parts: &Parts, turn: &Turn) -> Result<Read, Failure> {
    tokio::try_join!(tree(parts, turn, &turn.asked_revision), history::first(&parts.upstream, turn, PATIENCE))
}

/// The same for a turn that has started: the base and the messages that it started with.
async fn read_base(parts: &Parts, turn: &Turn) -> Result<Read, Failure> {
    let (tree, told) = tokio::try_join!(tree(parts, turn, &turn.base_revision), history::again(&parts.upstream, turn, PATIENCE))?;
    if turn.base_revision.is_empty() {
        // It began with a project without files; what has come since is the head's.
        return Ok((GetTurnTreeResponse { revision: String::new(), files: Vec::new(), ..tree }, told));
    }
    Ok((tree, told))
}

async fn tree(parts: &Parts, turn: &Turn, revision: &str) -> Result<GetTurnTreeResponse, Failure> {
    insist(Some(PATIENCE), || parts.upstream.tree(turn.id, revision)).await.map_err(|fault| saga::refusal(&fault))
}

impl Desk<'_> {
    /// One answer of the model and its tools. True: the model is done.
    async fn step(
        &self,
        record: &mut Record<'_>,
        overlay: &mut Overlay,
        request: &mut Arc<ModelRequest>,
        step: u32,
    ) -> Result<bool, Ended> {
        let asked = Asked { step, provider: &self.provider, model: &self.turn.model, limits: self.limits };
        let finish = step::ask(record, asked, Arc::clone(request)).await?;
        match finish {
            FinishReason::Length => return Err(truncated(request.max_tokens).into()),
            FinishReason::ContentFilter => return Err(Failure::new(Reason::ProviderRefused, "the model declined to answer").into()),
            FinishReason::Stop | FinishReason::ToolCalls => {}
        }
        let said = record.transcript.take_open();
        let mut results = Vec::new();
        for call in said.calls() {
            let outcome = self.execute(overlay, call).await?;
            for kind in outcome_events(call, &outcome) {
                record.push(kind).await?;
            }
            results.push(result(call, outcome));
        }
        let finished = StepFinished { step, finish_reason: finish.as_str().to_owned() };
        record.push_with(Kind::StepFinished(finished), Change::progress()).await?;
        metrics::step_finished();
        Ok(add(request, said, results))
    }

    /// A step that was finished before: its tools bring the staged tree to where it was. They change nothing else, and on the
    /// same base the same calls have the same results. True: the model was done.
    async fn again(&self, overlay: &mut Overlay, request: &mut Arc<ModelRequest>, step: Step) -> Result<bool, Failure> {
        let mut results = Vec::new();
        for call in step.calls() {
            let outcome = self.execute(overlay, call).await?;
            if outcome.failure.is_some() != call.failed {
                let text = format!("call {} came out otherwise than the turn's log has it", call.id);
                return Err(Failure::new(Reason::Internal, text));
            }
            results.push(result(call, outcome));
        }
        Ok(add(request, step, results))
    }

    async fn execute(&self, overlay: &mut Overlay, call: Call<'_>) -> Result<ToolOutcome, Failure> {
        let outcome = tools::execute(overlay, &self.base, &self.tools, call.tool, call.input).await;
        outcome.map_err(|BaseError(fault)| saga::refusal(&fault))
    }
}

fn too_many_steps(limit: u32) -> Failure {
    let steps = tools::count(limit as usize, "step");
    Failure::new(Reason::TooManySteps, format!("the agent was not done after {steps}"))
}

/// An answer that was cut at a limit: of the model's context, or of the output.
fn truncated(max_tokens: u32) -> Failure {
    let message = format!("the model's answer was cut at its output or context limit ({SETTING} is {max_tokens}; a model may allow less)");
    Failure::new(Reason::Truncated, message)
}

fn result(call: Call<'_>, outcome: ToolOutcome) -> ToolResult {
    ToolResult { call_id: call.id.to_owned(), is_error: outcome.failure.is_some(), content: outcome.content }
}

/// Adds a whole step to what the model is told: every call with its result. True: there was no call.
fn add(request: &mut Arc<ModelRequest>, step: Step, results: Vec<ToolResult>) -> bool {
    let last = step.is_last();
    let request = Arc::make_mut(request);
    request.messages.push(ModelMessage::Assistant { blocks: step.blocks });
    request.messages.push(ModelMessage::ToolResults(results));
    last
}

/// What viewers see of a tool.
fn outcome_events(call: Call<'_>, outcome: &ToolOutcome) -> Vec<Kind> {
    let call_id = || call.id.to_owned();
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
