//! Reading the forks of a project.

use proto::id::{ProjectId, UserId};

use crate::{
    error::Error,
    model::{
        page::Page,
        project::{Project, Role, Target},
    },
    read::member,
    store::{Pool, forks},
};

/// Forks that one page looks at. Those that the user may not read count as well.
const MAX_SCANNED: i64 = 1000;

/// A page of the direct forks that the user may read, of some projects or of all, the newest first, with the key of the next page.
pub(crate) async fn list(
    pool: &Pool,
    (user, only): (UserId, Option<&[ProjectId]>),
    parent: ProjectId,
    page: Page<ProjectId>,
) -> Result<(Vec<Project>, Option<ProjectId>), Error> {
    member::find(pool, user, &Target::Id(parent), Role::Viewer).await?;
    let mut scanned = forks::ids(pool, parent, user, page.after, MAX_SCANNED).await?;
    if let Some(only) = only {
        scanned.iter_mut().for_each(|(id, readable)| *readable &= only.contains(id));
    }
    let (ids, next) = select(&scanned, page.size, MAX_SCANNED);
    let projects = if ids.is_empty() { Vec::new() } else { forks::projects(pool, user, &ids).await? };
    Ok((projects, next))
}

/// The first `size` forks that the user may read, and the fork after which the next page begins. `scanned` has `limit` forks unless it
/// ends the list.
fn select(scanned: &[(ProjectId, bool)], size: i64, limit: i64) -> (Vec<ProjectId>, Option<ProjectId>) {
    let mut readable: Vec<ProjectId> = scanned.iter().filter(|(_, readable)| *readable).map(|(id, _)| *id).collect();
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if readable.len() > size {
        readable.truncate(size);
        let next = readable.last().copied();
        return (readable, next);
    }
    let is_end = i64::try_from(scanned.len()).unwrap_or(i64::MAX) < limit;
    (readable, scanned.last().filter(|_| !is_end).map(|(id, _)| *id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_page_ends_with_its_last_fork_or_with_the_scan() {
        let id = |n| ProjectId(Uuid::from_u128(n));
        for (readable, size, limit, expected, next) in [
            (vec![], 2, 4, vec![], None),
            (vec![true, false, true], 2, 4, vec![0, 2], None),
            (vec![true, false, true, true], 2, 4, vec![0, 2], Some(2)),
            (vec![true, false, true, false], 2, 4, vec![0, 2], Some(3)),
            (vec![false; 4], 2, 4, vec![], Some(3)),
            (vec![false; 3], 2, 4, vec![], None),
            (vec![true; 3], 1, 4, vec![0], Some(0)),
        ] {
            let scanned: Vec<_> = readable.iter().enumerate().map(|(n, readable)| (id(n as u128), *readable)).collect();
            let expected: Vec<_> = expected.into_iter().map(id).collect();
            assert_eq!(select(&scanned, size, limit), (expected, next.map(id)), "{readable:?} {size}");
        }
    }
}
