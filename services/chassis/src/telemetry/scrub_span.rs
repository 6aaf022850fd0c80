//! Removes texts that look like secrets from spans, before they leave the process. A span has the log lines of its work as events.

use std::borrow::Cow;

use opentelemetry::{
    Array, KeyValue, StringValue, Value,
    trace::{Event, Status},
};
use opentelemetry_sdk::trace::SpanData;

use super::scrub::{REDACTED, is_secret_name, scrub};

/// The span without secrets in its attributes, events and status.
pub(super) fn scrub_span(mut span: SpanData) -> SpanData {
    scrub_attributes(&mut span.attributes);
    span.events.events.iter_mut().for_each(scrub_event);
    if let Status::Error { description } = &mut span.status {
        scrub_text(description);
    }
    span
}

fn scrub_event(event: &mut Event) {
    scrub_text(&mut event.name);
    scrub_attributes(&mut event.attributes);
}

fn scrub_attributes(attributes: &mut [KeyValue]) {
    for KeyValue { key, value, .. } in attributes {
        match value {
            Value::String(_) if is_secret_name(key.as_str()) => *value = REDACTED.into(),
            Value::String(text) => scrub_string(text),
            Value::Array(Array::String(texts)) => texts.iter_mut().for_each(scrub_string),
            _ => (),
        }
    }
}

fn scrub_string(text: &mut StringValue) {
    if let Cow::Owned(scrubbed) = scrub(text.as_str()) {
        *text = scrubbed.into();
    }
}

fn scrub_text(text: &mut Cow<'static, str>) {
    if let Cow::Owned(scrubbed) = scrub(text) {
        *text = scrubbed.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_and_events_have_no_secrets() {
        let mut attributes = [
            KeyValue::new("url", "postgres://me:hunter2@db/x"),
            KeyValue::new("password", "hunter2"),
            KeyValue::new("texts", Value::Array(vec![StringValue::from("Bearer abcdefghijkl"), "fine".into()].into())),
            KeyValue::new("number", 7),
        ];
        scrub_attributes(&mut attributes);
        let texts: Vec<_> = attributes.iter().map(|attribute| attribute.value.to_string()).collect();
        assert_eq!(texts, ["postgres://[redacted]@db/x", REDACTED, "[\"Bearer [redacted]\",\"fine\"]", "7"]);
        let at = std::time::SystemTime::UNIX_EPOCH;
        let mut event = Event::new("password=hunter2", at, vec![KeyValue::new("thread", "key blt_pat_abcdefghijkl")], 0);
        scrub_event(&mut event);
        assert_eq!((&*event.name, event.attributes[0].value.to_string()), ("password=[redacted]", "key [redacted]".to_owned()));
    }
}
