//! The events of the log: their encoding, the limits of their sizes, and the joining of deltas.

use prost::Message as _;
use proto::{
    agent_streaming::{FileDelta, ReasoningDelta, TextDelta, ToolInputDelta, TurnEvent, turn_event::Kind},
    id::TurnId,
};

/// The largest text of a delta. With ids, time and trace id the payload stays below 1,800 bytes, so that PostgreSQL stores the row
/// inline.
pub(crate) const DELTA_BYTES: usize = 1_400;
/// The largest other text of an event, so that no event is larger than 64 KiB.
pub(crate) const TEXT_BYTES: usize = 48 * 1024;
/// Longer arguments are streamed as deltas, even if the provider sent them in one piece.
pub(crate) const READY_BYTES: usize = 8 * 1024;
/// What a file of a plan has besides its path and its ranges, at most.
const PLANNED_FILE_BYTES: usize = 90;
/// The largest tool name.
const NAME_BYTES: usize = 200;

/// The payload of an event: everything but seq and turn id, which are columns.
pub(crate) fn encode(event: &TurnEvent) -> Vec<u8> {
    debug_assert!(event.seq == 0 && event.turn_id.is_empty());
    event.encode_to_vec()
}

/// Decodes an event of the log. A payload that this version cannot decode becomes an event without a kind, which readers ignore.
pub(crate) fn decode(turn: TurnId, seq: u32, payload: &[u8]) -> TurnEvent {
    let event = TurnEvent::decode(payload).unwrap_or_default();
    TurnEvent { seq, turn_id: turn.to_string(), ..event }
}

/// Fits an event to the limits of the log: splits a long delta into several, and cuts any other text.
pub(crate) fn fit(kind: Kind) -> Vec<Kind> {
    match kind {
        Kind::TextDelta(TextDelta { block_id, text }) => {
            pieces(&text).map(|text| Kind::TextDelta(TextDelta { block_id: block_id.clone(), text })).collect()
        }
        Kind::ReasoningDelta(ReasoningDelta { block_id, text }) => {
            pieces(&text).map(|text| Kind::ReasoningDelta(ReasoningDelta { block_id: block_id.clone(), text })).collect()
        }
        Kind::ToolInputDelta(ToolInputDelta { call_id, json }) => {
            pieces(&json).map(|json| Kind::ToolInputDelta(ToolInputDelta { call_id: call_id.clone(), json })).collect()
        }
        Kind::FileDelta(FileDelta { call_id, text }) => {
            pieces(&text).map(|text| Kind::FileDelta(FileDelta { call_id: call_id.clone(), text })).collect()
        }
        mut other => {
            shorten(&mut other);
            vec![other]
        }
    }
}

/// Joins a delta to the previous event, if both are deltas of the same block or call and have at most `limit` bytes together. Otherwise
/// returns the delta.
pub(crate) fn join(last: &mut Kind, next: Kind, limit: usize) -> Option<Kind> {
    let (text, more) = match (last, &next) {
        (Kind::TextDelta(a), Kind::TextDelta(b)) if a.block_id == b.block_id => (&mut a.text, &b.text),
        (Kind::ReasoningDelta(a), Kind::ReasoningDelta(b)) if a.block_id == b.block_id => (&mut a.text, &b.text),
        (Kind::ToolInputDelta(a), Kind::ToolInputDelta(b)) if a.call_id == b.call_id => (&mut a.json, &b.json),
        (Kind::FileDelta(a), Kind::FileDelta(b)) if a.call_id == b.call_id => (&mut a.text, &b.text),
        _ => return Some(next),
    };
    if text.len() + more.len() > limit {
        return Some(next);
    }
    text.push_str(more);
    None
}

/// Cuts a text to at most `bytes` bytes at a character boundary.
pub(crate) fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        text.truncate(floor(text, bytes));
    }
}

/// The last character boundary at or before `bytes`.
fn floor(text: &str, bytes: usize) -> usize {
    (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn pieces(text: &str) -> impl Iterator<Item = String> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(floor(rest, DELTA_BYTES));
        rest = after;
        Some(piece.to_owned())
    })
}

fn shorten(kind: &mut Kind) {
    match kind {
        Kind::TurnFailed(e) => cut(&mut e.message, 1_000),
        Kind::AttemptFailed(e) => cut(&mut e.message, 1_000),
        // A part of an opaque value is useless, so all of it is removed. The provider gets the block without it, or not at all.
        Kind::ReasoningFinished(e) if e.opaque_json.len() > TEXT_BYTES => e.opaque_json.clear(),
        Kind::ToolStarted(e) => cut(&mut e.tool, NAME_BYTES),
        // A part of a JSON text is useless. The arguments are in the deltas before this event.
        Kind::ToolReady(e) => {
            if e.opaque_json.len() > TEXT_BYTES {
                e.opaque_json.clear();
            }
            if e.input_json.len() > TEXT_BYTES || e.input_json.len() + e.opaque_json.len() > TEXT_BYTES + READY_BYTES {
                "{}".clone_into(&mut e.input_json);
            }
        }
        Kind::ToolOutput(e) => cut(&mut e.summary, 1_000),
        Kind::ToolFailed(e) => cut(&mut e.message, TEXT_BYTES),
        Kind::FileOpened(e) => cut(&mut e.path, 1_000),
        Kind::FileRejected(e) => {
            cut(&mut e.path, 1_000);
            cut(&mut e.nearest_region, TEXT_BYTES);
        }
        Kind::ContextPlanned(e) => {
            let mut bytes = 0;
            e.files.retain(|file| {
                bytes += file.path.len() + PLANNED_FILE_BYTES + file.ranges.len() * 12;
                bytes <= TEXT_BYTES
            });
        }
        // Keeps as many paths as fit. Project-storage has all of them.
        Kind::FilesConflict(e) => {
            let mut bytes = 0;
            e.paths.retain(|path| {
                bytes += path.len() + 8;
                bytes <= TEXT_BYTES
            });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proto::agent_streaming::{FilesConflict, ToolFailed, ToolReady};

    use super::*;

    fn text(kind: &Kind) -> &str {
        match kind {
            Kind::TextDelta(e) => &e.text,
            Kind::ReasoningDelta(e) => &e.text,
            Kind::ToolInputDelta(e) => &e.json,
            Kind::FileDelta(e) => &e.text,
            other => panic!("not a delta: {other:?}"),
        }
    }

    fn delta(which: u8, name: &str, text: &str) -> Kind {
        let (id, text) = (name.to_owned(), text.to_owned());
        match which % 4 {
            0 => Kind::TextDelta(TextDelta { block_id: id, text }),
            1 => Kind::ReasoningDelta(ReasoningDelta { block_id: id, text }),
            2 => Kind::ToolInputDelta(ToolInputDelta { call_id: id, json: text }),
            _ => Kind::FileDelta(FileDelta { call_id: id, text }),
        }
    }

    fn payload(kind: Kind) -> usize {
        let time = Some(pbjson_types::Timestamp { seconds: 4_000_000_000, nanos: 999_999_999 });
        encode(&TurnEvent { time, trace_id: "f".repeat(32), kind: Some(kind), ..TurnEvent::default() }).len()
    }

    proptest! {
        #[test]
        fn split_and_joined_deltas_keep_the_text_and_stay_small(
            parts in prop::collection::vec((0_u8..4, prop::sample::select(vec!["a", "b"]), "\\PC{0,900}"), 0..12)
        ) {
            let mut log: Vec<Kind> = Vec::new();
            for (which, name, text) in &parts {
                for kind in fit(delta(*which, name, text)) {
                    let rest = match log.last_mut() {
                        Some(last) => join(last, kind, DELTA_BYTES),
                        None => Some(kind),
                    };
                    log.extend(rest);
                }
            }
            let sent: String = parts.iter().map(|(_, _, text)| text.as_str()).collect();
            prop_assert_eq!(log.iter().map(text).collect::<String>(), sent);
            for kind in log {
                prop_assert!(payload(kind) < 1_800);
            }
        }
    }

    #[test]
    fn only_deltas_of_one_block_are_joined() {
        let mut last = delta(0, "a", "x");
        assert_eq!(join(&mut last, delta(0, "a", "y"), DELTA_BYTES), None);
        assert_eq!(text(&last), "xy");
        assert!(join(&mut last, delta(0, "b", "z"), DELTA_BYTES).is_some());
        assert!(join(&mut last, delta(1, "a", "z"), DELTA_BYTES).is_some());
        assert!(join(&mut last, delta(0, "a", &"z".repeat(DELTA_BYTES)), DELTA_BYTES).is_some());
    }

    #[test]
    fn events_other_than_deltas_are_cut_to_64_kib() {
        let long = "é".repeat(100_000);
        let kinds = [
            Kind::ToolFailed(ToolFailed { message: long.clone(), ..Default::default() }),
            Kind::ToolReady(ToolReady { input_json: long.clone(), ..Default::default() }),
            Kind::ToolReady(ToolReady { input_json: "x".repeat(40_000), opaque_json: "y".repeat(40_000), ..Default::default() }),
            Kind::FilesConflict(FilesConflict { paths: vec!["p".repeat(255); 2_000] }),
        ];
        for kind in kinds {
            let mut fitted = fit(kind);
            assert_eq!(fitted.len(), 1);
            assert!(payload(fitted.remove(0)) <= 64 * 1024);
        }
    }

    #[test]
    fn an_encoded_event_can_be_decoded() {
        let turn = TurnId::generate();
        let event = TurnEvent { trace_id: "t".into(), kind: Some(delta(0, "b", "x")), ..TurnEvent::default() };
        let read = decode(turn, 7, &encode(&event));
        assert_eq!((read.seq, read.turn_id.as_str(), read.kind), (7, turn.to_string().as_str(), event.kind));
        assert_eq!(decode(turn, 8, &[0xff]).kind, None);
    }
}
