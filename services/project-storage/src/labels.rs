//! The labels of revisions: names that a project's members give.

use proto::id::{ProjectId, UserId};

use crate::{
    error::Error,
    git::Oid,
    model::{
        page::Page,
        project::{Role, Target, require},
        revision::Label,
    },
    read::member,
    store::{self, Pool, labels, projects, revisions},
};

/// Labels that a project may have.
pub(crate) const MAX_LABELS: u32 = 500;

/// A page of a project's labels, sorted by name, with the key of the next page.
pub(crate) async fn list(pool: &Pool, user: UserId, project: ProjectId, page: Page<String>) -> Result<(Vec<Label>, Option<String>), Error> {
    member::find(pool, user, &Target::Id(project), Role::Viewer).await?;
    let rows = labels::page(pool, project, page.after.as_deref().unwrap_or_default(), page.size + 1).await?;
    Ok(page.cut(rows, |label| label.name.clone()))
}

/// Gives a revision a name. The name of another revision moves.
///
/// # Errors
/// [`Error::TooManyLabels`] if the project has as many others as it may have.
pub(crate) async fn set(pool: &Pool, user: UserId, project: ProjectId, name: String, revision: Oid) -> Result<Label, Error> {
    // Before the lock, so that only members can wait for it.
    member::find(pool, user, &Target::Id(project), Role::Editor).await?;
    let mut tx = store::begin(pool).await?;
    // Without the lock, labels that are set at the same time could exceed the limit.
    projects::lock(&mut tx, project).await?;
    let found = projects::find(&mut *tx, user, &Target::Id(project)).await?;
    require(found.map(|member| member.role), Role::Editor)?;
    // The commit of a conflicted turn, which has no number, does not stay.
    let found = revisions::find(&mut *tx, project, revision).await?;
    found.filter(|revision| revision.number > 0).ok_or(Error::RevisionNotFound)?;
    if labels::count_others(&mut tx, project, &name).await? >= i64::from(MAX_LABELS) {
        return Err(Error::TooManyLabels { limit: MAX_LABELS });
    }
    let (user, created_at) = labels::set(&mut tx, project, &name, revision, user).await?;
    store::commit(tx).await?;
    Ok(Label { name, revision, user, created_at })
}

/// Deletes a label.
///
/// # Errors
/// [`Error::LabelNotFound`] if the project does not have it.
pub(crate) async fn delete(pool: &Pool, user: UserId, project: ProjectId, name: &str) -> Result<(), Error> {
    member::find(pool, user, &Target::Id(project), Role::Editor).await?;
    if labels::delete(pool, project, name).await? { Ok(()) } else { Err(Error::LabelNotFound) }
}
