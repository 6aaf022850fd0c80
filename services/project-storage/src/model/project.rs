//! Projects, and who may do what with them.

use proto::{
    auth::Plan,
    id::{ProjectId, UserId},
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

/// What a project is called that nobody named.
pub(crate) const UNNAMED: &str = "Untitled";
/// Letters of a prompt that become a project's name.
const NAME_FROM_PROMPT: usize = 60;

/// The family of projects that share objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub Uuid);

/// A tree with history and one conversation.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    pub(crate) id: ProjectId,
    pub(crate) store: StoreId,
    pub(crate) owner: UserId,
    pub(crate) draft: Option<String>,
    pub(crate) name: String,
    /// The owner's.
    pub(crate) plan: Plan,
    pub(crate) created_at: OffsetDateTime,
    /// Files, name or conversation.
    pub(crate) updated_at: OffsetDateTime,
    /// Files or name.
    pub(crate) edited_at: OffsetDateTime,
    /// Newest revision and its place in the log.
    pub(crate) head: Option<(Oid, u32)>,
}

impl Project {
    pub(crate) fn limits(&self) -> Limits {
        Limits::of_plan(self.plan)
    }
}

/// What a member may do; each role may do what the ones before it may. The numbers stand in the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Viewer = 1,
    Editor = 2,
    Admin = 3,
    Owner = 4,
}

/// How a client names a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Id(ProjectId),
    /// The client's own id, which may not be a project yet.
    Draft(String),
}

/// A project as one of its members sees it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) project: Project,
    pub(crate) role: Role,
    pub(crate) head: Option<Revision>,
}

/// Who acts, with the plan that their token tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) plan: Plan,
}

/// Whether a role suffices. No role at all looks like no project.
pub(crate) fn require(role: Option<Role>, needed: Role) -> Result<(), Error> {
    match role {
        None => Err(Error::ProjectNotFound),
        Some(role) if role < needed => Err(Error::RoleRequired),
        Some(_) => Ok(()),
    }
}

impl Project {
    /// A project to be inserted.
    pub(crate) fn new(owner: User, draft: Option<String>, name: String, now: OffsetDateTime) -> Self {
        let (id, store) = (ProjectId::generate(), StoreId(Uuid::now_v7()));
        Self { id, store, owner: owner.id, draft, name, plan: owner.plan, created_at: now, updated_at: now, edited_at: now, head: None }
    }
}

/// Microseconds since 1970 of the last change, and the id.
pub(crate) type ListKey = (i128, Uuid);

/// A project's name out of the first words that were said about it.
pub(crate) fn name_from_prompt(prompt: &str) -> String {
    let plain =
        |line: &str| line.chars().filter(|c| !proto::text::misleads(*c)).take(NAME_CHARACTERS).collect::<String>().trim().to_owned();
    let line = prompt.lines().map(plain).find(|line| !line.is_empty()).unwrap_or_else(|| UNNAMED.to_owned());
    if line.chars().count() <= NAME_FROM_PROMPT {
        return line;
    }
    let short: String = line.chars().take(NAME_FROM_PROMPT).collect();
    // At a word's end, unless the first word is that long.
    let end = short.rfind(' ').filter(|end| *end > 0).unwrap_or(short.len());
    format!("{}…", short[..end].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_covers_the_ones_below() {
        assert!(require(Some(Role::Owner), Role::Editor).is_ok());
        assert!(require(Some(Role::Editor), Role::Editor).is_ok());
        assert!(matches!(require(Some(Role::Viewer), Role::Editor), Err(Error::RoleRequired)));
        assert!(matches!(require(None, Role::Viewer), Err(Error::ProjectNotFound)));
    }

    #[test]
    fn a_prompt_names_a_project() {
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
