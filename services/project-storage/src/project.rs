//! Projects, and who may do what with them.

use proto::{
    auth::Plan,
    id::{ProjectId, UserId},
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    Storage,
    condition::Condition,
    error::Error,
    git::Oid,
    limits::{Limits, NAME_CHARACTERS},
    revision::{Page, Revision},
    store::{self, projects},
};

/// What a project is called that nobody named.
pub const UNNAMED: &str = "Untitled";
/// Letters of a prompt that become a project's name.
const NAME_FROM_PROMPT: usize = 60;

/// The family of projects that share objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub Uuid);

/// A tree with history and one conversation.
#[derive(Debug, Clone)]
pub struct Project {
    pub id: ProjectId,
    pub store: StoreId,
    pub owner: UserId,
    pub draft: Option<String>,
    pub name: String,
    /// The owner's.
    pub plan: Plan,
    pub created_at: OffsetDateTime,
    /// Files, name or conversation.
    pub updated_at: OffsetDateTime,
    /// Files or name.
    pub edited_at: OffsetDateTime,
    /// Newest revision and its place in the log.
    pub head: Option<(Oid, u32)>,
}

impl Project {
    pub fn limits(&self) -> Limits {
        Limits::of(self.plan)
    }
}

/// What a member may do; each role may do what the ones before it may. The numbers stand in the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Viewer = 1,
    Editor = 2,
    Admin = 3,
    Owner = 4,
}

/// How a client names a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Id(ProjectId),
    /// The client's own id, which may not be a project yet.
    Draft(String),
}

/// A project as one of its members sees it.
#[derive(Debug, Clone)]
pub struct Member {
    pub project: Project,
    pub role: Role,
    pub head: Option<Revision>,
}

/// Who acts, with the plan that their token tells.
#[derive(Debug, Clone, Copy)]
pub struct Actor {
    pub id: UserId,
    pub plan: Plan,
}

/// Whether a role suffices. No role at all looks like no project.
pub fn require(role: Option<Role>, needed: Role) -> Result<(), Error> {
    match role {
        None => Err(Error::ProjectNotFound),
        Some(role) if role < needed => Err(Error::RoleRequired),
        Some(_) => Ok(()),
    }
}

/// The project, if the person's role suffices.
pub async fn find(storage: &Storage, user: UserId, target: &Target, needed: Role) -> Result<Member, Error> {
    let found = projects::find(&storage.pool, user, target).await?;
    require(found.as_ref().map(|member| member.role), needed)?;
    found.ok_or(Error::ProjectNotFound)
}

impl Project {
    /// A project to be inserted.
    pub fn new(owner: Actor, draft: Option<String>, name: String, now: OffsetDateTime) -> Self {
        let (id, store) = (ProjectId::generate(), StoreId(Uuid::now_v7()));
        Self { id, store, owner: owner.id, draft, name, plan: owner.plan, created_at: now, updated_at: now, edited_at: now, head: None }
    }
}

/// The person's projects, the last changed first.
pub async fn list(storage: &Storage, owner: UserId, page: Page<ListKey>) -> Result<(Vec<Project>, Option<ListKey>), Error> {
    let rows = projects::page(&storage.pool, owner, page.after, page.size + 1).await?;
    Ok(page.cut(rows, |project| (project.updated_at.unix_timestamp_nanos() / 1000, project.id.0)))
}

/// Microseconds since 1970 of the last change, and the id.
pub type ListKey = (i128, Uuid);

/// Gives a project another name.
pub async fn rename(storage: &Storage, user: UserId, id: ProjectId, name: &str, condition: &Condition) -> Result<Project, Error> {
    let target = Target::Id(id);
    let mut tx = store::begin(&storage.pool).await?;
    if !condition.is_empty() {
        projects::lock(&mut tx, id).await?;
    }
    let found = projects::find(&mut *tx, user, &target).await?;
    require(found.as_ref().map(|member| member.role), Role::Admin)?;
    // A change that was made already, perhaps by this very request, is made.
    if let Some(member) = found.as_ref().filter(|member| member.project.name != name) {
        condition.check(Some(&member.project))?;
    }
    if !projects::rename(&mut *tx, id, user, name).await? {
        return Err(Error::ProjectNotFound);
    }
    let renamed = projects::find(&mut *tx, user, &target).await?.ok_or(Error::ProjectNotFound)?;
    store::commit(tx).await?;
    Ok(renamed.project)
}

/// Removes a project with everything that belongs to it.
pub async fn delete(storage: &Storage, user: UserId, id: ProjectId, condition: &Condition) -> Result<(), Error> {
    let target = Target::Id(id);
    find(storage, user, &target, Role::Owner).await?;
    let mut tx = store::begin(&storage.pool).await?;
    projects::lock_all(&mut tx, id).await?;
    // As it stands now that nobody can change it.
    let found = projects::find(&mut *tx, user, &target).await?;
    require(found.as_ref().map(|member| member.role), Role::Owner)?;
    let project = found.ok_or(Error::ProjectNotFound)?.project;
    condition.check(Some(&project))?;
    projects::delete(&mut tx, id, project.store).await?;
    store::commit(tx).await?;
    Ok(())
}

/// A project's name out of the first words that were said about it.
pub fn name_of_prompt(prompt: &str) -> String {
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
            assert_eq!(name_of_prompt(prompt), name);
        }
        assert_eq!(name_of_prompt(&"ü".repeat(100)).chars().count(), 61);
    }

    #[test]
    fn a_page_knows_whether_more_follows() {
        let page = Page { size: 2, after: None };
        assert_eq!(page.cut(vec![1, 2, 3], |n| *n), (vec![1, 2], Some(2)));
        assert_eq!(page.cut(vec![1, 2], |n| *n), (vec![1, 2], None));
        assert_eq!(page.cut(Vec::<i32>::new(), |n| *n), (vec![], None));
    }
}
