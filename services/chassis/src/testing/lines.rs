//! Collects log lines in tests.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// The fields of a line; `message` is its text.
pub type Line = BTreeMap<&'static str, String>;

/// The lines of the process since the first call of [`Lines::collect`], for services whose threads a test does not know. Other tests of the
/// process write lines, too.
pub struct Lines(Arc<Mutex<Vec<Line>>>);

impl Lines {
    /// Collects what the process logs from now on.
    ///
    /// # Panics
    /// The process has another global subscriber.
    #[must_use]
    pub fn collect() -> Self {
        static LINES: LazyLock<Arc<Mutex<Vec<Line>>>> = LazyLock::new(|| {
            let lines = Arc::default();
            tracing::subscriber::set_global_default(Collector(Arc::clone(&lines))).expect("no other global subscriber");
            lines
        });
        Self(Arc::clone(&LINES))
    }

    /// The lines with this text.
    #[must_use]
    pub fn of(&self, message: &str) -> Vec<Line> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.get("message").is_some_and(|text| text == message)).cloned().collect()
    }
}

struct Collector(Arc<Mutex<Vec<Line>>>);

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::INFO
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
