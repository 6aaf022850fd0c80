//! Reads new revisions for all watchers of this process, and ends the streams of those who lost access. A revision that was made after a
//! person lost access is not sent to that person, because access is checked after revisions are read and before they are delivered.

use chassis::tail::{LogReader, Page};
use proto::id::ProjectId;

use super::{
    changes::LoggedRevision,
    watchers::{LostAccess, Watcher, Watchers},
};
use crate::store::{Pool, StoreError, revisions, watchers};

/// Watchers in one statement.
const WATCHERS_PER_READ: usize = 1000;

/// Reads the logs of projects.
pub(crate) struct Reader {
    pub(crate) pool: Pool,
    pub(crate) watchers: Watchers,
}

impl LogReader<ProjectId, LoggedRevision> for Reader {
    const PAGE: u32 = 64;

    async fn read(&mut self, cursors: &[(ProjectId, u32)]) -> Result<Vec<Page<ProjectId, LoggedRevision>>, StoreError> {
        let read = revisions::newer_of_projects(&self.pool, cursors, i64::from(Self::PAGE)).await?;
        let everybody = self.watchers.of_projects(cursors.iter().map(|(project, _)| *project));
        for part in everybody.chunks(WATCHERS_PER_READ) {
            for (watcher, lost) in lost_access(&self.pool, part).await? {
                self.watchers.end(&watcher, lost);
            }
        }
        Ok(read.into_iter().map(|(project, log)| (project, log.into_iter().map(LoggedRevision::new).collect())).collect())
    }
}

/// Those of these persons who may not watch any longer.
pub(super) async fn lost_access(pool: &Pool, part: &[Watcher]) -> Result<Vec<(Watcher, LostAccess)>, StoreError> {
    let rows: Vec<_> = part.iter().map(|watcher| (watcher.project, watcher.user, watcher.session)).collect();
    let lost = watchers::without_access(pool, &rows).await?;
    let of_row = |row: watchers::WithoutAccess| {
        let lost = if row.session_ended { LostAccess::Session } else { LostAccess::Project };
        part.get(row.index).map(|watcher| (*watcher, lost))
    };
    Ok(lost.into_iter().filter_map(of_row).collect())
}
