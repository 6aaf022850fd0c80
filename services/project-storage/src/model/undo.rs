//! What an undo and a redo revert. Each person undoes only what that person did: the history of a project has a stack of changes and a
//! stack of undos for each, as an editor has. Both follow from the person's revisions, so nothing else is stored.

use std::collections::HashSet;

use crate::{
    git::Oid,
    model::{
        limits::SUMMARY_CHARACTERS,
        revision::{Revision, Undoes},
    },
};

/// One revision of the person who undoes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnRevision {
    pub(crate) id: Oid,
    pub(crate) undoes: Option<Undoes>,
}

/// The revisions that an undo may revert, the first one first: changes and redos that no undo has reverted. A change that was redone is
/// represented by its redo. `own` are the newest revisions of the person, the newest first.
pub(crate) fn undoable(own: &[OwnRevision]) -> Vec<Oid> {
    let reverted = reverted(own);
    let is_change = |own: &&OwnRevision| own.undoes.is_none_or(|undoes| undoes.is_redo);
    own.iter().filter(is_change).map(|own| own.id).filter(|id| !reverted.contains(id)).collect()
}

/// The revisions that a redo may revert, the first one first: undos since the newest change that no redo has reverted. `own` are the newest
/// revisions of the person, the newest first.
pub(crate) fn redoable(own: &[OwnRevision]) -> Vec<Oid> {
    let reverted = reverted(own);
    // A new change ends what can be redone.
    let since_change = own.iter().map_while(|own| Some((own.id, own.undoes?)));
    since_change.filter(|(id, undoes)| !undoes.is_redo && !reverted.contains(id)).map(|(id, _)| id).collect()
}

/// The revisions that an undo or a redo has reverted. Each is reverted once: afterwards, the undo or the redo stands for it.
fn reverted(own: &[OwnRevision]) -> HashSet<Oid> {
    own.iter().filter_map(|own| Some(own.undoes?.revision)).collect()
}

/// What a revision does to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Revert,
    Undo,
    Redo,
}

/// The message of a revision that reverts another one.
pub(crate) fn message(verb: Verb, reverted: &Revision) -> String {
    let verb = match verb {
        Verb::Revert => "Revert",
        Verb::Undo => "Undo",
        Verb::Redo => "Redo",
    };
    let line = reverted.message.lines().next().unwrap_or_default().trim();
    // The redo of `Undo "x"` is `Redo "x"`.
    let object = line.strip_prefix("Undo ").or_else(|| line.strip_prefix("Redo "));
    if let Some(object) = object.filter(|_| verb != "Revert" && reverted.undoes.is_some()) {
        return format!("{verb} {object}");
    }
    if line.is_empty() {
        return format!("{verb} revision {}", reverted.number);
    }
    let subject: String = line.chars().take(SUMMARY_CHARACTERS - verb.len() - 3).collect();
    format!("{verb} \"{subject}\"")
}

#[cfg(test)]
mod tests;
