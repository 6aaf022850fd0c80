//! The tails of turns: [`chassis::tail`] with the events of turns as entries.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chassis::tail;
use prost::Message as _;
use proto::{
    agent_streaming::{EventLine, TurnEvent},
    id::TurnId,
};

/// The tails of the turns that have viewers at this process.
pub(crate) type Tails = tail::Tails<TurnId, Frame>;
/// A viewer of a turn.
pub(crate) type Viewer = tail::Viewer<TurnId, Frame>;

/// An event with its encoded size in bytes.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) event: TurnEvent,
    pub(crate) bytes: usize,
    /// The event as JSON, encoded at the first use.
    line: OnceLock<Bytes>,
}

impl tail::Entry for Frame {
    fn seq(&self) -> u32 {
        self.event.seq
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Frame {
    pub(crate) fn new(event: TurnEvent) -> Arc<Self> {
        let bytes = event.encoded_len();
        Arc::new(Self { event, bytes, line: OnceLock::new() })
    }

    /// The event as a line of JSON.
    pub(crate) fn line(&self) -> EventLine {
        // Messages of the contract can always be encoded. If one could not, the line would be empty and the client would read it again.
        let json = self.line.get_or_init(|| self.event.to_json().unwrap_or_default().into()).clone();
        EventLine { seq: self.event.seq, terminal: self.event.is_terminal(), json }
    }
}

/// Delivers events that this process has just written. `first_seq` is the seq of the first one.
pub(crate) fn deliver(tails: &Tails, turn: TurnId, first_seq: u32, events: Vec<TurnEvent>) {
    tails.deliver(turn, || {
        let turn_id = turn.to_string();
        (first_seq..).zip(events).map(|(seq, event)| Frame::new(TurnEvent { seq, turn_id: turn_id.clone(), ..event })).collect()
    });
}
