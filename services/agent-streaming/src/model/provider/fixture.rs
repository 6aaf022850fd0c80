//! Helpers that test recorded streams: complete, split at every byte, and ended at every byte.

use super::{
    ErrorClass, ModelEvent, ModelMessage, ModelRequest, ProviderError,
    answer::{Answer, Progress},
    body::{BadBody, BodyDecoder},
    http::incomplete,
};
use crate::workspace::tools;

type Read = (Vec<ModelEvent>, Option<ProviderError>);

/// The first step of a turn.
pub(super) fn request(tools: &[&str]) -> ModelRequest {
    ModelRequest {
        model: "m".into(),
        system: String::new(),
        tree: String::new(),
        history: 0,
        messages: vec![ModelMessage::User { text: "x".into() }],
        tools: tools::specs(tools),
        max_tokens: 9,
        prompt_key: String::new(),
    }
}

pub(super) fn read<'a, A: Answer>(mut answer: A, pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let (mut body, mut out) = (BodyDecoder::default(), Vec::new());
    let mut pieces = pieces.into_iter();
    loop {
        let (piece, mut events) = (pieces.next(), Vec::new());
        let read = match piece {
            Some(piece) => body.push(piece, &mut events),
            None => body.finish(&mut events),
        };
        for event in events {
            match answer.event(&event, &mut out) {
                Ok(Progress::Open) => {}
                Ok(Progress::Complete | Progress::Paused) => return (out, None),
                Err(error) => return (out, Some(error)),
            }
        }
        match (read, piece) {
            (Ok(()), Some(_)) => {}
            (Ok(()), None) => {
                let error = answer.end_of_response(&mut out).err();
                return (out, error);
            }
            (Err(BadBody::Incomplete), _) => return (out, Some(incomplete("x"))),
            (Err(bad), _) => return (out, Some(ProviderError::new(ErrorClass::InvalidRequest, format!("{bad:?}")))),
        }
    }
}

/// Reads a stream, and asserts that splits do not change the result.
pub(super) fn split<A: Answer>(make: impl Fn() -> A, stream: &str) -> Read {
    let bytes = stream.as_bytes();
    let whole = read(make(), [bytes]);
    assert_eq!(read(make(), bytes.chunks(1)), whole, "byte by byte");
    for at in 0..=bytes.len() {
        assert_eq!(read(make(), [&bytes[..at], &bytes[at..]]), whole, "split at {at}");
    }
    whole
}

/// As [`split`], and asserts that an early end of the stream is detected or harmless. Not for streams with a finish reason before the end
/// of the content.
pub(super) fn check<A: Answer>(make: impl Fn() -> A, stream: &str) -> Read {
    let whole = split(&make, stream);
    for at in 0..=stream.len() {
        let (events, error) = read(make(), [&stream.as_bytes()[..at]]);
        match error {
            Some(error) if error.class == ErrorClass::Connection => {
                assert_eq!(events.as_slice(), &whole.0[..events.len()], "ended at {at}");
            }
            Some(error) => {
                let expected = whole.1.as_ref().map(|error| error.class);
                assert_eq!((Some(error.class), &events), (expected, &whole.0), "ended at {at}");
            }
            None => assert_eq!(without_usage(&events), without_usage(&whole.0), "ended at {at}"),
        }
    }
    whole
}

fn without_usage(events: &[ModelEvent]) -> Vec<&ModelEvent> {
    events.iter().filter(|event| !matches!(event, ModelEvent::Usage(_))).collect()
}

/// A stream of events with the given data.
pub(super) fn stream(events: &[&str]) -> String {
    events.iter().map(|data| format!("data: {data}\n\n")).collect()
}

/// One line per event, for comparison.
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
            ModelEvent::ToolReady { call_id, input, opaque } if opaque.is_null() => format!("ready {call_id} {input}"),
            ModelEvent::ToolReady { call_id, input, opaque } => format!("ready {call_id} {input} {opaque}"),
            ModelEvent::Usage(u) => format!(
                "usage {} {} {} {} {}",
                u.input_tokens, u.output_tokens, u.cached_input_tokens, u.cache_write_input_tokens, u.reasoning_tokens
            ),
            ModelEvent::Finished(reason) => format!("finished {}", reason.as_str()),
        })
        .collect()
}
