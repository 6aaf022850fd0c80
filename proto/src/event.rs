//! For readers of a turn's events: which states and events end a turn, and the JSON form of an event, which all viewers receive.

use crate::agent_streaming::{TurnEvent, TurnState, turn_event::Kind};

/// What the JSON form of an event needs of each variant of its `Kind`.
macro_rules! kinds {
    ($($variant:ident => $name:literal),* $(,)?) => {
        /// The type name of an event, such as `text.delta`: the field's name in the contract with a dot for the first `_`.
        #[must_use]
        pub fn type_name(kind: &Kind) -> &'static str {
            match kind { $(Kind::$variant(_) => $name,)* }
        }

        fn data_json(kind: &Kind) -> Result<String, serde_json::Error> {
            match kind { $(Kind::$variant(data) => serde_json::to_string(data),)* }
        }

        /// Every type name.
        pub const TYPE_NAMES: &[&str] = &[$($name),*];
    };
}
pub(crate) use kinds;

kinds! {
    TurnAccepted => "turn.accepted", TurnQueued => "turn.queued", TurnStarted => "turn.started",
    TurnCommitting => "turn.committing", TurnCompleted => "turn.completed", TurnFailed => "turn.failed",
    TurnCancelled => "turn.cancelled", TurnConflicted => "turn.conflicted",
    AgentSelected => "agent.selected", ContextPlanned => "context.planned",
    AttemptStarted => "attempt.started", AttemptFailed => "attempt.failed",
    StepStarted => "step.started", StepFinished => "step.finished", StepSuperseded => "step.superseded",
    TextStarted => "text.started", TextDelta => "text.delta", TextFinished => "text.finished",
    ReasoningStarted => "reasoning.started", ReasoningDelta => "reasoning.delta", ReasoningFinished => "reasoning.finished",
    ToolStarted => "tool.started", ToolInputDelta => "tool.input_delta", ToolReady => "tool.ready",
    ToolOutput => "tool.output", ToolFailed => "tool.failed",
    FileOpened => "file.opened", FileDelta => "file.delta", FileClosed => "file.closed", FileRejected => "file.rejected",
    FilesCommitted => "files.committed", FilesConflict => "files.conflict",
    ChecksFinished => "checks.finished",
    Usage => "usage",
}

impl TurnState {
    /// Whether the turn has ended in this state. Nothing is appended to its log any more.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Conflicted)
    }
}

impl TurnEvent {
    /// The state of the turn after this event, for the events that end it.
    fn final_state(&self) -> Option<TurnState> {
        match self.kind {
            Some(Kind::TurnCompleted(_)) => Some(TurnState::Completed),
            Some(Kind::TurnFailed(_)) => Some(TurnState::Failed),
            Some(Kind::TurnCancelled(_)) => Some(TurnState::Cancelled),
            Some(Kind::TurnConflicted(_)) => Some(TurnState::Conflicted),
            _ => None,
        }
    }

    /// Whether no event follows this one.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.final_state().is_some_and(TurnState::has_ended)
    }

    /// The event as one line of JSON: `{"seq":7,"turnId":…,"type":"text.delta","time":…,"traceId":…,"data":{…}}`. A kind that this build
    /// does not know has the type `unknown` and no data.
    ///
    /// # Errors
    /// A message could not be serialised as JSON. No message of the contract causes this.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let (name, data) = match &self.kind {
            Some(kind) => (type_name(kind), data_json(kind)?),
            None => ("unknown", "{}".to_owned()),
        };
        let time = serde_json::to_string(&self.time)?;
        let trace = serde_json::to_string(&self.trace_id)?;
        let turn = serde_json::to_string(&self.turn_id)?;
        Ok(format!(r#"{{"seq":{},"turnId":{turn},"type":"{name}","time":{time},"traceId":{trace},"data":{data}}}"#, self.seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_streaming::{TextDelta, TurnCancelled, TurnCommitting, TurnCompleted, TurnConflicted, TurnFailed, TurnStarted};

    #[test]
    fn an_event_is_one_line_of_json_with_a_dotted_type() {
        let event = TurnEvent {
            seq: 7,
            turn_id: "t".into(),
            time: Some(pbjson_types::Timestamp { seconds: 0, nanos: 5_000_000 }),
            trace_id: "ab".into(),
            kind: Some(Kind::TextDelta(TextDelta { block_id: "b".into(), text: "a\nb\"".into() })),
        };
        assert_eq!(
            event.to_json().expect("json"),
            r#"{"seq":7,"turnId":"t","type":"text.delta","time":"1970-01-01T00:00:00.005+00:00","traceId":"ab","data":{"blockId":"b","text":"a\nb\""}}"#
        );
    }

    #[test]
    fn every_final_state_has_a_terminal_event() {
        let kinds = [
            Kind::TurnCompleted(TurnCompleted::default()),
            Kind::TurnFailed(TurnFailed::default()),
            Kind::TurnCancelled(TurnCancelled::default()),
            Kind::TurnConflicted(TurnConflicted::default()),
        ];
        let mut ended: Vec<_> = (0..32).filter_map(|number| TurnState::try_from(number).ok()).filter(|state| state.has_ended()).collect();
        for kind in kinds {
            let event = TurnEvent { kind: Some(kind), ..TurnEvent::default() };
            assert!(event.is_terminal());
            ended.retain(|state| Some(*state) != event.final_state());
        }
        assert!(ended.is_empty(), "no event leads to {ended:?}");
        for kind in [Kind::TurnStarted(TurnStarted::default()), Kind::TurnCommitting(TurnCommitting::default())] {
            assert!(!TurnEvent { kind: Some(kind), ..TurnEvent::default() }.is_terminal());
        }
    }

    #[test]
    fn type_names_follow_the_contract() {
        for name in TYPE_NAMES {
            assert!(name.matches('.').count() <= 1 && name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
        }
    }
}
