//! Writes one line per event to standard error, as text for people or as JSON, with the service and the trace id. Standard output is for
//! the output of commands.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    io::{self, IsTerminal as _},
};

use opentelemetry::trace::TraceContextExt as _;
use proto::text::is_misleading;
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

/// The target of the log line of a panic. Sentry reports panics through its own hook, with the stack.
pub(super) const PANIC: &str = "panic";

/// The layer that writes the lines.
pub(super) fn layer<S>(format: LogFormat, role: &'static str) -> impl tracing_subscriber::Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).event_format(LineFormat { format, role })
}

/// Logs panics like other errors. Unwinding is unchanged.
pub(super) fn install_panic_hook() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !tracing::enabled!(target: PANIC, Level::ERROR) {
                return previous(info);
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

/// Formats an event as a line.
struct LineFormat {
    format: LogFormat,
    role: &'static str,
}

/// The ids of the current span.
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

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let span = context.lookup_current();
        let service = origin::of_module(event.metadata().target())
            .or_else(|| span.as_ref().and_then(|span| span.extensions().get::<Origin>().map(|origin| origin.0)))
            .unwrap_or(self.role);
        let mut content = Content::default();
        event.record(&mut content);
        let trace = Trace::current();
        match self.format {
            LogFormat::Json => {
                let mut line = json_head(*event.metadata().level(), service, event.metadata().target(), &content.message);
                if let Some(trace) = trace {
                    line.insert("trace_id".into(), json!(trace.trace_id));
                    line.insert("span_id".into(), json!(trace.span_id));
                }
                if let Some(span) = span {
                    line.insert("span".into(), json!(span.name()));
                }
                if !content.fields.is_empty() {
                    line.insert("fields".into(), Value::Object(content.fields));
                }
                // The texts are already scrubbed. Scrubbing the whole line could take a key for a secret.
                writeln!(writer, "{}", escape_misleading(&Value::Object(line).to_string(), Escape::Json))
            }
            LogFormat::Pretty => {
                let level = coloured(*event.metadata().level(), writer.has_ansi_escapes());
                let mut line = format!("{} {level} {service}: {}", now(), escape_misleading(&content.message, Escape::Text));
                for (name, value) in &content.fields {
                    match value {
                        Value::String(text) if !text.contains(char::is_whitespace) => {
                            write!(line, " {name}={}", escape_misleading(text, Escape::Text))?;
                        }
                        value => write!(line, " {name}={}", escape_misleading(&value.to_string(), Escape::Text))?,
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

/// The form of an escaped character.
#[derive(Clone, Copy)]
enum Escape {
    /// `\u{1b}`.
    Text,
    /// `\u001b`. Such characters occur only within strings.
    Json,
}

/// Escapes characters that move the cursor of a terminal, change its colours or change the direction of the text.
fn escape_misleading(text: &str, escape: Escape) -> Cow<'_, str> {
    if !text.contains(is_misleading) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match escape {
            _ if !is_misleading(c) => out.push(c),
            Escape::Text => out.extend(c.escape_default()),
            Escape::Json => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    Cow::Owned(out)
}

/// Cuts a text that a client chose, so that it takes at most `limit` bytes of a line. A text that was cut ends with `…`.
#[must_use]
pub fn shortened(text: &str, limit: usize) -> Cow<'_, str> {
    let mut bytes = 0;
    for (at, c) in text.char_indices() {
        bytes += match c {
            '"' | '\\' => 2,
            c if is_misleading(c) => c.escape_default().len(),
            c => c.len_utf8(),
        };
        if bytes > limit {
            return Cow::Owned(format!("{}…", &text[..at]));
        }
    }
    Cow::Borrowed(text)
}

fn now() -> String {
    clock::now().format(&Rfc3339).unwrap_or_default()
}

/// The first members of every line of JSON.
fn json_head(level: Level, service: &str, target: &str, message: &str) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("timestamp".into(), json!(now()));
    line.insert("level".into(), json!(level.as_str()));
    line.insert("service".into(), json!(service));
    line.insert("target".into(), json!(target));
    line.insert("message".into(), json!(scrub(message)));
    line
}

/// A line of JSON for messages before logging is set up or after it has ended.
#[must_use]
pub fn json_line(level: Level, service: &str, message: &str) -> String {
    Value::Object(json_head(level, service, "main", message)).to_string()
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
struct Content {
    message: String,
    fields: Map<String, Value>,
}

impl Content {
    fn put(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            // The source location of events from the crate `log`.
            name if name.starts_with("log.") => {}
            name if is_secret_name(name) => drop(self.fields.insert(name.to_owned(), json!(REDACTED))),
            name => {
                let value = if let Value::String(text) = value { Value::String(scrub(&text).into_owned()) } else { value };
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Content {
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
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `work` logs, and its output.
    fn logged<T>(format: LogFormat, work: impl FnOnce() -> T) -> (String, T) {
        let (buffer, tracer) = (Buffer::default(), SdkTracerProvider::builder().build().tracer("test"));
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::registry()
            .with(origin::Layer::new("backlot", false))
            .with(tracing_opentelemetry::layer().with_tracer(tracer))
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(move || writer.clone())
                    .with_ansi(false)
                    .event_format(LineFormat { format, role: "backlot" }),
            );
        let result = tracing::subscriber::with_default(subscriber, work);
        let bytes = buffer.0.lock().unwrap().clone();
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
    fn json_lines() {
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
    fn pretty_lines() {
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
    fn a_long_text_of_a_client_is_cut() {
        assert!(matches!(shortened("/api/projects", 200), Cow::Borrowed("/api/projects")));
        for (text, kept) in [("a", 200), ("\"", 100), ("\\", 100), ("é", 100), ("\u{202e}", 25), ("日", 66)] {
            assert_eq!(shortened(&text.repeat(kept), 200), text.repeat(kept), "{text}");
            assert_eq!(shortened(&text.repeat(900), 200), format!("{}…", text.repeat(kept)), "{text}");
        }
    }

    #[test]
    fn terminal_control_characters_are_escaped() {
        let nasty = "a\u{1b}[2Jb\rc\nd\u{202e}e\u{7f}\u{9b}f";
        let text = escape_misleading(nasty, Escape::Text);
        assert_eq!(text, r"a\u{1b}[2Jb\rc\nd\u{202e}e\u{7f}\u{9b}f");
        let json = Value::String(nasty.to_owned()).to_string();
        let escaped = escape_misleading(&json, Escape::Json);
        assert!(!escaped.contains(is_misleading), "{escaped}");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), nasty);
        for plain in ["plain é 日本 👩\u{200d}💻", ""] {
            assert!(matches!(escape_misleading(plain, Escape::Text), Cow::Borrowed(_)));
        }
    }
}
