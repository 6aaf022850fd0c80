//! What both dialects have in common in reading an answer.

use serde_json::Value;

use super::{
    ModelEvent, ProviderError,
    error_body::{ErrorBody, shorten},
    http::{Reader, malformed},
    sse::Event,
};

/// Names of events that only keep a connection open, whatever their data.
const PINGS: [&str; 4] = ["ping", "keepalive", "keep-alive", "heartbeat"];

/// Where an answer stands after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Open,
    /// The model wants its own words back to go on.
    Paused,
    Whole,
}

/// An answer while it is read. Pure: events of a response in, events of the model out. What was handed out before an error is
/// part of the answer so far.
pub(super) trait Answer {
    fn event(&mut self, event: &Event, out: &mut Vec<ModelEvent>) -> Result<Progress, ProviderError>;

    /// The response ended in order, without the protocol's last event.
    fn end_of_response(&mut self, out: &mut Vec<ModelEvent>) -> Result<Progress, ProviderError>;

    /// The figures that were not handed out yet, of an answer that broke.
    fn unreported_usage(&mut self) -> Option<ModelEvent>;
}

/// Reads one event.
pub(super) async fn advance(reader: &mut Reader, answer: &mut impl Answer, out: &mut Vec<ModelEvent>) -> Result<Progress, ProviderError> {
    let progress = match reader.next().await {
        Ok(Some(event)) => answer.event(&event, out),
        Ok(None) => answer.end_of_response(out),
        Err(error) => Err(error),
    };
    match progress {
        Ok(Progress::Open) => {}
        Ok(Progress::Paused | Progress::Whole) => reader.drain().await,
        Err(_) => out.extend(answer.unreported_usage()),
    }
    progress
}

/// The object in an event; `None` if it says nothing.
///
/// # Errors
/// It tells an error, or it is not JSON.
pub(super) fn object(provider: &str, event: &Event) -> Result<Option<Value>, ProviderError> {
    let data = event.data.trim();
    if data.is_empty() || PINGS.contains(&event.name.as_str()) {
        return Ok(None);
    }
    let value = serde_json::from_str::<Value>(data).ok().filter(|value| !value.is_string());
    if event.name == "error" {
        return Err(value.as_ref().map_or_else(|| ErrorBody::read(unquoted(data)), ErrorBody::of).into_error(provider));
    }
    match value {
        Some(Value::Null) => Ok(None),
        Some(value) if let Some(said) = ErrorBody::find(&value) => Err(said.into_error(provider)),
        Some(value @ Value::Object(_)) => Ok(Some(value)),
        _ => Err(malformed(provider, &format!("an event that is not a JSON object: {}", shorten(data)))),
    }
}

fn unquoted(data: &str) -> &str {
    data.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(data)
}

/// A text field that says something.
pub(super) fn text<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value[field].as_str().filter(|text| !text.is_empty())
}
