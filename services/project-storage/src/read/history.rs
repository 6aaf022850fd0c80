//! Reading the revisions of a project.

use std::collections::HashMap;

use proto::id::{ProjectId, UserId};

use crate::{
    error::Error,
    git::Oid,
    model::{
        page::Page,
        project::{self, Member, Role, Target},
        revision::{LabelledRevision, Revision},
    },
    read::member,
    store::{Pool, labels, revisions},
};

/// A revision by its id, or the head without an id. `None` is the head of a project without files.
pub(crate) async fn resolve(pool: &Pool, member: &Member, id: Option<Oid>) -> Result<Option<Revision>, Error> {
    match id {
        None => Ok(member.head.clone()),
        Some(id) if member.head.as_ref().is_some_and(|head| head.id == id) => Ok(member.head.clone()),
        Some(id) => Ok(Some(find(pool, member.project.id, id).await?)),
    }
}

/// A revision by its id.
///
/// # Errors
/// [`Error::RevisionNotFound`] if the revision is not in the project's log.
pub(crate) async fn find(pool: &Pool, project: ProjectId, id: Oid) -> Result<Revision, Error> {
    revisions::find(pool, project, id).await?.ok_or(Error::RevisionNotFound)
}

/// A revision with its labels, for a user who may read the project.
pub(crate) async fn get(pool: &Pool, user: UserId, project: ProjectId, id: Oid) -> Result<LabelledRevision, Error> {
    member::find(pool, user, &Target::Id(project), Role::Viewer).await?;
    let revision = find(pool, project, id).await?;
    Ok(with_labels(pool, project, vec![revision]).await?.remove(0))
}

/// A page of the revisions, the newest first, with the key of the next page.
pub(crate) async fn list(
    pool: &Pool,
    user: UserId,
    project: ProjectId,
    page: Page<u32>,
) -> Result<(Vec<LabelledRevision>, Option<u32>), Error> {
    let before = page.after.unwrap_or(u32::MAX);
    let rows = revisions::page(pool, project, user, before, page.size + 1).await?;
    project::require(rows.as_ref().map(|(role, _)| *role), Role::Viewer)?;
    let revisions = rows.map(|(_, revisions)| revisions).unwrap_or_default();
    let (revisions, next) = page.cut(revisions, |revision| revision.number);
    Ok((with_labels(pool, project, revisions).await?, next))
}

/// Revisions with their labels, in the same order.
pub(crate) async fn with_labels(pool: &Pool, project: ProjectId, revisions: Vec<Revision>) -> Result<Vec<LabelledRevision>, Error> {
    let ids: Vec<Oid> = revisions.iter().map(|revision| revision.id).collect();
    let mut labels = if ids.is_empty() { HashMap::new() } else { labels::of_revisions(pool, project, &ids).await? };
    let label = |revision: Revision| LabelledRevision { labels: labels.remove(&revision.id).unwrap_or_default(), revision };
    Ok(revisions.into_iter().map(label).collect())
}
