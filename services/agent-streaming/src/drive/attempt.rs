//! The attempts of a step: requests to the model, repeated while its provider fails. The answer goes into the log as it arrives.

mod translator;

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use proto::agent_streaming::{AttemptFailed, AttemptStarted, StepStarted, StepSuperseded, Usage, turn_event::Kind};
use tokio::time::{Instant, sleep, timeout_at};

use self::translator::AnswerTranslator;
use crate::{
    log::journal::{TurnLog, WriteError},
    metrics,
    model::provider::{ErrorClass, FinishReason, ModelEvent, ModelRequest, Provider, ProviderError},
    turn::event,
    turn::transcript::Transcript,
    turn::{Change, Failure, Reason},
};

/// Attempts of one step.
const MAX_ATTEMPTS: u32 = 3;
/// Empty answers of one step after which there is another attempt.
const MAX_EMPTY_ANSWERS: u32 = 1;
/// If a provider asks for a longer pause, there is no other attempt.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Why a worker stops before the last step.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The turn fails.
    Failed(Failure),
    /// The log takes no more events from this process.
    Write(WriteError),
}

impl From<WriteError> for RunError {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

impl From<Failure> for RunError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Writes the events of a turn to its log, and keeps the state that follows from them.
pub(crate) struct Recorder<'a> {
    pub(crate) log: &'a TurnLog,
    pub(crate) transcript: Transcript,
    meter: UsageMeter,
    /// The seq of the first event of the current step.
    step_from: u32,
}

impl<'a> Recorder<'a> {
    /// Continues from the transcript of a resumed turn, which is empty for a new one.
    pub(crate) fn new(log: &'a TurnLog, transcript: Transcript) -> Self {
        let meter = UsageMeter { finished: transcript.usage, current: Usage::default() };
        Self { log, transcript, meter, step_from: 0 }
    }

    /// Applies the same events to the transcript that go into the log, so that a worker that reads the log gets the same state.
    pub(crate) async fn push(&mut self, kind: Kind) -> Result<(), WriteError> {
        for kind in event::fit(kind) {
            self.transcript.apply(&kind);
            self.log.push_fitted(kind).await?;
        }
        Ok(())
    }

    pub(crate) async fn push_with(&mut self, kind: Kind, change: Change) -> Result<(), WriteError> {
        let kinds = event::fit(kind);
        kinds.iter().for_each(|kind| self.transcript.apply(kind));
        self.log.push_fitted_with(kinds, change).await
    }

    async fn start_step(&mut self, step: u32) -> Result<(), WriteError> {
        self.push(Kind::StepStarted(StepStarted { step })).await?;
        self.step_from = self.log.last_seq();
        Ok(())
    }

    /// Supersedes all events of the current step.
    async fn supersede_step(&mut self) -> Result<(), WriteError> {
        let range = StepSuperseded { from: self.step_from, to: self.log.last_seq() };
        self.push(Kind::StepSuperseded(range)).await
    }

    /// Records the usage of the current attempt so far.
    async fn record_usage(&mut self, usage: Usage) -> Result<(), WriteError> {
        match self.meter.update(usage) {
            Some(total) => self.push_with(Kind::Usage(total), Change::usage(total)).await,
            None => Ok(()),
        }
    }
}

/// The usage of a turn: of its finished attempts and of the current one.
#[derive(Debug, Default)]
struct UsageMeter {
    finished: Usage,
    current: Usage,
}

impl UsageMeter {
    /// Replaces the usage of the current attempt. Returns the total of the turn if it has changed.
    fn update(&mut self, usage: Usage) -> Option<Usage> {
        let changed = usage != self.current;
        self.current = usage;
        changed.then(|| sum(&self.finished, &self.current))
    }

    /// Finishes the current attempt, and returns its usage.
    fn finish_attempt(&mut self) -> Usage {
        let used = std::mem::take(&mut self.current);
        self.finished = sum(&self.finished, &used);
        used
    }
}

fn sum(a: &Usage, b: &Usage) -> Usage {
    Usage {
        input_tokens: a.input_tokens.saturating_add(b.input_tokens),
        output_tokens: a.output_tokens.saturating_add(b.output_tokens),
        cached_input_tokens: a.cached_input_tokens.saturating_add(b.cached_input_tokens),
        cache_write_input_tokens: a.cache_write_input_tokens.saturating_add(b.cache_write_input_tokens),
        reasoning_tokens: a.reasoning_tokens.saturating_add(b.reasoning_tokens),
    }
}

/// The parameters of the attempts of one step.
pub(crate) struct StepContext<'a> {
    /// From 1.
    pub(crate) step: u32,
    pub(crate) provider: &'a Arc<dyn Provider>,
    /// `provider/model`.
    pub(crate) model: &'a str,
    pub(crate) limits: StepLimits,
}

/// The limits of one answer of the model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepLimits {
    /// Bytes of text, reasoning and arguments.
    pub(crate) bytes: usize,
    pub(crate) calls: usize,
    pub(crate) time: Duration,
}

impl StepLimits {
    /// # Errors
    /// `LIMIT_EXCEEDED`, with the limit and its setting in the message.
    fn check(&self, bytes: usize, calls: usize) -> Result<(), Failure> {
        if bytes > self.bytes {
            return Err(exceeded(format!("is longer than {} bytes (BACKLOT_MAX_STEP_BYTES)", self.bytes)));
        }
        if calls > self.calls {
            return Err(exceeded(format!("has more than {} tool calls (BACKLOT_MAX_STEP_CALLS)", self.calls)));
        }
        Ok(())
    }

    fn timed_out(&self) -> Failure {
        exceeded(format!("took longer than {} s (BACKLOT_STEP_TIMEOUT)", self.time.as_secs_f64()))
    }
}

fn exceeded(how: String) -> Failure {
    Failure::new(Reason::LimitExceeded, format!("one answer of the model {how}"))
}

/// Requests the model up to three times, while its provider fails. The transcript gets the last answer; the events of earlier attempts
/// are superseded.
pub(crate) async fn ask_model(
    recorder: &mut Recorder<'_>,
    context: StepContext<'_>,
    request: Arc<ModelRequest>,
) -> Result<FinishReason, RunError> {
    let mut failures = FailureCounter::default();
    recorder.start_step(context.step).await?;
    loop {
        let attempt = failures.count + 1;
        recorder.push(Kind::AttemptStarted(AttemptStarted { attempt, model: context.model.to_owned() })).await?;
        // If this process was paused for long, another worker may have claimed the turn and requested the model already.
        recorder.log.wait_for_lease().await?;
        let started = Instant::now();
        let outcome = stream_answer(recorder, &context, Arc::clone(&request)).await;
        let used = recorder.meter.finish_attempt();
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
        let Some(pause) = pause else { return Err(failure(&error).into()) };
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
        Err(RunError::Write(_)) => Some("turn_lost"),
    }
}

/// A failed attempt.
struct AttemptError {
    error: ProviderError,
    /// Viewers have seen a part of the answer.
    output: bool,
}

/// Counts the failed attempts of one step.
#[derive(Default)]
struct FailureCounter {
    count: u32,
    empty: u32,
}

impl FailureCounter {
    /// Counts a failed attempt. Returns the pause before the next one, or `None` if there is no next one. `jitter` is 0 to 1.
    fn next_pause(&mut self, error: &ProviderError, jitter: f64) -> Option<Duration> {
        self.count += 1;
        self.empty += u32::from(error.class == ErrorClass::EmptyAnswer);
        let retry = error.retryable && self.count < MAX_ATTEMPTS && self.empty <= MAX_EMPTY_ANSWERS;
        retry.then(|| error.delay(self.count, jitter)).filter(|pause| *pause <= MAX_PAUSE)
    }
}

/// The failure of a turn whose last attempt has failed.
fn failure(error: &ProviderError) -> Failure {
    let reason = match error.class {
        ErrorClass::Timeout => Reason::ProviderStalled,
        ErrorClass::InvalidRequest | ErrorClass::Authentication | ErrorClass::NotFound => Reason::ProviderRefused,
        ErrorClass::Overloaded | ErrorClass::RateLimited | ErrorClass::Connection | ErrorClass::ServerError => Reason::ProviderError,
        ErrorClass::Truncated => Reason::Truncated,
        ErrorClass::EmptyAnswer => Reason::EmptyAnswer,
        ErrorClass::TooLong => Reason::LimitExceeded,
    };
    let too_long = error.retry_after.filter(|wait| error.retryable && *wait > MAX_PAUSE);
    let wait = too_long.map_or_else(String::new, |wait| {
        format!(" (it asks to wait {} s; a turn waits at most {} s)", wait.as_secs_f64().ceil(), MAX_PAUSE.as_secs())
    });
    Failure::new(reason, format!("{}{wait}", error.message))
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::provider::AssistantBlock;

    mod calls;

    fn error(class: ErrorClass, retry_after: Option<u64>) -> ProviderError {
        ProviderError { retry_after: retry_after.map(Duration::from_secs), ..ProviderError::new(class, "x") }
    }

    #[test]
    fn a_step_has_at_most_three_attempts() {
        let pauses = |errors: [ProviderError; 4]| {
            let mut failures = FailureCounter::default();
            errors.map(|error| failures.next_pause(&error, 0.0).map(|pause| pause.as_millis()))
        };
        let always = |class, retry_after| pauses([(); 4].map(|()| error(class, retry_after)));
        assert_eq!(always(ErrorClass::Overloaded, None), [Some(500), Some(1_000), None, None]);
        assert_eq!(always(ErrorClass::RateLimited, Some(60)), [Some(60_000), Some(60_000), None, None]);
        assert_eq!(always(ErrorClass::EmptyAnswer, None), [Some(500), None, None, None], "one retry");
        assert_eq!(always(ErrorClass::RateLimited, Some(61)), [None; 4]);
        assert_eq!(always(ErrorClass::InvalidRequest, None), [None; 4]);
        assert_eq!(always(ErrorClass::Truncated, None), [None; 4]);
        let empty = || error(ErrorClass::EmptyAnswer, None);
        let mixed = pauses([empty(), error(ErrorClass::Connection, None), empty(), empty()]);
        assert_eq!(mixed, [Some(500), Some(1_000), None, None], "all failures count together");
    }

    #[test]
    fn an_answer_above_a_limit_fails_with_its_setting() {
        let limits = StepLimits { bytes: 10, calls: 2, time: Duration::from_millis(1_500) };
        let message = |bytes, calls| limits.check(bytes, calls).map_err(|failure| (failure.reason, failure.message));
        let exceeded = |text: &str| Err((Reason::LimitExceeded, format!("one answer of the model {text}")));
        assert_eq!(message(10, 2), Ok(()));
        assert_eq!(message(11, 2), exceeded("is longer than 10 bytes (BACKLOT_MAX_STEP_BYTES)"));
        assert_eq!(message(10, 3), exceeded("has more than 2 tool calls (BACKLOT_MAX_STEP_CALLS)"));
        assert_eq!(limits.timed_out().message, "one answer of the model took longer than 1.5 s (BACKLOT_STEP_TIMEOUT)");
    }

    #[test]
    fn a_pause_that_is_too_long_is_in_the_message() {
        assert_eq!(failure(&error(ErrorClass::RateLimited, Some(120))).message, "x (it asks to wait 120 s; a turn waits at most 60 s)");
        assert_eq!(failure(&error(ErrorClass::RateLimited, Some(3))).message, "x");
    }

    #[test]
    fn usage_is_replaced_within_an_attempt_and_summed_over_attempts() {
        let usage = |input_tokens, output_tokens| Usage { input_tokens, output_tokens, ..Usage::default() };
        let mut meter = UsageMeter::default();
        assert_eq!(meter.update(usage(10, 1)), Some(usage(10, 1)));
        assert_eq!(meter.update(usage(10, 1)), None);
        assert_eq!(meter.update(usage(10, 5)), Some(usage(10, 5)));
        meter.finish_attempt();
        assert_eq!(meter.update(usage(7, 2)), Some(usage(17, 7)));
    }

    fn types(kinds: &[Kind]) -> Vec<&'static str> {
        kinds.iter().map(proto::event::type_name).collect()
    }

    #[test]
    fn the_events_of_an_answer_keep_their_order() {
        let mut translator = AnswerTranslator::default();
        let mut kinds = Vec::new();
        for event in [
            ModelEvent::ReasoningStarted { block: "r".into() },
            ModelEvent::ReasoningDelta { block: "r".into(), text: "hm".into() },
            ModelEvent::ReasoningFinished { block: "r".into(), opaque: json!("sealed") },
            ModelEvent::TextStarted { block: "t".into() },
            ModelEvent::TextDelta { block: "t".into(), text: "I ".into() },
            ModelEvent::TextDelta { block: "t".into(), text: "write".into() },
            ModelEvent::TextFinished { block: "t".into() },
            ModelEvent::ToolStarted { call_id: "c".into(), tool: "read_file".into() },
            ModelEvent::ToolInputDelta { call_id: "c".into(), json: r#"{"path":"a"}"#.into() },
            ModelEvent::ToolReady { call_id: "c".into(), input: json!({"path": "a"}), opaque: json!("seal") },
        ] {
            kinds.extend(translator.translate(event));
        }
        let expected = "reasoning.started reasoning.delta reasoning.finished text.started text.delta text.delta text.finished \
            tool.started tool.input_delta tool.ready";
        assert_eq!(types(&kinds).join(" "), expected);
        let step = step_of(&kinds);
        assert_eq!(
            step.blocks,
            [
                AssistantBlock::Reasoning { text: "hm".into(), opaque: json!("sealed") },
                AssistantBlock::Text("I write".into()),
                AssistantBlock::ToolCall { id: "c".into(), tool: "read_file".into(), input: json!({"path": "a"}), opaque: json!("seal") },
            ]
        );
    }

    fn step_of(kinds: &[Kind]) -> crate::turn::transcript::Step {
        let mut transcript = Transcript::default();
        transcript.apply(&Kind::StepStarted(proto::agent_streaming::StepStarted { step: 1 }));
        kinds.iter().for_each(|kind| transcript.apply(kind));
        transcript.take_open()
    }

    #[test]
    fn the_content_of_a_file_is_only_in_its_deltas() {
        let input = json!({"path": "a.txt", "content": "hello"});
        for streamed in [true, false] {
            let mut translator = AnswerTranslator::default();
            let mut kinds = translator.translate(ModelEvent::ToolStarted { call_id: "c".into(), tool: "write_file".into() });
            if streamed {
                kinds.extend(translator.translate(ModelEvent::ToolInputDelta { call_id: "c".into(), json: input.to_string() }));
            }
            kinds.extend(translator.translate(ModelEvent::ToolReady { call_id: "c".into(), input: input.clone(), opaque: Value::Null }));
            assert_eq!(types(&kinds), ["tool.started", "file.opened", "file.delta", "tool.ready"]);
            let Some(Kind::ToolReady(ready)) = kinds.last() else { panic!("{kinds:?}") };
            assert_eq!(ready.input_json, r#"{"path":"a.txt"}"#);
            let step = step_of(&kinds);
            let call = step.calls().next().expect("a call");
            assert!(call.opened && *call.input == input);
        }
    }
}
