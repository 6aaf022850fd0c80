//! Collects log lines in tests.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::DefaultGuard,
};

/// The fields of a line; `message` is its text.
pub type Line = BTreeMap<&'static str, String>;

/// The lines of the thread that made it, which runs the service of a test without threads of its own, too.
pub struct Lines {
    lines: Arc<Mutex<Vec<Line>>>,
    /// With a single subscriber, a callsite that another test reaches first is switched off for this one, too.
    _second: Dispatch,
    _guard: DefaultGuard,
}

impl Lines {
    /// Collects from now on, until it is dropped.
    #[must_use]
    pub fn collect() -> Self {
        let (lines, second) = (Arc::default(), Dispatch::new(Collector(Arc::default())));
        let guard = tracing::subscriber::set_default(Collector(Arc::clone(&lines)));
        Self { lines, _second: second, _guard: guard }
    }

    /// The lines with this text.
    #[must_use]
    pub fn of(&self, message: &str) -> Vec<Line> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.get("message").is_some_and(|text| text == message)).cloned().collect()
    }
}

struct Collector(Arc<Mutex<Vec<Line>>>);

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fields.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Fields(Line);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
