//! Reading of answers: the code that the Anthropic and the OpenAI provider share.

use serde_json::Value;

use super::{
    ModelEvent, ProviderError,
    error_body::{ErrorBody, shorten},
    http::{EventReader, malformed},
    sse::Event,
};

/// Names of events that only keep the connection open.
const PINGS: [&str; 4] = ["ping", "keepalive", "keep-alive", "heartbeat"];

/// The state of an answer after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Open,
    /// The model paused. It continues when the next request contains the content so far.
    Paused,
    Complete,
}

/// Translates the events of a response into model events. Model events from before an error belong to the answer.
pub(super) trait Answer {
    fn event(&mut self, event: &Event, out: &mut Vec<ModelEvent>) -> Result<Progress, ProviderError>;

    /// Handles a response that ended regularly, but without the protocol's last event.
    fn end_of_response(&mut self, out: &mut Vec<ModelEvent>) -> Result<Progress, ProviderError>;

    /// The usage of a failed answer that was not reported yet.
    fn unreported_usage(&mut self) -> Option<ModelEvent>;
}

/// Reads one event of the response.
pub(super) async fn advance(
    reader: &mut EventReader,
    answer: &mut impl Answer,
    out: &mut Vec<ModelEvent>,
) -> Result<Progress, ProviderError> {
    let progress = match reader.next().await {
        Ok(Some(event)) => answer.event(&event, out),
        Ok(None) => answer.end_of_response(out),
        Err(error) => Err(error),
    };
    match progress {
        Ok(Progress::Open) => {}
        Ok(Progress::Paused | Progress::Complete) => reader.drain().await,
        Err(_) => out.extend(answer.unreported_usage()),
    }
    progress
}

/// The JSON object of an event. `None` for pings and empty events.
///
/// # Errors
/// The event reports an error, or is not JSON.
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
        Some(value) if let Some(error) = ErrorBody::find(&value) => Err(error.into_error(provider)),
        Some(value @ Value::Object(_)) => Ok(Some(value)),
        _ => Err(malformed(provider, &format!("an event that is not a JSON object: {}", shorten(data)))),
    }
}

fn unquoted(data: &str) -> &str {
    data.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(data)
}

/// A text field that is not empty.
pub(super) fn text<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value[field].as_str().filter(|text| !text.is_empty())
}
