//! The attempts of a step: requests to the model, repeated while its provider fails. The answer goes into the log as it arrives.

mod limits;
mod retry;
mod translator;

use std::sync::Arc;

use futures::StreamExt as _;
use proto::agent_streaming::{AttemptFailed, AttemptStarted, turn_event::Kind};
use tokio::time::{Instant, sleep, timeout_at};

pub(crate) use self::limits::StepLimits;
use self::{retry::FailureCounter, translator::AnswerTranslator};
use super::recorder::{Recorder, RunError};
use crate::{
    metrics,
    model::provider::{ErrorClass, FinishReason, ModelEvent, ModelRequest, Provider, ProviderError},
};

/// The parameters of the attempts of one step.
pub(crate) struct StepContext<'a> {
    /// From 1.
    pub(crate) step: u32,
    pub(crate) provider: &'a Arc<dyn Provider>,
    /// `provider/model`.
    pub(crate) model: &'a str,
    pub(crate) limits: StepLimits,
    /// Of the request.
    pub(crate) tokens: u32,
}

/// Requests the model up to three times, while its provider fails. The transcript gets the last answer; the events of earlier attempts
/// are superseded.
pub(crate) async fn ask_model(
    recorder: &mut Recorder<'_>,
    context: StepContext<'_>,
    request: Arc<ModelRequest>,
) -> Result<FinishReason, RunError> {
    let mut failures = FailureCounter::default();
    let prefix_hash = request.prefix_hash();
    recorder.start_step(context.step).await?;
    loop {
        let attempt = failures.count + 1;
        recorder
            .push(Kind::AttemptStarted(AttemptStarted { attempt, model: context.model.to_owned(), prefix_hash: prefix_hash.clone() }))
            .await?;
        // If this process was paused for long, another worker may have claimed the turn and requested the model already.
        recorder.log.wait_for_lease().await?;
        recorder.count_request(context.tokens).await?;
        let started = Instant::now();
        let outcome = stream_answer(recorder, &context, Arc::clone(&request)).await;
        let used = recorder.finish_attempt();
        metrics::attempt(context.model, error_class(&outcome), started.elapsed(), &used);
        let AttemptError { error, output } = match outcome? {
            Ok(finish) => return Ok(finish),
            Err(error) => error,
        };
        let pause = failures.next_pause(&error, rand::random());
        let restart_step = output && pause.is_some();
        if restart_step {
            recorder.supersede_step().await?;
        }
        let failed = AttemptFailed {
            attempt,
            error_class: error.class.as_str().to_owned(),
            message: error.message.clone(),
            retry_in_ms: pause.map_or(0, |pause| u32::try_from(pause.as_millis()).unwrap_or(u32::MAX)),
        };
        recorder.push(Kind::AttemptFailed(failed)).await?;
        let Some(pause) = pause else { return Err(retry::failure(&error).into()) };
        // Viewers get the failure before the pause.
        recorder.log.flush().await?;
        sleep(pause).await;
        if restart_step {
            recorder.start_step(context.step).await?;
        }
    }
}

/// The `error.type` of an attempt in the metrics. `None` for a complete answer.
fn error_class(outcome: &Result<Result<FinishReason, AttemptError>, RunError>) -> Option<&'static str> {
    match outcome {
        Ok(Ok(_)) => None,
        Ok(Err(AttemptError { error, .. })) => Some(error.class.as_str()),
        Err(RunError::Failed(_)) => Some("limit_exceeded"),
        Err(RunError::Write(_) | RunError::Store(_)) => Some("turn_lost"),
    }
}

/// A failed attempt.
struct AttemptError {
    error: ProviderError,
    /// Viewers have seen a part of the answer.
    output: bool,
}

/// Makes one attempt: requests the model and records its answer.
async fn stream_answer(
    recorder: &mut Recorder<'_>,
    context: &StepContext<'_>,
    request: Arc<ModelRequest>,
) -> Result<Result<FinishReason, AttemptError>, RunError> {
    let mut events = context.provider.stream(request);
    let mut translator = AnswerTranslator::default();
    let started = Instant::now();
    let deadline = started + context.limits.time;
    loop {
        let event = match timeout_at(deadline, events.next()).await.map_err(|_| context.limits.timed_out())? {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Ok(Err(AttemptError { error, output: translator.output })),
            None => {
                let error = ProviderError::new(ErrorClass::Connection, "the provider's answer ended before it was complete");
                return Ok(Err(AttemptError { error, output: translator.output }));
            }
        };
        match event {
            ModelEvent::Usage(usage) => recorder.record_usage(usage).await?,
            ModelEvent::Finished(FinishReason::Stop | FinishReason::ToolCalls) if !translator.answered => {
                let message = "the model answered with neither text nor a tool call";
                return Ok(Err(AttemptError { error: ProviderError::new(ErrorClass::EmptyAnswer, message), output: translator.output }));
            }
            ModelEvent::Finished(finish) => return Ok(Ok(finish)),
            event => {
                if !translator.output {
                    metrics::first_output(context.model, started.elapsed());
                }
                translator.count(&event);
                context.limits.check(translator.bytes, translator.calls)?;
                for kind in translator.translate(event) {
                    recorder.push(kind).await?;
                }
            }
        }
    }
}
