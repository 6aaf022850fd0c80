//! Limits the log lines of the exporter to one a minute. If the collector cannot be reached, there is an error for every batch.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::layer::{Context, Filter};

/// The time between two lines.
const PERIOD: Duration = Duration::from_secs(60);

/// Whether an event comes from the exporter.
pub(super) fn is_exporter(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("opentelemetry")
}

/// A filter that allows one event of the exporter a minute, and all other events.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    last: Mutex<Option<Instant>>,
}

impl Throttle {
    fn allows(&self, now: Instant) -> bool {
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

    // The defaults of the next two methods would disable the caching of callsites, so that each event would be filtered anew.
    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        !is_exporter(event.metadata()) || self.allows(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_a_minute_is_allowed() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let is_allowed = |second: u64| throttle.allows(start + Duration::from_secs(second));
        assert_eq!([0, 1, 59, 60, 61, 119, 120].map(is_allowed), [true, false, false, true, false, false, true]);
    }
}
