//! Runs one step: requests an answer of the model, then executes its tool calls on the staged files.

use std::sync::Arc;

use chassis::{seeded_bug, task::blocking_and_wait};
use proto::agent_streaming::{
    ChecksFinished, FileClosed, FileOpened, FileRejected, StepFinished, ToolFailed, ToolOutput, turn_event::Kind,
};
use serde_json::Value;

use super::{
    attempt::{self, StepContext, StepLimits},
    base::TurnFiles,
    instructions::Instructions,
    recorder::{Recorder, RunError},
};
#[cfg(feature = "seeded-bugs")]
use crate::seeded_bugs;
use crate::{
    check::{
        findings::{self, Checks},
        staged,
    },
    metrics,
    model::{
        provider::{FinishReason, ModelMessage, ModelRequest, Provider, ToolResult, ToolSpec, output_limit::SETTING},
        size,
    },
    turn::{
        Change, Failure, Reason, Turn,
        transcript::{Call, Step},
    },
    upstream::failure_of,
    workspace::{
        overlay::{BaseError, Overlay},
        tools::{
            self, ToolOutcome,
            catalogue::{CHECK, READ_SKILL},
        },
    },
};

/// Runs the steps of one turn.
pub(super) struct StepRunner<'a> {
    pub(super) turn: &'a Turn,
    pub(super) provider: Arc<dyn Provider>,
    /// The provider's own name of the model.
    pub(super) model: String,
    pub(super) base: TurnFiles,
    pub(super) instructions: Instructions,
    /// The tools of the turn.
    pub(super) tools: Vec<&'static ToolSpec>,
    pub(super) limits: StepLimits,
    /// The tokens of a request with its answer.
    pub(super) window: u32,
}

impl StepRunner<'_> {
    /// Runs a step and adds it to the request. Returns whether the model is done.
    pub(super) async fn run(
        &self,
        recorder: &mut Recorder<'_>,
        overlay: &mut Overlay,
        request: &mut Arc<ModelRequest>,
        step: u32,
    ) -> Result<bool, RunError> {
        let counted = Arc::clone(request);
        let tokens = blocking_and_wait(move || size::of_request(&counted)).await;
        if let Err(text) = size::check(tokens, self.window, request.max_tokens) {
            return Err(Failure::new(Reason::PromptTooLong, format!("{text}; the steps of the turn have grown too long")).into());
        }
        let context = StepContext { step, provider: &self.provider, model: &self.turn.model, limits: self.limits, tokens };
        let finish = attempt::ask_model(recorder, context, Arc::clone(request)).await?;
        match finish {
            FinishReason::Length => return Err(truncated(request.max_tokens).into()),
            FinishReason::ContentFilter => return Err(Failure::new(Reason::ProviderRefused, "the model declined to answer").into()),
            FinishReason::Stop | FinishReason::ToolCalls => {}
        }
        let answer = recorder.transcript.take_open();
        let mut results = Vec::new();
        for call in answer.calls() {
            let outcome = self.execute(overlay, call).await?;
            for kind in outcome_events(call, &outcome) {
                recorder.push(kind).await?;
            }
            results.push(result(call, outcome));
        }
        let finished = StepFinished { step, finish_reason: finish.as_str().to_owned() };
        recorder.push_with(Kind::StepFinished(finished), Change::progress()).await?;
        metrics::step_finished();
        Ok(add_step(request, answer, results))
    }

    /// Executes the tool calls of a finished step again to restore the staged files, and adds the step to the request. The tools change
    /// only the staged files, and the same calls on the same base have the same results. Returns whether the model was done.
    pub(super) async fn replay(&self, overlay: &mut Overlay, request: &mut Arc<ModelRequest>, step: Step) -> Result<bool, Failure> {
        let mut results = Vec::new();
        for call in step.calls() {
            let outcome = self.execute(overlay, call).await?;
            if outcome.failure.is_some() != call.failed {
                let text = format!("the tool call {} had another outcome than in the log of the turn", call.id);
                return Err(Failure::new(Reason::Internal, text));
            }
            results.push(result(call, outcome));
        }
        Ok(add_step(request, step, results))
    }

    async fn execute(&self, overlay: &mut Overlay, call: Call<'_>) -> Result<ToolOutcome, Failure> {
        let outcome = tools::execute(overlay, &self.base, &self.tools, call.tool, call.input).await;
        let outcome = outcome.map_err(|BaseError(fault)| failure_of(&fault))?;
        let argument = |name: &str| call.input.get(name).and_then(Value::as_str);
        match call.tool {
            _ if outcome.failure.is_some() => return Ok(outcome),
            READ_SKILL => return self.instructions.read_skill(&self.base, argument("name").unwrap_or_default(), argument("file")).await,
            CHECK => {}
            _ => return Ok(outcome),
        }
        // The log has the result of a finished step, because the same check may have another one later.
        let checks = match call.checks {
            Some(checks) => checks.clone(),
            None => self.check(overlay).await.into_event(call.id, false),
        };
        Ok(ToolOutcome { content: findings::result(&checks), summary: findings::summary(&checks), checks: Some(checks), ..outcome })
    }

    /// Checks the staged files.
    pub(super) async fn check(&self, overlay: &mut Overlay) -> Checks {
        staged::check(&self.base.upstream, self.turn.user_id, overlay, &self.base).await
    }
}

/// The failure of a turn whose answer was cut at the output limit or at the context limit of the model.
fn truncated(max_tokens: u32) -> Failure {
    let message = format!("the model's answer was cut at its output or context limit ({SETTING} is {max_tokens}; a model may allow less)");
    Failure::new(Reason::Truncated, message)
}

fn result(call: Call<'_>, outcome: ToolOutcome) -> ToolResult {
    ToolResult { call_id: call.id.to_owned(), is_error: outcome.failure.is_some(), content: outcome.content }
}

/// Adds a step with the results of its calls to the request. Returns whether the step has no calls.
fn add_step(request: &mut Arc<ModelRequest>, step: Step, results: Vec<ToolResult>) -> bool {
    let last = step.is_last();
    let request = Arc::make_mut(request);
    seeded_bug!(seeded_bugs::fold_in_mid_turn(request));
    request.messages.push(ModelMessage::Assistant { blocks: step.blocks });
    request.messages.push(ModelMessage::ToolResults(results));
    last
}

/// Adds the findings of a check to the request, so that the model corrects them.
pub(super) fn add_findings(request: &mut Arc<ModelRequest>, checks: &ChecksFinished) {
    let messages = &mut Arc::make_mut(request).messages;
    // The step had no calls, so it has no results.
    messages.pop_if(|last| matches!(last, ModelMessage::ToolResults(results) if results.is_empty()));
    messages.push(ModelMessage::User { text: findings::request(checks) });
}

/// The events of an executed tool call.
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
    kinds.extend(outcome.checks.clone().map(Kind::ChecksFinished));
    kinds.push(match &outcome.failure {
        None => Kind::ToolOutput(ToolOutput { call_id: call_id(), summary: outcome.summary.clone() }),
        Some(failure) => {
            Kind::ToolFailed(ToolFailed { call_id: call_id(), reason: failure.reason.to_owned(), message: failure.message.clone() })
        }
    });
    kinds
}
