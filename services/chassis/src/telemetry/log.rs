//! One line per event on standard error, for people or as JSON, with its service and its trace id. Standard output belongs to
//! the command.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    io::{self, IsTerminal as _},
};

use opentelemetry::trace::TraceContextExt as _;
use proto::text::misleads;
use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::{
    LogFormat,
    origin::{self, Origin},
    scrub::{REDACTED, is_secret_name, scrub},
};
use crate::clock;

/// The target of a panic's line; Sentry learns of panics by its own hook, with their stack.
pub(super) const PANIC: &str = "panic";

/// The layer that writes the lines.
pub(super) fn layer<S>(format: LogFormat, role: &'static str) -> impl tracing_subscriber::Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).event_format(Lines { format, role })
}

/// Makes a panic a log line like any other error. Unwinding goes on as it would.
pub(super) fn install_panic_hook() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !tracing::enabled!(target: PANIC, Level::ERROR) {
                return usual(info);
            }
            let payload = info.payload();
            let text =
                payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic");
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let thread = std::thread::current();
            tracing::error!(target: PANIC, place, thread = thread.name().unwrap_or_default(), "panicked: {text}");
        }));
    });
}

/// How a line is written.
struct Lines {
    format: LogFormat,
    role: &'static str,
}

/// The ids of the span that an event happened in.
struct Trace {
    trace_id: String,
    span_id: String,
}

impl Trace {
    fn current() -> Option<Self> {
        let context = opentelemetry::Context::current();
        let span = context.span();
        let ids = span.span_context();
        ids.is_valid().then(|| Self { trace_id: ids.trace_id().to_string(), span_id: ids.span_id().to_string() })
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let span = context.lookup_current();
        let service = origin::of_module(event.metadata().target())
            .or_else(|| span.as_ref().and_then(|span| span.extensions().get::<Origin>().map(|origin| origin.0)))
            .unwrap_or(self.role);
        let mut parts = Parts::default();
        event.record(&mut parts);
        let trace = Trace::current();
        match self.format {
            LogFormat::Json => {
                let mut line = head(*event.metadata().level(), service, event.metadata().target(), &parts.message);
                if let Some(trace) = trace {
                    line.insert("trace_id".into(), json!(trace.trace_id));
                    line.insert("span_id".into(), json!(trace.span_id));
                }
                if let Some(span) = span {
                    line.insert("span".into(), json!(span.name()));
                }
                if !parts.fields.is_empty() {
                    line.insert("fields".into(), Value::Object(parts.fields));
                }
                // Its texts are scrubbed one by one: across their borders a key could look like the value of a secret.
                writeln!(writer, "{}", harmless(&Value::Object(line).to_string(), Escape::Json))
            }
            LogFormat::Pretty => {
                let level = coloured(*event.metadata().level(), writer.has_ansi_escapes());
                let mut line = format!("{} {level} {service}: {}", now(), harmless(&parts.message, Escape::Text));
                for (name, value) in &parts.fields {
                    match value {
                        Value::String(text) if !text.contains(char::is_whitespace) => {
                            write!(line, " {name}={}", harmless(text, Escape::Text))?;
                        }
                        value => write!(line, " {name}={}", harmless(&value.to_string(), Escape::Text))?,
                    }
                }
                if let Some(trace) = trace {
                    write!(line, " trace_id={}", trace.trace_id)?;
                }
                writeln!(writer, "{}", scrub(&line))
            }
        }
    }
}

/// How a character is written that must not reach a terminal.
#[derive(Clone, Copy)]
enum Escape {
    /// `\u{1b}`.
    Text,
    /// `\u001b`: these stand only inside of strings.
    Json,
}

/// The text without characters that move a terminal's cursor, change its colours or turn the direction of what follows.
fn harmless(text: &str, escape: Escape) -> Cow<'_, str> {
    if !text.contains(misleads) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match escape {
            _ if !misleads(c) => out.push(c),
            Escape::Text => out.extend(c.escape_default()),
            Escape::Json => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    Cow::Owned(out)
}

/// The text as far as it takes so many bytes of a line, with a mark where more was there. What a client chose must be no longer.
#[must_use]
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        taken += match c {
            '"' | '\\' => 2,
            c if misleads(c) => c.escape_default().len(),
            c => c.len_utf8(),
        };
        if taken > most {
            return Cow::Owned(format!("{}…", &text[..at]));
        }
    }
    Cow::Borrowed(text)
}

fn now() -> String {
    clock::now().format(&Rfc3339).unwrap_or_default()
}

/// What every line in JSON begins with.
fn head(level: Level, service: &str, target: &str, message: &str) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("timestamp".into(), json!(now()));
    line.insert("level".into(), json!(level.as_str()));
    line.insert("service".into(), json!(service));
    line.insert("target".into(), json!(target));
    line.insert("message".into(), json!(scrub(message)));
    line
}

/// A line for what happens where there is no log yet, or no longer.
#[must_use]
pub fn json_line(level: Level, service: &str, message: &str) -> String {
    Value::Object(head(level, service, "main", message)).to_string()
}

fn coloured(level: Level, ansi: bool) -> String {
    let colour = match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    };
    if ansi { format!("\x1b[{colour}m{level:>5}\x1b[0m") } else { format!("{level:>5}") }
}

/// The message and the fields of an event.
#[derive(Default)]
struct Parts {
    message: String,
    fields: Map<String, Value>,
}

impl Parts {
    fn put(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            // Where the event came from, when it came through the crate `log`.
            name if name.starts_with("log.") => {}
            name if is_secret_name(name) => drop(self.fields.insert(name.to_owned(), json!(REDACTED))),
            name => {
                let value = if let Value::String(text) = value { Value::String(scrub(&text).into_owned()) } else { value };
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Parts {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, json!(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, json!(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, json!(crate::cause::chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, json!(format!("{value:?}")));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::info_span;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::telemetry::trace_id;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines of this work, and what it returned.
    fn logged<T>(format: LogFormat, work: impl FnOnce() -> T) -> (String, T) {
        let (kept, tracer) = (Kept::default(), SdkTracerProvider::builder().build().tracer("test"));
        let writer = kept.clone();
        let subscriber = tracing_subscriber::registry()
            .with(origin::Layer::new("backlot", false))
            .with(tracing_opentelemetry::layer().with_tracer(tracer))
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(move || writer.clone())
                    .with_ansi(false)
                    .event_format(Lines { format, role: "backlot" }),
            );
        let result = tracing::subscriber::with_default(subscriber, work);
        let bytes = kept.0.lock().unwrap().clone();
        (String::from_utf8(bytes).unwrap(), result)
    }

    fn work() -> String {
        tracing::info!(listen = "127.0.0.1:80", "outside");
        info_span!("request", svc = "auth").in_scope(|| {
            info_span!("query").in_scope(|| {
                tracing::warn!(seconds = 1.5, password = "s", key = "Bearer abcdefghijkl", "at {}", "postgres://me:hunter2@db/x")
            });
            trace_id()
        })
    }

    #[test]
    fn lines_for_machines() {
        let (text, trace_id) = logged(LogFormat::Json, work);
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (&lines[0]["service"], &lines[0]["message"], &lines[0]["fields"]["listen"]),
            (&json!("backlot"), &json!("outside"), &json!("127.0.0.1:80"))
        );
        assert_eq!(lines[0].get("trace_id"), None);
        assert_eq!((&lines[1]["level"], &lines[1]["service"], &lines[1]["span"]), (&json!("WARN"), &json!("auth"), &json!("query")));
        assert_eq!((&lines[1]["trace_id"], &lines[1]["fields"]["seconds"]), (&json!(trace_id), &json!(1.5)));
        assert_eq!(lines[1]["message"], "at postgres://[redacted]@db/x");
        assert_eq!((&lines[1]["fields"]["password"], &lines[1]["fields"]["key"]), (&json!(REDACTED), &json!("Bearer [redacted]")));
    }

    #[test]
    fn lines_for_people() {
        let (text, trace_id) = logged(LogFormat::Pretty, work);
        let lines: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(lines[0], " INFO backlot: outside listen=127.0.0.1:80");
        assert_eq!(
            lines[1],
            format!(
                " WARN auth: at postgres://[redacted]@db/x seconds=1.5 password=[redacted] key=\"Bearer [redacted]\" trace_id={trace_id}"
            )
        );
    }

    #[test]
    fn a_text_of_a_client_is_cut_where_its_line_would_be_too_long() {
        assert!(matches!(shortened("/api/projects", 200), Cow::Borrowed("/api/projects")));
        for (text, kept) in [("a", 200), ("\"", 100), ("\\", 100), ("é", 100), ("\u{202e}", 25), ("日", 66)] {
            assert_eq!(shortened(&text.repeat(kept), 200), text.repeat(kept), "{text}");
            assert_eq!(shortened(&text.repeat(900), 200), format!("{}…", text.repeat(kept)), "{text}");
        }
    }

    #[test]
    fn nothing_that_moves_a_terminal_is_written() {
        let nasty = "a\u{1b}[2Jb\rc\nd\u{202e}e\u{7f}\u{9b}f";
        let text = harmless(nasty, Escape::Text);
        assert_eq!(text, r"a\u{1b}[2Jb\rc\nd\u{202e}e\u{7f}\u{9b}f");
        let json = Value::String(nasty.to_owned()).to_string();
        let escaped = harmless(&json, Escape::Json);
        assert!(!escaped.contains(misleads), "{escaped}");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), nasty);
        for plain in ["plain é 日本 👩\u{200d}💻", ""] {
            assert!(matches!(harmless(plain, Escape::Text), Cow::Borrowed(_)));
        }
    }
}
