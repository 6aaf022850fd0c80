use proptest::prelude::*;
use proto::id::UserId;
use time::OffsetDateTime;

use super::*;
use crate::{git::DiffStat, model::revision::Actor};

fn oid(n: u8) -> Oid {
    Oid::from_bytes(&[n; 20]).unwrap()
}

/// The log of one person, the oldest first.
#[derive(Default)]
struct Log(Vec<OwnRevision>);

impl Log {
    /// Adds a revision, and returns its id.
    fn add(&mut self, undoes: Option<Undoes>) -> Oid {
        let id = oid(u8::try_from(self.0.len()).unwrap());
        self.0.push(OwnRevision { id, undoes });
        id
    }

    fn newest_first(&self) -> Vec<OwnRevision> {
        self.0.iter().rev().copied().collect()
    }
}

/// Runs steps: `e` edits, `u` undoes, `r` redoes. Returns the numbers of the revisions that the next undo and the next redo revert.
fn run(steps: &str) -> (Option<u8>, Option<u8>) {
    let mut log = Log::default();
    for step in steps.chars() {
        let own = log.newest_first();
        let undoes = match step {
            'u' => Some(Undoes { revision: undoable(&own)[0], is_redo: false }),
            'r' => Some(Undoes { revision: redoable(&own)[0], is_redo: true }),
            _ => None,
        };
        log.add(undoes);
    }
    let own = log.newest_first();
    let first = |found: Vec<Oid>| found.first().map(|oid| oid.as_bytes()[0]);
    (first(undoable(&own)), first(redoable(&own)))
}

#[test]
fn an_undo_reverts_the_newest_change_that_is_not_undone() {
    for (steps, undo, redo) in [
        ("", None, None),
        ("e", Some(0), None),
        ("ee", Some(1), None),
        ("eu", None, Some(1)),
        ("eeu", Some(0), Some(2)),
        ("eeuu", None, Some(3)),
        // A redo can be undone, and then redone again.
        ("eur", Some(2), None),
        ("euru", None, Some(3)),
        ("eurur", Some(4), None),
        ("eeuurr", Some(5), None),
        ("eeuurru", Some(4), Some(6)),
        ("eeuurruu", None, Some(7)),
        ("eeuur", Some(4), Some(2)),
        // A new change ends what can be redone, also after it was undone itself.
        ("eue", Some(2), None),
        ("eueu", None, Some(3)),
        ("eueur", Some(4), None),
        ("eeueu", Some(0), Some(4)),
    ] {
        assert_eq!(run(steps), (undo, redo), "{steps}");
    }
}

#[test]
fn only_the_newest_revisions_are_needed() {
    let redo = OwnRevision { id: oid(3), undoes: Some(Undoes { revision: oid(2), is_redo: true }) };
    let undo = OwnRevision { id: oid(2), undoes: Some(Undoes { revision: oid(1), is_redo: false }) };
    assert_eq!((undoable(&[redo]), redoable(&[redo])), (vec![oid(3)], vec![]));
    assert_eq!((undoable(&[undo]), redoable(&[undo])), (vec![], vec![oid(2)]));
}

proptest! {
    /// The rule has the same two stacks as an editor.
    #[test]
    fn undo_and_redo_are_two_stacks(steps in prop::collection::vec(0..5u8, 0..120)) {
        let (mut log, mut changes, mut undos) = (Log::default(), Vec::new(), Vec::new());
        for step in steps {
            match step {
                0 | 1 => if let Some(revision) = changes.pop() {
                    undos.push(log.add(Some(Undoes { revision, is_redo: false })));
                },
                2 | 3 => if let Some(revision) = undos.pop() {
                    changes.push(log.add(Some(Undoes { revision, is_redo: true })));
                },
                _ => {
                    changes.push(log.add(None));
                    undos.clear();
                }
            }
            let own = log.newest_first();
            prop_assert_eq!(undoable(&own), changes.iter().rev().copied().collect::<Vec<_>>());
            prop_assert_eq!(redoable(&own), undos.iter().rev().copied().collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_message_names_what_was_reverted() {
    let revision = |message: &str, undoes| Revision {
        totals: None,
        id: oid(1),
        number: 7,
        tree: oid(2),
        parents: Vec::new(),
        message: message.to_owned(),
        actor: Actor::Person,
        user: UserId::generate(),
        turn: None,
        created_at: OffsetDateTime::UNIX_EPOCH,
        stat: DiffStat { added: 0, modified: 0, deleted: 0, renamed: 0 },
        undoes,
    };
    for (verb, old, undoes, expected) in [
        (Verb::Revert, "Add a clock", None, "Revert \"Add a clock\""),
        (Verb::Revert, "", None, "Revert revision 7"),
        (Verb::Revert, " \n\nx", None, "Revert revision 7"),
        (Verb::Undo, "Add a clock\nand more", None, "Undo \"Add a clock\""),
        (Verb::Redo, "Undo \"Add a clock\"", Some(oid(3)), "Redo \"Add a clock\""),
        (Verb::Undo, "Redo \"Add a clock\"", Some(oid(3)), "Undo \"Add a clock\""),
        (Verb::Revert, "Undo \"Add a clock\"", Some(oid(3)), "Revert \"Undo \"Add a clock\"\""),
        (Verb::Undo, "Undo \"a text of a person\"", None, "Undo \"Undo \"a text of a person\"\""),
        (Verb::Undo, "Resolve: Undo \"x\"", Some(oid(3)), "Undo \"Resolve: Undo \"x\"\""),
        (Verb::Redo, "Undo revision 3", Some(oid(3)), "Redo revision 3"),
    ] {
        assert_eq!(message(verb, &revision(old, undoes)), expected);
    }
    let long = message(Verb::Undo, &revision(&"ü".repeat(SUMMARY_CHARACTERS), None));
    assert_eq!(long.chars().count(), SUMMARY_CHARACTERS);
    assert_eq!(message(Verb::Redo, &revision(&long, Some(oid(3)))).chars().count(), SUMMARY_CHARACTERS);
}
