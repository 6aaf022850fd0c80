//! The events of a log are numbered from 1 without gaps, and the last one is the only terminal event. All viewers receive the same log.

use super::{Turn, Violations};
use crate::record::{End, View};

pub(super) fn check(turn: &Turn, violations: &mut Violations<'_>) {
    let numbers: Vec<u32> = turn.log.iter().map(|event| event.seq).collect();
    let counted: Vec<u32> = (1..).take(turn.log.len()).collect();
    violations.require(numbers == counted, "numbering", || format!("the numbers are {numbers:?}"));
    violations.require(turn.row.seqs == counted, "numbering", || {
        format!("{} events are delivered, the stored ones are {:?}", turn.log.len(), turn.row.seqs)
    });
    let terminal: Vec<u32> = turn.log.iter().filter(|event| event.is_terminal()).map(|event| event.seq).collect();
    let last = counted.last().copied();
    violations.require(terminal.len() == 1 && terminal.last().copied() == last, "one terminal event", || {
        format!("the terminal events are {terminal:?}, the last event is {last:?}")
    });
    let kind = turn.log.last().map_or("nothing", |event| event.kind.as_str());
    violations.require(kind == format!("turn.{}", turn.row.state), "turn row", || format!("the state is {} after {kind}", turn.row.state));
    violations
        .require(Some(turn.row.last_seq) == last, "turn row", || format!("last_seq is {}, the last event is {last:?}", turn.row.last_seq));
    violations.require(!turn.row.end_due, "outbox", || "the end was not reported to project-storage".to_owned());
    violations.require(turn.watched.finished, "viewers receive the end", || "the viewer did not receive the terminal event".to_owned());
    for view in &turn.watched.views {
        check_view(turn, view, violations);
    }
}

/// Checks what one connection received.
fn check_view(turn: &Turn, view: &View, violations: &mut Violations<'_>) {
    let mut expected = view.after;
    for frame in &view.frames {
        expected += 1;
        violations.require(frame.id == expected, "viewers receive each event once", || {
            format!("received event {} instead of {expected}, connected after {}", frame.id, view.after)
        });
        expected = frame.id;
        let stored = turn.frames.iter().find(|stored| stored.id == frame.id);
        violations.require(stored == Some(frame), "viewers receive the log", || format!("received {frame:?}, stored {stored:?}"));
    }
    let is_complete = view.frames.last().is_some_and(|frame| Some(frame) == turn.frames.last() && frame.is_terminal());
    match &view.end {
        End::Clean => violations
            .require(is_complete, "streams end cleanly only after the terminal event", || format!("it ended after event {expected}")),
        End::Invalid(why) => violations.require(false, "streams are well-formed", || why.clone()),
        End::Broken | End::Disconnected => {}
    }
}
