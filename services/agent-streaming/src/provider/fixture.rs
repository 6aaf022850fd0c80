//! How recorded streams are tested: whole, split at every byte, and ended at every byte.

use super::{ErrorClass, ModelEvent, ProviderError, sse};

/// What a dialect's reader does with a stream.
pub(super) trait Reads {
    /// True at the end of the answer.
    fn event(&mut self, data: &str, out: &mut Vec<ModelEvent>) -> Result<bool, ProviderError>;
    fn eof(&mut self, out: &mut Vec<ModelEvent>) -> Result<(), ProviderError>;
}

type Read = (Vec<ModelEvent>, Option<ProviderError>);

pub(super) fn read<'a, R: Reads>(mut reader: R, pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let (mut decoder, mut out) = (sse::Decoder::default(), Vec::new());
    for piece in pieces {
        let mut events = Vec::new();
        decoder.push(piece, &mut events).expect("short enough");
        for event in events {
            match reader.event(&event.data, &mut out) {
                Ok(true) => return (out, None),
                Ok(false) => {}
                Err(error) => return (out, Some(error)),
            }
        }
    }
    let error = reader.eof(&mut out).err();
    (out, error)
}

/// Reads a stream whole, and proves that splits change nothing and that an early end is either seen or harmless.
pub(super) fn check<R: Reads>(make: impl Fn() -> R, stream: &str) -> Read {
    let bytes = stream.as_bytes();
    let whole = read(make(), [bytes]);
    assert_eq!(read(make(), bytes.chunks(1)), whole, "byte by byte");
    for at in 0..=bytes.len() {
        assert_eq!(read(make(), [&bytes[..at], &bytes[at..]]), whole, "split at {at}");
        let (events, error) = read(make(), [&bytes[..at]]);
        match error {
            Some(error) if whole.1.as_ref() != Some(&error) => {
                assert_eq!((error.class, events.as_slice()), (ErrorClass::Connection, &whole.0[..events.len()]), "ended at {at}");
            }
            Some(_) => assert_eq!(events, whole.0, "ended at {at}"),
            None => assert_eq!(without_usage(&events), without_usage(&whole.0), "ended at {at}"),
        }
    }
    whole
}

fn without_usage(events: &[ModelEvent]) -> Vec<&ModelEvent> {
    events.iter().filter(|event| !matches!(event, ModelEvent::Usage(_))).collect()
}

/// A stream from the data of its events.
pub(super) fn stream(events: &[&str]) -> String {
    events.iter().map(|data| format!("data: {data}\n\n")).collect()
}

/// One line per event, for comparison: joined deltas would hide what a viewer sees.
pub(super) fn shown(events: &[ModelEvent]) -> Vec<String> {
    events
        .iter()
        .map(|event| match event {
            ModelEvent::TextStarted { block } => format!("text {block}"),
            ModelEvent::TextDelta { text, .. } => format!("+ {text}"),
            ModelEvent::TextFinished { block } => format!("end {block}"),
            ModelEvent::ReasoningStarted { block } => format!("reasoning {block}"),
            ModelEvent::ReasoningDelta { text, .. } => format!("~ {text}"),
            ModelEvent::ReasoningFinished { block, opaque } => format!("end {block} {opaque}"),
            ModelEvent::ToolStarted { call_id, tool } => format!("tool {call_id} {tool}"),
            ModelEvent::ToolInputDelta { call_id, json } => format!("{call_id} {json}"),
            ModelEvent::ToolReady { call_id, input } => format!("ready {call_id} {input}"),
            ModelEvent::Usage(u) => format!(
                "usage {} {} {} {} {}",
                u.input_tokens, u.output_tokens, u.cached_input_tokens, u.cache_write_input_tokens, u.reasoning_tokens
            ),
            ModelEvent::Finished(reason) => format!("finished {}", reason.as_str()),
        })
        .collect()
}
