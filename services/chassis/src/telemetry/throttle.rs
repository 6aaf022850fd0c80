//! The exporter's own errors: a collector that is away makes one with every batch, and one line a minute says as much.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::layer::{Context, Filter};

/// Between two lines.
const PERIOD: Duration = Duration::from_secs(60);

/// Whether an event is the exporter's.
pub(super) fn is_exporter(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("opentelemetry")
}

/// Lets every event pass but those of the exporter, of which it lets one a minute.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    last: Mutex<Option<Instant>>,
}

impl Throttle {
    fn passes(&self, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let due = last.is_none_or(|last| now.duration_since(last) >= PERIOD);
        if due {
            *last = Some(now);
        }
        due
    }
}

impl<S: Subscriber> Filter<S> for Throttle {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    // Without an answer to these two, every span and event of every library is asked about each time.
    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        !is_exporter(event.metadata()) || self.passes(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_passes_in_a_minute() {
        let (throttle, begun) = (Throttle::default(), Instant::now());
        let passed = |second: u64| throttle.passes(begun + Duration::from_secs(second));
        assert_eq!([0, 1, 59, 60, 61, 119, 120].map(passed), [true, false, false, true, false, false, true]);
    }
}
