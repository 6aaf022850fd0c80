//! Locks: paths that may not be changed.

use std::collections::{BTreeMap, HashMap, HashSet};

use proto::{id::UserId, path::is_within};
use time::OffsetDateTime;

use crate::{
    error::Error,
    git::{Difference, Folder, Oid},
    model::{project::Role, revision::Actor},
};

/// Locks that a project may have.
pub(crate) const MAX_LOCKS: u32 = 200;

/// Whom a lock stops. The database stores the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockScope {
    Agents = 1,
    /// Agents, and members who are no admins.
    Everybody = 2,
}

impl LockScope {
    /// The role that may set and delete such a lock.
    pub(crate) fn role(self) -> Role {
        match self {
            Self::Agents => Role::Editor,
            Self::Everybody => Role::Admin,
        }
    }

    fn stops(self, actor: Actor, role: Role) -> bool {
        match (self, actor) {
            (_, Actor::Agent) => true,
            (Self::Agents, _) => false,
            (Self::Everybody, _) => role < Role::Admin,
        }
    }
}

/// A file, or a folder with all that is below it, that may not be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) path: String,
    pub(crate) scope: LockScope,
    pub(crate) user: UserId,
    pub(crate) created_at: OffsetDateTime,
}

/// Checks that no lock stops the author of differences.
///
/// # Errors
/// [`Error::PathLocked`] with the first locked path.
pub(crate) fn check(locks: &[Lock], actor: Actor, role: Role, differences: &[Difference]) -> Result<(), Error> {
    let effective: Vec<_> = locks.iter().filter(|lock| lock.scope.stops(actor, role)).collect();
    let locked = differences.iter().find_map(|difference| {
        let lock = effective.iter().find(|lock| is_within(&difference.path, &lock.path))?;
        Some(Error::PathLocked { path: difference.path.clone(), lock: lock.path.clone() })
    });
    locked.map_or(Ok(()), Err)
}

/// The locks that follow a rename: old path, new path. The lock of a file follows it. The lock of a folder follows if all of its files
/// moved to the same folder. A file has moved if it was deleted at one path and added at exactly one other with the same content. Of two
/// locks that would follow to the same path, the first one does. `tree` is the tree after the differences.
pub(crate) fn followers(locks: &[Lock], differences: &[Difference], tree: &Folder) -> Vec<(String, String)> {
    let moves = moves(differences);
    if moves.is_empty() {
        return Vec::new();
    }
    let taken = |path: &str| locks.iter().any(|lock| lock.path == path);
    let target = |lock: &Lock| {
        if tree.get(&lock.path).is_some() {
            return None;
        }
        let below: Vec<_> = differences.iter().filter(|difference| is_within(&difference.path, &lock.path)).collect();
        // Every change below the lock is the old path of a move.
        let targets: Option<Vec<String>> = below
            .iter()
            .map(|difference| {
                let new = moves.get(difference.path.as_str())?;
                let rest = &difference.path[lock.path.len()..];
                new.strip_suffix(rest).map(str::to_owned)
            })
            .collect();
        let mut targets = targets?;
        targets.dedup();
        let [target] = targets.as_slice() else { return None };
        (!target.is_empty() && !taken(target)).then(|| target.clone())
    };
    let mut used = HashSet::new();
    let moved = locks.iter().filter_map(|lock| Some((lock.path.clone(), target(lock)?)));
    moved.filter(|(_, new)| used.insert(new.clone())).collect()
}

/// Old path and new path of each moved file.
fn moves(differences: &[Difference]) -> HashMap<&str, &str> {
    let mut sides: BTreeMap<Oid, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    for difference in differences {
        match (difference.old, difference.new) {
            (Some(old), None) => sides.entry(old.oid).or_default().0.push(&difference.path),
            (None, Some(new)) => sides.entry(new.oid).or_default().1.push(&difference.path),
            _ => {}
        }
    }
    let single = sides.into_values().filter_map(|(from, to)| match (from.as_slice(), to.as_slice()) {
        ([from], [to]) => Some((*from, *to)),
        _ => None,
    });
    single.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{FileRef, blob_id};

    fn lock(path: &str, scope: LockScope) -> Lock {
        Lock { path: path.to_owned(), scope, user: UserId::generate(), created_at: OffsetDateTime::UNIX_EPOCH }
    }

    fn file(text: &str) -> FileRef {
        FileRef { oid: blob_id(text.as_bytes()).expect("an id"), size: u32::try_from(text.len()).expect("small") }
    }

    fn difference(path: &str, old: Option<&str>, new: Option<&str>) -> Difference {
        Difference { path: path.to_owned(), old: old.map(file), new: new.map(file) }
    }

    #[test]
    fn a_lock_stops_those_in_its_scope() {
        use LockScope::{Agents, Everybody};
        for (scope, actor, role, stopped) in [
            (Agents, Actor::Agent, Role::Owner, true),
            (Agents, Actor::Person, Role::Editor, false),
            (Everybody, Actor::Agent, Role::Owner, true),
            (Everybody, Actor::Person, Role::Editor, true),
            (Everybody, Actor::Person, Role::Admin, false),
            (Everybody, Actor::Person, Role::Owner, false),
        ] {
            for (changed, locked) in [("src/a.js", true), ("src", true), ("srcs/a.js", false), ("lib/src/a.js", false)] {
                let result =
                    check(&[lock("src", scope)], actor, role, &[difference("x", None, Some("1")), difference(changed, Some("1"), None)]);
                assert_eq!(result.is_err(), stopped && locked, "{scope:?} {actor:?} {role:?} {changed}");
            }
        }
        let error = check(&[lock("src", Agents)], Actor::Agent, Role::Owner, &[difference("src/a.js", None, Some("1"))]);
        assert!(matches!(error, Err(Error::PathLocked { path, lock }) if path == "src/a.js" && lock == "src"));
    }

    #[test]
    fn a_lock_follows_a_rename() {
        let locks = ["a", "src", "src/b/c"].map(|path| lock(path, LockScope::Agents));
        type Row<'a> = (&'a [Difference], &'a [(&'a str, &'a str)]);
        let rows: [Row; 7] = [
            (&[difference("a", Some("1"), None), difference("z", None, Some("1"))], &[("a", "z")]),
            // The content changed as well.
            (&[difference("a", Some("1"), None), difference("z", None, Some("2"))], &[]),
            // Two files have the content.
            (&[difference("a", Some("1"), None), difference("y", None, Some("1")), difference("z", None, Some("1"))], &[]),
            (
                &[
                    difference("lib/b/c", None, Some("1")),
                    difference("lib/d", None, Some("2")),
                    difference("src/b/c", Some("1"), None),
                    difference("src/d", Some("2"), None),
                ],
                &[("src", "lib"), ("src/b/c", "lib/b/c")],
            ),
            // One file went elsewhere, one was only edited.
            (
                &[
                    difference("lib/b/c", None, Some("1")),
                    difference("other/d", None, Some("2")),
                    difference("src/b/c", Some("1"), None),
                    difference("src/d", Some("2"), None),
                ],
                &[("src/b/c", "lib/b/c")],
            ),
            (
                &[
                    difference("lib/b/c", None, Some("1")),
                    difference("src/b/c", Some("1"), None),
                    difference("src/d", Some("2"), Some("3")),
                ],
                &[("src/b/c", "lib/b/c")],
            ),
            // The target has a lock.
            (&[difference("a", None, Some("1")), difference("src/b/c", Some("1"), None)], &[]),
        ];
        for (differences, expected) in rows {
            let expected: Vec<_> = expected.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect();
            assert_eq!(followers(&locks, differences, &after(differences)), expected, "{differences:?}");
        }
    }

    /// The tree of the new files.
    fn after(differences: &[Difference]) -> Folder {
        let mut tree = Folder::default();
        for difference in differences {
            if let Some(file) = difference.new {
                tree.put(&difference.path, file).expect("no clash");
            }
        }
        tree
    }

    #[test]
    fn a_lock_stays_while_something_is_left_in_its_folder() {
        let locks = [lock("src", LockScope::Agents)];
        let moved = [difference("lib/d", None, Some("1")), difference("src/d", Some("1"), None)];
        let mut tree = after(&moved);
        assert_eq!(followers(&locks, &moved, &tree), [("src".to_owned(), "lib".to_owned())]);
        tree.put("src/left", file("2")).expect("no clash");
        assert_eq!(followers(&locks, &moved, &tree), []);
    }

    #[test]
    fn one_of_two_locks_follows_to_the_same_path() {
        let locks = ["a", "b"].map(|path| lock(path, LockScope::Agents));
        let moved = [
            difference("a/x", Some("1"), None),
            difference("b/y", Some("2"), None),
            difference("lib/x", None, Some("1")),
            difference("lib/y", None, Some("2")),
        ];
        assert_eq!(followers(&locks, &moved, &after(&moved)), [("a".to_owned(), "lib".to_owned())]);
    }
}
