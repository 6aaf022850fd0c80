//! One step: an answer of the model, then its tools on the staged files.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use proto::{
    agent_streaming::{FileClosed, FileOpened, FileRejected, StepFinished, ToolFailed, ToolOutput, turn_event::Kind},
    error::Fault,
    id::TurnId,
    project_storage::File,
};

use super::{
    attempt::{self, Record, RunError, StepContext, StepLimits},
    commit,
};
use crate::{
    metrics,
    model::provider::{FinishReason, ModelMessage, ModelRequest, Provider, ToolResult, ToolSpec, output_limit::SETTING},
    turn::{
        Change, Failure, Reason, Turn,
        transcript::{Call, Step},
    },
    upstream::{Upstream, retry_until_answered},
    workspace::{
        overlay::{BaseError, BaseFiles, Overlay},
        tools::{self, ToolOutcome},
    },
};

/// How long a turn waits for project-storage at its start and while it reads files.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What every step of the turn needs.
pub(super) struct StepRunner<'a> {
    pub(super) turn: &'a Turn,
    pub(super) provider: Arc<dyn Provider>,
    /// As the provider calls it.
    pub(super) model: String,
    pub(super) base: TurnFiles,
    /// Those of the turn's agent.
    pub(super) tools: Vec<&'static ToolSpec>,
    pub(super) limits: StepLimits,
}

impl StepRunner<'_> {
    /// One answer of the model and its tools. True: the model is done.
    pub(super) async fn run(
        &self,
        record: &mut Record<'_>,
        overlay: &mut Overlay,
        request: &mut Arc<ModelRequest>,
        step: u32,
    ) -> Result<bool, RunError> {
        let asked = StepContext { step, provider: &self.provider, model: &self.turn.model, limits: self.limits };
        let finish = attempt::ask(record, asked, Arc::clone(request)).await?;
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
    pub(super) async fn replay(&self, overlay: &mut Overlay, request: &mut Arc<ModelRequest>, step: Step) -> Result<bool, Failure> {
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
        outcome.map_err(|BaseError(fault)| commit::refusal(&fault))
    }
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
pub(super) struct TurnFiles {
    pub(super) upstream: Upstream,
    pub(super) turn: TurnId,
    pub(super) revision: String,
}

impl BaseFiles for TurnFiles {
    fn read<'a>(&'a self, paths: &'a [String]) -> BoxFuture<'a, Result<Vec<File>, BaseError>> {
        async move {
            let files = retry_until_answered(Some(PATIENCE), || self.upstream.files(self.turn, &self.revision, paths.to_vec())).await;
            files.map_err(|fault: Fault| BaseError(fault))
        }
        .boxed()
    }
}
