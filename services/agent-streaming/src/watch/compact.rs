//! The short way through a log: deltas of one block or call joined, superseded ranges left out. Pure; events go in one by one,
//! what may go out comes back.

use std::collections::VecDeque;

use prost::Message as _;
use proto::agent_streaming::{TurnEvent, turn_event::Kind};

use crate::turn::event;

/// What one joined delta holds at most.
const JOINED_BYTES: usize = 32 * 1024;
/// What is held back for a step that may turn out to be superseded. Above it the reader is told what counts no more, as every
/// other reader is.
const HELD_BYTES: usize = 4 * 1024 * 1024;

/// Holds the events of a step back until it is known whether they count.
#[derive(Debug, Default)]
pub(crate) struct Compactor {
    held: VecDeque<TurnEvent>,
    bytes: usize,
    /// The last event that went out, or that the reader had before.
    sent: u32,
}

impl Compactor {
    /// For a reader that has everything up to `after`.
    pub(crate) fn after(after: u32) -> Self {
        Self { sent: after, ..Self::default() }
    }

    /// Takes the next event of the log.
    pub(crate) fn push(&mut self, event: TurnEvent) -> Vec<TurnEvent> {
        match &event.kind {
            Some(Kind::StepSuperseded(range)) => {
                let (from, all_held) = (range.from, range.from > self.sent);
                // What a lost call used is used.
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

    /// Everything that is held.
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
                Some(kind) => event::join(kind, next, JOINED_BYTES).is_none().then(|| last.seq = seq).is_some(),
                None => false,
            },
            _ => false,
        };
        if !joined {
            self.held.push_back(event);
        }
        if self.bytes > HELD_BYTES { self.flush() } else { Vec::new() }
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
    fn deltas_are_joined_and_what_counts_no_more_is_left_out() {
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
        // Who has seen a part of the lost step is told so.
        let rest = ["5 usage", "7 step.superseded", "8 step.started", "11 abc", "12 step.finished", "13 turn.completed"];
        assert_eq!(shown(&compacted(&events, 4)), rest);
        assert_eq!(shown(&compacted(&events, 10)), ["11 c", "12 step.finished", "13 turn.completed"]);
        assert_eq!(shown(&compacted(&events[..10], 9)), ["10 b"], "a step that still runs");
    }

    #[test]
    fn a_joined_delta_and_what_is_held_are_bounded() {
        let mut kinds = vec![Kind::StepStarted(StepStarted { step: 1 })];
        kinds.extend((0..4_000).map(|_| text(&"x".repeat(1_400))));
        let events = numbered(kinds);
        let out = compacted(&events, 0);
        assert!(out.iter().all(|event| event.encoded_len() <= JOINED_BYTES + 100));
        assert!(out.len() < 200);
        let mut compactor = Compactor::default();
        assert!(events.into_iter().any(|event| !compactor.push(event).is_empty()), "not all of a long step is held");
    }

    /// A log of steps, some of them lost in the middle.
    fn logs() -> impl Strategy<Value = Vec<TurnEvent>> {
        let step = (0_usize..6, any::<bool>());
        proptest::collection::vec(step, 0..6).prop_map(|steps| {
            let mut kinds = vec![Kind::TurnAccepted(TurnAccepted::default())];
            for (n, (deltas, lost)) in steps.into_iter().enumerate() {
                let from = u32::try_from(kinds.len() + 1).expect("short");
                kinds.push(Kind::StepStarted(StepStarted { step: 1 }));
                kinds.push(Kind::TextStarted(TextStarted { block_id: "b".into() }));
                kinds.extend((0..deltas).map(|d| text(&format!("{n}.{d} "))));
                if lost {
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
        fn both_ways_come_to_the_same(log in logs(), cut in 0_usize..60) {
            // A reader that saw some of the log as it was written, left, and comes back the short way.
            let cut = cut.min(log.len());
            let after = u32::try_from(cut).expect("short");
            let mut short = RecordedTurn::default();
            for event in log[..cut].iter().chain(&compacted(&log, after)) {
                short.apply(event.seq, event.kind.as_ref().expect("a kind"));
            }
            let mut long = RecordedTurn::default();
            for event in &log {
                long.apply(event.seq, event.kind.as_ref().expect("a kind"));
            }
            prop_assert_eq!(short.transcript.answer.text(), long.transcript.answer.text());
            prop_assert_eq!(&short.transcript.finished, &long.transcript.finished);
            let seqs: Vec<u32> = compacted(&log, after).iter().map(|event| event.seq).collect();
            prop_assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(cut == log.len() || seqs.last() == log.last().map(|event| &event.seq));
        }
    }
}
