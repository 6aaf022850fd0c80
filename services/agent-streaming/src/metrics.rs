//! The metrics of turns, and one log line at the end of each turn. Names follow the semantic conventions of OpenTelemetry where there is
//! one. Labels have a fixed set of values; none comes from a user.

use std::{sync::LazyLock, time::Duration};

use chassis::{task::Ticks, telemetry::SECONDS};
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter},
};
use proto::agent_streaming::{TurnEvent, Usage};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::{
    store::{Pool, turns},
    turn::{Reason, State, Turn},
};

/// The period of counting the open turns.
const PERIOD: Duration = Duration::from_secs(15);

/// Bucket bounds for turns and answers of models: up to one hour.
const LONG_SECONDS: [f64; 13] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0];
/// Bucket bounds for shares.
const SHARES: [f64; 8] = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0];
const PROVIDERS: [&str; 3] = ["anthropic", "openai", "demo"];
/// The error class of a complete answer.
const NO_ERROR: &str = "";

struct Instruments {
    ended: Counter<u64>,
    duration: Histogram<f64>,
    waited: Histogram<f64>,
    open: Gauge<u64>,
    driven: UpDownCounter<i64>,
    steps: Counter<u64>,
    attempts: Counter<u64>,
    model_duration: Histogram<f64>,
    first_output: Histogram<f64>,
    tokens: Counter<u64>,
    cache_read: Histogram<f64>,
    streams: UpDownCounter<i64>,
    log_lag: Histogram<f64>,
}

static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| {
    let meter = global::meter(crate::error::SERVICE);
    let long = |name, description| seconds(&meter, name, description, &LONG_SECONDS);
    Instruments {
        ended: meter.u64_counter("backlot.turns.ended").with_description("ended turns by outcome, and failed ones by reason").build(),
        duration: long("backlot.turn.duration", "time from a turn's acceptance to its end"),
        waited: long("backlot.turn.wait", "time from a turn's acceptance to its slot"),
        open: meter.u64_gauge("backlot.turns.open").with_description("open turns of the whole cluster by state").build(),
        driven: meter.i64_up_down_counter("backlot.turns.driven").with_description("turns that this process drives").build(),
        steps: meter.u64_counter("backlot.steps").with_description("finished steps").build(),
        attempts: meter
            .u64_counter("backlot.attempts")
            .with_description("requests to models by provider and error class, which is empty for complete answers")
            .build(),
        model_duration: long("gen_ai.client.operation.duration", "duration of one request to a model"),
        first_output: long("gen_ai.client.operation.time_to_first_chunk", "time until the first output of a model"),
        tokens: meter.u64_counter("backlot.tokens").with_unit("{token}").with_description("tokens by provider and kind").build(),
        cache_read: meter
            .f64_histogram("backlot.cache_read.share")
            .with_description("part of the input tokens of one request that came from the provider's cache")
            .with_boundaries(SHARES.to_vec())
            .build(),
        streams: meter.i64_up_down_counter("backlot.streams.open").with_description("viewers of turns at this process").build(),
        log_lag: seconds(&meter, "backlot.event_log.lag", "age of an event when it was written", &SECONDS),
    }
});

fn seconds(meter: &Meter, name: &'static str, description: &'static str, bounds: &[f64]) -> Histogram<f64> {
    meter.f64_histogram(name).with_unit("s").with_description(description).with_boundaries(bounds.to_vec()).build()
}

/// Creates every counter with the value 0. Prometheus would not see the first increase of a counter that begins with 1.
pub(crate) fn init() {
    let ended = &INSTRUMENTS.ended;
    for outcome in [State::Completed, State::Cancelled, State::Conflicted] {
        ended.add(0, &outcome_labels(outcome, ""));
    }
    for reason in Reason::ALL {
        ended.add(0, &outcome_labels(State::Failed, reason.as_str()));
    }
    INSTRUMENTS.steps.add(0, &[]);
    for provider in PROVIDERS {
        INSTRUMENTS.attempts.add(0, &attempt_labels(provider, NO_ERROR));
        tokens(provider, &Usage::default());
    }
    INSTRUMENTS.driven.add(0, &[]);
    INSTRUMENTS.streams.add(0, &[]);
}

fn outcome_labels(outcome: State, reason: &str) -> [KeyValue; 2] {
    [KeyValue::new("outcome", outcome.as_str()), KeyValue::new("reason", reason.to_owned())]
}

fn attempt_labels(provider: &'static str, class: &'static str) -> [KeyValue; 2] {
    [KeyValue::new("gen_ai.provider.name", provider), KeyValue::new("error.type", class)]
}

/// The provider in `provider/model`.
fn provider(model: &str) -> &'static str {
    let name = model.split('/').next().unwrap_or_default();
    PROVIDERS.into_iter().find(|known| *known == name).unwrap_or("_OTHER")
}

/// How a turn has ended.
pub(crate) struct TurnOutcome<'a> {
    pub(crate) state: State,
    /// Empty unless the turn failed.
    pub(crate) reason: &'a str,
    /// The message for the user. Empty unless the turn failed.
    pub(crate) error: &'a str,
    /// The number of steps, if this process knows it.
    pub(crate) steps: Option<u32>,
    pub(crate) usage: Usage,
}

/// Counts a turn that has just ended, and logs it.
pub(crate) fn turn_ended(turn: &Turn, outcome: &TurnOutcome<'_>) {
    let took = since(turn.created_at, chassis::clock::now());
    let labels = outcome_labels(outcome.state, outcome.reason);
    INSTRUMENTS.ended.add(1, &labels);
    INSTRUMENTS.duration.record(took.as_secs_f64(), &labels[..1]);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                turn.id = %turn.id,
                outcome = outcome.state.as_str(),
                reason = outcome.reason,
                error = outcome.error,
                agent = turn.agent,
                model = turn.model,
                steps = outcome.steps,
                input_tokens = outcome.usage.input_tokens,
                output_tokens = outcome.usage.output_tokens,
                seconds = took.as_secs_f64(),
                "turn ended"
            )
        };
    }
    if outcome.state == State::Failed { line!(warn) } else { line!(info) }
}

fn since(then: OffsetDateTime, now: OffsetDateTime) -> Duration {
    Duration::try_from(now - then).unwrap_or_default()
}

/// Records how long a turn has waited for its slot.
pub(crate) fn slot_taken(turn: &Turn) {
    INSTRUMENTS.waited.record(since(turn.created_at, chassis::clock::now()).as_secs_f64(), &[]);
}

/// Counts the open turns of the cluster periodically.
pub(crate) async fn watch_open_turns(db: Pool, stop: CancellationToken) {
    let mut ticks = Ticks::new(PERIOD, stop);
    while ticks.next().await {
        // After an error the last counts stay. `postgres::watch` logs the outage.
        if let Ok(counts) = turns::count_open(&db).await {
            open_turns(&counts);
        }
    }
}

fn open_turns(counts: &[(State, u64)]) {
    for state in [State::Accepted, State::Queued, State::Running, State::Committing] {
        let count = counts.iter().find(|(counted, _)| *counted == state).map_or(0, |(_, count)| *count);
        INSTRUMENTS.open.record(count, &[KeyValue::new("state", state.as_str())]);
    }
}

pub(crate) fn step_finished() {
    INSTRUMENTS.steps.add(1, &[]);
}

/// Counts a request to a model. `error` is `None` for a complete answer.
pub(crate) fn attempt(model: &str, error: Option<&'static str>, took: Duration, used: &Usage) {
    let provider = provider(model);
    let labels = attempt_labels(provider, error.unwrap_or(NO_ERROR));
    INSTRUMENTS.attempts.add(1, &labels);
    INSTRUMENTS.model_duration.record(took.as_secs_f64(), &labels);
    tokens(provider, used);
    if used.input_tokens > 0 {
        let share = f64::from(used.cached_input_tokens) / f64::from(used.input_tokens);
        INSTRUMENTS.cache_read.record(share.min(1.0), &[KeyValue::new("gen_ai.provider.name", provider)]);
    }
}

/// Records the time until the first output of an answer.
pub(crate) fn first_output(model: &str, took: Duration) {
    INSTRUMENTS.first_output.record(took.as_secs_f64(), &[KeyValue::new("gen_ai.provider.name", provider(model))]);
}

fn tokens(provider: &'static str, used: &Usage) {
    for (kind, count) in [
        ("input", used.input_tokens),
        ("cached_input", used.cached_input_tokens),
        ("cache_write_input", used.cache_write_input_tokens),
        ("output", used.output_tokens),
        ("reasoning", used.reasoning_tokens),
    ] {
        let labels = [KeyValue::new("gen_ai.provider.name", provider), KeyValue::new("gen_ai.token.type", kind)];
        INSTRUMENTS.tokens.add(u64::from(count), &labels);
    }
}

/// Records the age of the oldest of the events that have just been written.
pub(crate) fn events_written(events: &[TurnEvent]) {
    let now = chassis::clock::now();
    if let Some(then) = events.first().and_then(|event| event.time.as_ref()).and_then(chassis::clock::from_timestamp) {
        INSTRUMENTS.log_lag.record(since(then, now).as_secs_f64(), &[]);
    }
}

/// Counts as one in a gauge until it is dropped.
pub(crate) struct GaugeGuard(&'static UpDownCounter<i64>);

impl GaugeGuard {
    /// A turn that this process drives.
    pub(crate) fn driven() -> Self {
        Self::new(&INSTRUMENTS.driven)
    }

    /// A viewer of a turn.
    pub(crate) fn stream() -> Self {
        Self::new(&INSTRUMENTS.streams)
    }

    fn new(counter: &'static UpDownCounter<i64>) -> Self {
        counter.add(1, &[]);
        Self(counter)
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.add(-1, &[]);
    }
}
