//! Compacts a log: joins the deltas of one block or call, and leaves out superseded events. Takes the events one by one and returns
//! those that are ready.

use std::collections::VecDeque;

use prost::Message as _;
use proto::agent_streaming::{TurnEvent, turn_event::Kind};

use crate::turn::event;

/// The largest joined delta.
const MAX_DELTA_BYTES: usize = 32 * 1024;
/// The largest number of bytes that are held back for an unfinished step. Above it the events are sent, and if the step is superseded,
/// so is `step.superseded`.
const MAX_HELD_BYTES: usize = 4 * 1024 * 1024;

/// Holds back the events of a step until the step is finished or superseded.
#[derive(Debug, Default)]
pub(crate) struct Compactor {
    held: VecDeque<TurnEvent>,
    bytes: usize,
    /// The seq of the last event that the reader has.
    sent: u32,
}

impl Compactor {
    /// A compactor for a reader that has all events up to `after`.
    pub(crate) fn after(after: u32) -> Self {
        Self { sent: after, ..Self::default() }
    }

    /// Takes the next event of the log, and returns the events that are ready.
    pub(crate) fn push(&mut self, event: TurnEvent) -> Vec<TurnEvent> {
        match &event.kind {
            Some(Kind::StepSuperseded(range)) => {
                let (from, all_held) = (range.from, range.from > self.sent);
                // Usage counts even if its step is superseded.
                self.held.retain(|event| event.seq < from || matches!(event.kind, Some(Kind::Usage(_))));
                self.bytes = self.held.iter().map(TurnEvent::encoded_len).sum();
                if all_held { Vec::new() } else { self.hold(event) }
            }
            Some(Kind::StepFinished(_)) => {
                self.hold(event);
                self.flush()
            }
            _ if event.is_terminal() => {
                self.hold(event);
                self.flush()
            }
            _ => self.hold(event),
        }
    }

    /// Returns all events that are held back.
    pub(crate) fn flush(&mut self) -> Vec<TurnEvent> {
        self.bytes = 0;
        if let Some(last) = self.held.back() {
            self.sent = last.seq;
        }
        self.held.drain(..).collect()
    }

    fn hold(&mut self, event: TurnEvent) -> Vec<TurnEvent> {
        self.bytes += event.encoded_len();
        let TurnEvent { seq, kind, .. } = event.clone();
        let joined = match (self.held.back_mut(), kind) {
            (Some(last), Some(next)) => match &mut last.kind {
                Some(kind) => event::join(kind, next, MAX_DELTA_BYTES).is_none().then(|| last.seq = seq).is_some(),
                None => false,
            },
            _ => false,
        };
        if !joined {
            self.held.push_back(event);
        }
        if self.bytes > MAX_HELD_BYTES { self.flush() } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proto::agent_streaming::{
        StepFinished, StepStarted, StepSuperseded, TextDelta, TextFinished, TextStarted, TurnAccepted, TurnCompleted, Usage,
    };

    use super::*;
    use crate::turn::transcript::RecordedTurn;

    fn numbered(kinds: Vec<Kind>) -> Vec<TurnEvent> {
        (1..).zip(kinds).map(|(seq, kind)| TurnEvent { seq, kind: Some(kind), ..TurnEvent::default() }).collect()
    }

    fn text(text: &str) -> Kind {
        Kind::TextDelta(TextDelta { block_id: "b".into(), text: text.into() })
    }

    fn compacted(events: &[TurnEvent], after: u32) -> Vec<TurnEvent> {
        let mut compactor = Compactor::after(after);
        let mut out = Vec::new();
        for event in events.iter().filter(|event| event.seq > after) {
            out.extend(compactor.push(event.clone()));
        }
        out.extend(compactor.flush());
        out
    }

    fn shown(events: &[TurnEvent]) -> Vec<String> {
        let name = |event: &TurnEvent| match &event.kind {
            Some(Kind::TextDelta(delta)) => format!("{} {}", event.seq, delta.text),
            Some(kind) => format!("{} {}", event.seq, proto::event::type_name(kind)),
            None => String::new(),
        };
        events.iter().map(name).collect()
    }

    #[test]
    fn deltas_are_joined_and_superseded_events_are_left_out() {
        let events = numbered(vec![
            Kind::TurnAccepted(TurnAccepted::default()),
            Kind::StepStarted(StepStarted { step: 1 }),
            Kind::TextStarted(TextStarted::default()),
            text("lo"),
            Kind::Usage(Usage::default()),
            text("st"),
            Kind::StepSuperseded(StepSuperseded { from: 2, to: 6 }),
            Kind::StepStarted(StepStarted { step: 1 }),
            text("a"),
            text("b"),
            text("c"),
            Kind::StepFinished(StepFinished::default()),
            Kind::TurnCompleted(TurnCompleted::default()),
        ]);
        let whole = ["1 turn.accepted", "5 usage", "8 step.started", "11 abc", "12 step.finished", "13 turn.completed"];
        assert_eq!(shown(&compacted(&events, 0)), whole);
        // A reader that has a part of the superseded step gets `step.superseded`.
        let rest = ["5 usage", "7 step.superseded", "8 step.started", "11 abc", "12 step.finished", "13 turn.completed"];
        assert_eq!(shown(&compacted(&events, 4)), rest);
        assert_eq!(shown(&compacted(&events, 10)), ["11 c", "12 step.finished", "13 turn.completed"]);
        assert_eq!(shown(&compacted(&events[..10], 9)), ["10 b"], "an unfinished step");
    }

    #[test]
    fn joined_deltas_and_held_events_are_bounded() {
        let mut kinds = vec![Kind::StepStarted(StepStarted { step: 1 })];
        kinds.extend((0..4_000).map(|_| text(&"x".repeat(1_400))));
        let events = numbered(kinds);
        let out = compacted(&events, 0);
        assert!(out.iter().all(|event| event.encoded_len() <= MAX_DELTA_BYTES + 100));
        assert!(out.len() < 200);
        let mut compactor = Compactor::default();
        assert!(events.into_iter().any(|event| !compactor.push(event).is_empty()), "a long step is not held back completely");
    }

    /// Logs of several steps, some of them superseded.
    fn logs() -> impl Strategy<Value = Vec<TurnEvent>> {
        let step = (0_usize..6, any::<bool>());
        proptest::collection::vec(step, 0..6).prop_map(|steps| {
            let mut kinds = vec![Kind::TurnAccepted(TurnAccepted::default())];
            for (n, (deltas, superseded)) in steps.into_iter().enumerate() {
                let from = u32::try_from(kinds.len() + 1).expect("short");
                kinds.push(Kind::StepStarted(StepStarted { step: 1 }));
                kinds.push(Kind::TextStarted(TextStarted { block_id: "b".into() }));
                kinds.extend((0..deltas).map(|d| text(&format!("{n}.{d} "))));
                if superseded {
                    let to = u32::try_from(kinds.len()).expect("short");
                    kinds.push(Kind::StepSuperseded(StepSuperseded { from, to }));
                } else {
                    kinds.push(Kind::TextFinished(TextFinished { block_id: "b".into() }));
                    kinds.push(Kind::StepFinished(StepFinished::default()));
                }
            }
            kinds.push(Kind::TurnCompleted(TurnCompleted::default()));
            numbered(kinds)
        })
    }

    proptest! {
        #[test]
        fn a_compact_log_has_the_same_transcript(log in logs(), cut in 0_usize..60) {
            // The reader has read a part of the full log, and reads the rest compacted.
            let cut = cut.min(log.len());
            let after = u32::try_from(cut).expect("short");
            let mut compact = RecordedTurn::default();
            for event in log[..cut].iter().chain(&compacted(&log, after)) {
                compact.apply(event.seq, event.kind.as_ref().expect("a kind"));
            }
            let mut full = RecordedTurn::default();
            for event in &log {
                full.apply(event.seq, event.kind.as_ref().expect("a kind"));
            }
            prop_assert_eq!(compact.transcript.answer.text(), full.transcript.answer.text());
            prop_assert_eq!(&compact.transcript.finished, &full.transcript.finished);
            let seqs: Vec<u32> = compacted(&log, after).iter().map(|event| event.seq).collect();
            prop_assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(cut == log.len() || seqs.last() == log.last().map(|event| &event.seq));
        }
    }
}
