//! Conflicts: merges that a person has to resolve.

use proto::id::{ConflictId, ProjectId, TurnId, UserId};
use ring::digest::{Context as Digest, SHA256};
use time::OffsetDateTime;
use uuid::Builder;

use crate::{
    git::Oid,
    model::revision::{Revision, Undoes},
};

/// What could not be merged. The database stores the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConflictKind {
    /// The change set of a turn.
    Turn = 1,
    /// The revert of a revision, also by an undo or a redo.
    Revert = 2,
    /// The head of a fork, or of the project that it was forked from.
    MergeBack = 3,
}

impl ConflictKind {
    /// A kind by its number. An unknown number, which a later release may have written, is the merge of another project.
    pub(crate) fn from_number(number: i16) -> Self {
        [Self::Turn, Self::Revert].into_iter().find(|kind| *kind as i16 == number).unwrap_or(Self::MergeBack)
    }
}

/// The id of the conflict of a turn.
pub(crate) fn id_of_turn(turn: TurnId) -> ConflictId {
    ConflictId(turn.0)
}

/// The id of a conflict that a request makes: a new one, or, if the request has an idempotency key, always the same one.
pub(crate) fn id_of_request(user: UserId, project: ProjectId, request: Option<&str>) -> ConflictId {
    let Some(request) = request else { return ConflictId::generate() };
    let mut digest = Digest::new(&SHA256);
    for part in [&b"conflict"[..], user.0.as_bytes(), project.0.as_bytes(), request.as_bytes()] {
        digest.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.finish().as_ref()[..16]);
    ConflictId(Builder::from_custom_bytes(bytes).into_uuid())
}

/// A conflict to store.
#[derive(Debug, Clone)]
pub(crate) struct NewConflict<'a> {
    pub(crate) id: ConflictId,
    pub(crate) kind: ConflictKind,
    /// The commit that both sides began with, and its tree; `None` is a project without files.
    pub(crate) base: Option<(Oid, Oid)>,
    /// The paths that cannot be merged.
    pub(crate) paths: &'a [String],
    /// SHA-256 of the request, if it has an idempotency key.
    pub(crate) fingerprint: Option<&'a [u8]>,
}

/// A conflict that nobody has resolved yet.
#[derive(Debug, Clone)]
pub(crate) struct OpenConflict {
    pub(crate) kind: ConflictKind,
    /// The commit that both sides began with, and its tree; `None` is a project without files.
    pub(crate) base: Option<(Oid, Oid)>,
    /// The commit that could not be merged.
    pub(crate) theirs: Revision,
    /// Whose request it was.
    pub(crate) user: UserId,
    pub(crate) expires_at: OffsetDateTime,
    /// What the resolution undoes, if this user resolves the conflict.
    pub(crate) undoes: Option<Undoes>,
}

/// A conflict in the list of a project.
#[derive(Debug, Clone)]
pub(crate) struct ConflictSummary {
    pub(crate) id: ConflictId,
    pub(crate) kind: ConflictKind,
    pub(crate) base: Option<Oid>,
    /// The head when the conflict arose, if it is known.
    pub(crate) ours: Option<Oid>,
    pub(crate) theirs: Oid,
    /// The first paths in conflict when it arose, and how many there were.
    pub(crate) paths: Vec<String>,
    pub(crate) path_count: u32,
    pub(crate) user: UserId,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) expires_at: OffsetDateTime,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_request_id_stands_for_one_conflict() {
        let (ann, bob) = (UserId::generate(), UserId::generate());
        let (one, other) = (ProjectId::generate(), ProjectId::generate());
        let same = || id_of_request(ann, one, Some("r"));
        assert_eq!(same(), same());
        assert_eq!(same().to_string().parse(), Ok(same()));
        let ids = [
            same(),
            id_of_request(ann, one, Some("R")),
            id_of_request(bob, one, Some("r")),
            id_of_request(ann, other, Some("r")),
            id_of_request(ann, one, None),
            id_of_request(ann, one, None),
        ];
        assert_eq!(ids.into_iter().collect::<HashSet<_>>().len(), 6);
    }
}
