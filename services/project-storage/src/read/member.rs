//! Reading projects, as their members see them.

use proto::id::UserId;

use crate::{
    error::Error,
    model::{
        filter::ProjectFilter,
        page::Page,
        project::{ListKey, Member, Project, Role, Target, require},
    },
    store::{Pool, projects},
};

/// Projects whose names are compared after one statement.
const BATCH: i64 = 200;
/// Statements of one page.
const MAX_BATCHES: usize = 25;

/// Finds a project, if the user's role suffices.
///
/// # Errors
/// [`Error::ProjectNotFound`] for a user without a role; [`Error::RoleRequired`] for one with a lower role.
pub(crate) async fn find(pool: &Pool, user: UserId, target: &Target, needed: Role) -> Result<Member, Error> {
    let found = projects::find(pool, user, target).await?;
    require(found.as_ref().map(|member| member.role), needed)?;
    found.ok_or(Error::ProjectNotFound)
}

/// A page of the owner's projects that a filter admits, the last changed first, with the key of the next page. If the filter compares
/// names, the page may have fewer projects and a next page.
pub(crate) async fn list(
    pool: &Pool,
    owner: UserId,
    filter: &ProjectFilter,
    page: Page<ListKey>,
) -> Result<(Vec<Project>, Option<ListKey>), Error> {
    let key = |project: &Project| (project.updated_at.unix_timestamp_nanos() / 1000, project.id.0);
    if !filter.has_words() {
        let rows = projects::page(pool, owner, filter, page.after, page.size + 1).await?;
        return Ok(page.cut(rows, key));
    }
    // Names are compared here, because the database knows the letters of its own locale only.
    let (mut found, mut after) = (Vec::new(), page.after);
    for _ in 0..MAX_BATCHES {
        let rows = projects::page(pool, owner, filter, after, BATCH).await?;
        let is_last = (rows.len() as i64) < BATCH;
        after = rows.last().map(key);
        found.extend(rows.into_iter().filter(|project| filter.admits_name(&project.name)));
        if is_last || found.len() as i64 > page.size {
            return Ok(page.cut(found, key));
        }
    }
    Ok((found, after))
}
