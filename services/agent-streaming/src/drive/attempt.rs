//! The attempts of a step: a call of the model, made again while its provider fails. Its answer is put into the log as it arrives.

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

/// Calls of one step.
const MAX_ATTEMPTS: u32 = 3;
/// Empty answers after which a step is asked for once more.
const MAX_EMPTY_ANSWERS: u32 = 1;
/// A provider that asks for a longer pause is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why a run ends early.
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

/// Everything that a run leaves behind: its events, what they come to, what it used.
pub(crate) struct Record<'a> {
    pub(crate) log: &'a TurnLog,
    pub(crate) transcript: Transcript,
    pub(crate) meter: Meter,
    /// The seq of the first event of the step that runs.
    step_from: u32,
}

impl<'a> Record<'a> {
    /// Goes on from what a turn has come to so far.
    pub(crate) fn new(log: &'a TurnLog, transcript: Transcript) -> Self {
        let meter = Meter { over: transcript.usage, running: Usage::default() };
        Self { log, transcript, meter, step_from: 0 }
    }

    /// The transcript takes what the log takes, so that whoever reads the log comes to the same state.
    pub(crate) async fn push(&mut self, kind: Kind) -> Result<(), WriteError> {
        for kind in event::fit(kind) {
            self.transcript.apply(&kind);
            self.log.push(kind).await?;
        }
        Ok(())
    }

    pub(crate) async fn push_with(&mut self, kind: Kind, change: Change) -> Result<(), WriteError> {
        event::fit(kind.clone()).iter().for_each(|kind| self.transcript.apply(kind));
        self.log.push_with(kind, change).await
    }

    async fn start_step(&mut self, step: u32) -> Result<(), WriteError> {
        self.push(Kind::StepStarted(StepStarted { step })).await?;
        self.step_from = self.log.last_seq();
        Ok(())
    }

    /// What the step has said so far counts no more.
    async fn supersede_step(&mut self) -> Result<(), WriteError> {
        let range = StepSuperseded { from: self.step_from, to: self.log.last_seq() };
        self.push(Kind::StepSuperseded(range)).await
    }

    async fn used(&mut self, usage: Usage) -> Result<(), WriteError> {
        match self.meter.current(usage) {
            Some(total) => self.push_with(Kind::Usage(total), Change::usage(total)).await,
            None => Ok(()),
        }
    }
}

/// What a turn has used: the calls that are over and the one that runs.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    over: Usage,
    running: Usage,
}

impl Meter {
    /// The running call's figures replace those before. The total, if it is another one now.
    fn current(&mut self, usage: Usage) -> Option<Usage> {
        let changed = usage != self.running;
        self.running = usage;
        changed.then(|| sum(&self.over, &self.running))
    }

    /// What the call used.
    fn call_is_over(&mut self) -> Usage {
        let used = std::mem::take(&mut self.running);
        self.over = sum(&self.over, &used);
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

/// What a step is asked of.
pub(crate) struct StepContext<'a> {
    /// From 1.
    pub(crate) step: u32,
    pub(crate) provider: &'a Arc<dyn Provider>,
    /// `provider/model`.
    pub(crate) model: &'a str,
    pub(crate) limits: StepLimits,
}

/// What one answer may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepLimits {
    /// Text, reasoning and arguments.
    pub(crate) bytes: usize,
    pub(crate) calls: usize,
    pub(crate) time: Duration,
}

impl StepLimits {
    /// # Errors
    /// LIMIT_EXCEEDED that names the limit and its setting.
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

/// Asks the model once, or up to three times while the provider fails. What the last answer said is in the transcript; what an
/// attempt said before it is superseded.
pub(crate) async fn ask(record: &mut Record<'_>, asked: StepContext<'_>, request: Arc<ModelRequest>) -> Result<FinishReason, RunError> {
    let mut failures = Failures::default();
    record.start_step(asked.step).await?;
    loop {
        let attempt = failures.count + 1;
        record.push(Kind::AttemptStarted(AttemptStarted { attempt, model: asked.model.to_owned() })).await?;
        // Another owner may ask already, if this process stood still for a while.
        record.log.owned().await?;
        let begun = Instant::now();
        let heard = listen(record, &asked, Arc::clone(&request)).await;
        let used = record.meter.call_is_over();
        metrics::attempt(asked.model, error_class(&heard), begun.elapsed(), &used);
        let broken = match heard? {
            Ok(finish) => return Ok(finish),
            Err(broken) => broken,
        };
        let pause = failures.next_pause(&broken.error, rand::random());
        let again = broken.output && pause.is_some();
        if again {
            record.supersede_step().await?;
        }
        let failed = AttemptFailed {
            attempt,
            error_class: broken.error.class.as_str().to_owned(),
            message: broken.error.message.clone(),
            retry_in_ms: pause.map_or(0, |pause| u32::try_from(pause.as_millis()).unwrap_or(u32::MAX)),
        };
        record.push(Kind::AttemptFailed(failed)).await?;
        let Some(pause) = pause else { return Err(failure(&broken.error).into()) };
        // What is known so far should not wait for the next attempt.
        record.log.flush().await?;
        sleep(pause).await;
        if again {
            record.start_step(asked.step).await?;
        }
    }
}

/// How operators see a call that is over; `None` if its answer is whole.
fn error_class(heard: &Result<Result<FinishReason, AttemptError>, RunError>) -> Option<&'static str> {
    match heard {
        Ok(Ok(_)) => None,
        Ok(Err(broken)) => Some(broken.error.class.as_str()),
        Err(RunError::Failed(_)) => Some("limit_exceeded"),
        Err(RunError::Write(_)) => Some("turn_lost"),
    }
}

/// A call that did not come to its end.
struct AttemptError {
    error: ProviderError,
    /// Some of the answer was seen.
    output: bool,
}

/// The attempts of one step that failed.
#[derive(Default)]
struct Failures {
    count: u32,
    empty: u32,
}

impl Failures {
    /// How long to wait before the next attempt; `None`: there is none. `jitter` is 0 to 1.
    fn next_pause(&mut self, error: &ProviderError, jitter: f64) -> Option<Duration> {
        self.count += 1;
        self.empty += u32::from(error.class == ErrorClass::EmptyAnswer);
        let again = error.retryable && self.count < MAX_ATTEMPTS && self.empty <= MAX_EMPTY_ANSWERS;
        again.then(|| error.delay(self.count, jitter)).filter(|pause| *pause <= LONGEST_PAUSE)
    }
}

/// A turn whose model does not answer.
fn failure(error: &ProviderError) -> Failure {
    let reason = match error.class {
        ErrorClass::Timeout => Reason::ProviderStalled,
        ErrorClass::InvalidRequest | ErrorClass::Authentication | ErrorClass::NotFound => Reason::ProviderRefused,
        ErrorClass::Overloaded | ErrorClass::RateLimited | ErrorClass::Connection | ErrorClass::ServerError => Reason::ProviderError,
        ErrorClass::Truncated => Reason::Truncated,
        ErrorClass::EmptyAnswer => Reason::EmptyAnswer,
        ErrorClass::TooLong => Reason::LimitExceeded,
    };
    let asked = error.retry_after.filter(|wait| error.retryable && *wait > LONGEST_PAUSE);
    let wait = asked.map_or_else(String::new, |wait| {
        format!(" (it asks to wait {} s; a turn waits at most {} s)", wait.as_secs_f64().ceil(), LONGEST_PAUSE.as_secs())
    });
    Failure::new(reason, format!("{}{wait}", error.message))
}

async fn listen(
    record: &mut Record<'_>,
    asked: &StepContext<'_>,
    request: Arc<ModelRequest>,
) -> Result<Result<FinishReason, AttemptError>, RunError> {
    let mut events = asked.provider.stream(request);
    let mut translator = AnswerTranslator::default();
    let begun = Instant::now();
    let until = begun + asked.limits.time;
    loop {
        let event = match timeout_at(until, events.next()).await.map_err(|_| asked.limits.timed_out())? {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Ok(Err(AttemptError { error, output: translator.output })),
            None => {
                let error = ProviderError::new(ErrorClass::Connection, "the provider's answer ended before it was whole");
                return Ok(Err(AttemptError { error, output: translator.output }));
            }
        };
        match event {
            ModelEvent::Usage(usage) => record.used(usage).await?,
            ModelEvent::Finished(FinishReason::Stop | FinishReason::ToolCalls) if !translator.answered => {
                let message = "the model answered with neither text nor a tool call";
                return Ok(Err(AttemptError { error: ProviderError::new(ErrorClass::EmptyAnswer, message), output: translator.output }));
            }
            ModelEvent::Finished(finish) => return Ok(Ok(finish)),
            event => {
                if !translator.output {
                    metrics::first_output(asked.model, begun.elapsed());
                }
                translator.count(&event);
                asked.limits.check(translator.bytes, translator.calls)?;
                for kind in translator.translate(event) {
                    record.push(kind).await?;
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
    fn a_call_is_made_three_times_at_most() {
        let pauses = |errors: [ProviderError; 4]| {
            let mut failures = Failures::default();
            errors.map(|error| failures.next_pause(&error, 0.0).map(|pause| pause.as_millis()))
        };
        let always = |class, retry_after| pauses([(); 4].map(|()| error(class, retry_after)));
        assert_eq!(always(ErrorClass::Overloaded, None), [Some(500), Some(1_000), None, None]);
        assert_eq!(always(ErrorClass::RateLimited, Some(60)), [Some(60_000), Some(60_000), None, None]);
        assert_eq!(always(ErrorClass::EmptyAnswer, None), [Some(500), None, None, None], "once more");
        assert_eq!(always(ErrorClass::RateLimited, Some(61)), [None; 4]);
        assert_eq!(always(ErrorClass::InvalidRequest, None), [None; 4]);
        assert_eq!(always(ErrorClass::Truncated, None), [None; 4]);
        let empty = || error(ErrorClass::EmptyAnswer, None);
        let mixed = pauses([empty(), error(ErrorClass::Connection, None), empty(), empty()]);
        assert_eq!(mixed, [Some(500), Some(1_000), None, None], "all of them count together");
    }

    #[test]
    fn an_answer_has_its_limits() {
        let limits = StepLimits { bytes: 10, calls: 2, time: Duration::from_millis(1_500) };
        let message = |bytes, calls| limits.check(bytes, calls).map_err(|failure| (failure.reason, failure.message));
        let exceeded = |text: &str| Err((Reason::LimitExceeded, format!("one answer of the model {text}")));
        assert_eq!(message(10, 2), Ok(()));
        assert_eq!(message(11, 2), exceeded("is longer than 10 bytes (BACKLOT_MAX_STEP_BYTES)"));
        assert_eq!(message(10, 3), exceeded("has more than 2 tool calls (BACKLOT_MAX_STEP_CALLS)"));
        assert_eq!(limits.timed_out().message, "one answer of the model took longer than 1.5 s (BACKLOT_STEP_TIMEOUT)");
    }

    #[test]
    fn a_wait_that_is_too_long_is_told() {
        assert_eq!(failure(&error(ErrorClass::RateLimited, Some(120))).message, "x (it asks to wait 120 s; a turn waits at most 60 s)");
        assert_eq!(failure(&error(ErrorClass::RateLimited, Some(3))).message, "x");
    }

    #[test]
    fn usage_adds_up_over_calls_and_replaces_within_one() {
        let usage = |input_tokens, output_tokens| Usage { input_tokens, output_tokens, ..Usage::default() };
        let mut meter = Meter::default();
        assert_eq!(meter.current(usage(10, 1)), Some(usage(10, 1)));
        assert_eq!(meter.current(usage(10, 1)), None);
        assert_eq!(meter.current(usage(10, 5)), Some(usage(10, 5)));
        meter.call_is_over();
        assert_eq!(meter.current(usage(7, 2)), Some(usage(17, 7)));
    }

    fn types(kinds: &[Kind]) -> Vec<&'static str> {
        kinds.iter().map(proto::event::type_name).collect()
    }

    #[test]
    fn what_is_said_is_heard_in_order() {
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
        let step = folded(&kinds);
        assert_eq!(
            step.blocks,
            [
                AssistantBlock::Reasoning { text: "hm".into(), opaque: json!("sealed") },
                AssistantBlock::Text("I write".into()),
                AssistantBlock::ToolCall { id: "c".into(), tool: "read_file".into(), input: json!({"path": "a"}), opaque: json!("seal") },
            ]
        );
    }

    fn folded(kinds: &[Kind]) -> crate::turn::transcript::Step {
        let mut transcript = Transcript::default();
        transcript.apply(&Kind::StepStarted(proto::agent_streaming::StepStarted { step: 1 }));
        kinds.iter().for_each(|kind| transcript.apply(kind));
        transcript.take_open()
    }

    #[test]
    fn a_files_content_is_in_its_deltas_once_streamed_or_not() {
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
            let step = folded(&kinds);
            let call = step.calls().next().expect("a call");
            assert!(call.opened && *call.input == input);
        }
    }
}
