//! Reading projects, as their members see them.

use proto::id::UserId;

use crate::{
    error::Error,
    model::{
        page::Page,
        project::{ListKey, Member, Project, Role, Target, require},
    },
    store::{Pool, projects},
};

/// Finds a project, if the user's role suffices.
///
/// # Errors
/// [`Error::ProjectNotFound`] for a user without a role; [`Error::RoleRequired`] for one with a lower role.
pub(crate) async fn find(pool: &Pool, user: UserId, target: &Target, needed: Role) -> Result<Member, Error> {
    let found = projects::find(pool, user, target).await?;
    require(found.as_ref().map(|member| member.role), needed)?;
    found.ok_or(Error::ProjectNotFound)
}

/// A page of the owner's projects, the last changed first, with the key of the next page: those that are deleted, or the others.
pub(crate) async fn list(pool: &Pool, owner: UserId, deleted: bool, page: Page<ListKey>) -> Result<(Vec<Project>, Option<ListKey>), Error> {
    let rows = projects::page(pool, owner, deleted, page.after, page.size + 1).await?;
    Ok(page.cut(rows, |project| (project.updated_at.unix_timestamp_nanos() / 1000, project.id.0)))
}
