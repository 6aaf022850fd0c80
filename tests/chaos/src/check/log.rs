//! A log is numbered from 1 without gaps and ends with its only terminal event. Everybody sees the same log.

use super::{Broken, Turn};
use crate::record::{End, View};

pub(super) fn check(turn: &Turn, broken: &mut Broken<'_>) {
    let numbers: Vec<u32> = turn.log.iter().map(|event| event.seq).collect();
    let counted: Vec<u32> = (1..).take(turn.log.len()).collect();
    broken.unless(numbers == counted, "numbering", || format!("the log reads {numbers:?}"));
    broken.unless(turn.row.seqs == counted, "numbering", || format!("{} events are read, stored are {:?}", turn.log.len(), turn.row.seqs));
    let terminal: Vec<u32> = turn.log.iter().filter(|event| event.is_terminal()).map(|event| event.seq).collect();
    let last = counted.last().copied();
    broken.unless(terminal.len() == 1 && terminal.last().copied() == last, "one terminal event", || {
        format!("terminal events are {terminal:?} of {last:?}")
    });
    let kind = turn.log.last().map_or("nothing", |event| event.kind.as_str());
    broken.unless(kind == format!("turn.{}", turn.row.state), "the row", || format!("{} after {kind}", turn.row.state));
    broken.unless(Some(turn.row.last_seq) == last, "the row", || format!("last_seq is {} of {last:?}", turn.row.last_seq));
    broken.unless(!turn.row.end_due, "the outbox", || "project-storage was not told of the end".to_owned());
    broken.unless(turn.watched.finished, "viewers arrive", || "its viewer did not see the end".to_owned());
    for view in &turn.watched.views {
        viewed(turn, view, broken);
    }
}

/// What one connection brought.
fn viewed(turn: &Turn, view: &View, broken: &mut Broken<'_>) {
    let mut expected = view.after;
    for frame in &view.frames {
        expected += 1;
        broken.unless(frame.id == expected, "viewers see each event once", || {
            format!("event {} in place of {expected}, after {}", frame.id, view.after)
        });
        expected = frame.id;
        let stored = turn.frames.iter().find(|stored| stored.id == frame.id);
        broken.unless(stored == Some(frame), "viewers see the log", || format!("seen {frame:?}, stored {stored:?}"));
    }
    let over = view.frames.last().is_some_and(|frame| Some(frame) == turn.frames.last() && frame.is_terminal());
    match &view.end {
        End::Clean => broken.unless(over, "a stream ends cleanly only at the end", || format!("it ended after {expected}")),
        End::Bad(why) => broken.unless(false, "a stream is well-formed", || why.clone()),
        End::Broken | End::HungUp => {}
    }
}
