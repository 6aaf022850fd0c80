//! Projects, their members and roles.

use proto::{
    auth::Plan,
    id::{ProjectId, UserId},
    metadata::Metadata,
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    error::Error,
    git::Oid,
    model::{
        limits::{Limits, NAME_CHARACTERS},
        revision::Revision,
    },
};

/// The name of a project without one.
pub(crate) const UNNAMED: &str = "Untitled";
/// Characters of a name that is made from a prompt.
const PROMPT_NAME_CHARACTERS: usize = 60;

/// The id of a store: the objects that a project and its copies share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub Uuid);

/// A tree of files with a history and one conversation.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    pub(crate) id: ProjectId,
    pub(crate) store: StoreId,
    pub(crate) owner: UserId,
    pub(crate) draft: Option<String>,
    pub(crate) name: String,
    /// The owner's plan.
    pub(crate) plan: Plan,
    pub(crate) created_at: OffsetDateTime,
    /// The last change of files, name or conversation.
    pub(crate) updated_at: OffsetDateTime,
    /// The last change of files or name.
    pub(crate) edited_at: OffsetDateTime,
    /// What the client stored with it.
    pub(crate) metadata: Metadata,
    /// When the project was deleted.
    pub(crate) deleted_at: Option<OffsetDateTime>,
    /// The newest revision and its number; `None` without files.
    pub(crate) head: Option<(Oid, u32)>,
    /// How often its locks changed; 0 if none was ever set.
    pub(crate) lock_version: i32,
    /// `None` if the project is no fork.
    pub(crate) forked_from: Option<ForkOrigin>,
}

/// Ancestors that a project may have.
pub(crate) const MAX_FORK_DEPTH: u32 = 32;

/// What a fork was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ForkOrigin {
    /// `None` if the project is gone or the user who reads the fork may not read it.
    pub(crate) project: Option<ProjectId>,
    /// `None` if the project had no files.
    pub(crate) revision: Option<Oid>,
    /// The number of the revision; 0 without files.
    pub(crate) number: u32,
}

impl Project {
    /// Hides the project that it was forked from, if it may not be read.
    pub(crate) fn hide_origin(&mut self, may_read: impl FnOnce(ProjectId) -> bool) {
        if let Some(origin) = &mut self.forked_from {
            origin.project = origin.project.filter(|project| may_read(*project));
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits::of_plan(self.plan)
    }
}

/// The role of a member. Each role may do what the previous ones may. The database stores the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Viewer = 1,
    Editor = 2,
    Admin = 3,
    Owner = 4,
}

/// The id by which a client names a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Id(ProjectId),
    /// A draft id. Its project may not exist yet.
    Draft(String),
}

/// A project as one of its members sees it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) project: Project,
    pub(crate) role: Role,
    pub(crate) head: Option<Revision>,
}

/// The user of a request, with the plan of the access token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) plan: Plan,
}

/// Checks a role.
///
/// # Errors
/// [`Error::RoleRequired`] for a lower role. Without a role, [`Error::ProjectNotFound`]: the project looks absent.
pub(crate) fn require(role: Option<Role>, needed: Role) -> Result<(), Error> {
    match role {
        None => Err(Error::ProjectNotFound),
        Some(role) if role < needed => Err(Error::RoleRequired),
        Some(_) => Ok(()),
    }
}

impl Project {
    /// A new project without files.
    pub(crate) fn new(owner: User, draft: Option<String>, name: String, now: OffsetDateTime) -> Self {
        let (id, store) = (ProjectId::generate(), StoreId(Uuid::now_v7()));
        Self {
            id,
            store,
            owner: owner.id,
            draft,
            name,
            plan: owner.plan,
            created_at: now,
            updated_at: now,
            edited_at: now,
            metadata: Metadata::new(),
            deleted_at: None,
            head: None,
            lock_version: 0,
            forked_from: None,
        }
    }
}

/// The key of a list of projects or conflicts: a time in microseconds since 1970, and the id.
pub(crate) type ListKey = (i128, Uuid);

/// The name of a project, made from its first prompt.
pub(crate) fn name_from_prompt(prompt: &str) -> String {
    let plain =
        |line: &str| line.chars().filter(|c| !proto::text::is_misleading(*c)).take(NAME_CHARACTERS).collect::<String>().trim().to_owned();
    let line = prompt.lines().map(plain).find(|line| !line.is_empty()).unwrap_or_else(|| UNNAMED.to_owned());
    if line.chars().count() <= PROMPT_NAME_CHARACTERS {
        return line;
    }
    let short: String = line.chars().take(PROMPT_NAME_CHARACTERS).collect();
    // Cut at the end of a word, unless the first word is too long.
    let end = short.rfind(' ').filter(|end| *end > 0).unwrap_or(short.len());
    format!("{}…", short[..end].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_includes_the_lower_ones() {
        assert!(require(Some(Role::Owner), Role::Editor).is_ok());
        assert!(require(Some(Role::Editor), Role::Editor).is_ok());
        assert!(matches!(require(Some(Role::Viewer), Role::Editor), Err(Error::RoleRequired)));
        assert!(matches!(require(None, Role::Viewer), Err(Error::ProjectNotFound)));
    }

    #[test]
    fn a_prompt_becomes_a_name() {
        for (prompt, name) in [
            ("a todo app", "a todo app"),
            ("\n  \n a\u{7} clock \nwith hands", "a clock"),
            (" \n", "Untitled"),
            ("a \u{202e}kcolc\u{202c} of\u{2028} mine", "a kcolc of mine"),
            ("\u{202e}\u{7}\n", "Untitled"),
            (
                "build me a shop for second-hand bicycles with a basket and a map of all pick-up points",
                "build me a shop for second-hand bicycles with a basket and…",
            ),
        ] {
            assert_eq!(name_from_prompt(prompt), name);
        }
        assert_eq!(name_from_prompt(&"ü".repeat(100)).chars().count(), 61);
    }
}
