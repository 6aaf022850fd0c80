//! Lists of revisions by path, author, turn and time.

use chassis::context::Context;
use proto::id::{ProjectId, TurnId, UserId};
use time::OffsetDateTime;

use crate::{
    error::Error,
    model::{
        page::Page,
        project::{Project, Role, Target},
        revision::{LabelledRevision, Revision, RevisionFilter},
    },
    read::{
        history,
        load::LoadSlots,
        member,
        objects::Objects,
        walk::{self, Budget},
    },
    store::{
        Pool,
        revisions::{self, TimeRange},
        turns,
    },
};

/// Revisions that one statement reads to look for changes of a path.
const BATCH: i64 = 250;
/// Revisions of which one page reads the folders above a path.
const MAX_REVISIONS: usize = 1000;
/// Bytes of these folders.
const MAX_FOLDER_BYTES: u64 = 16 * 1024 * 1024;

/// The place of a revision in the order of time: microseconds since 1970, and its number.
pub(crate) type Key = (i64, u32);

/// A page of the revisions that meet a filter, the newest first, with the key of the next page.
///
/// With a path, a page looks at 1,000 revisions at most, so it may have fewer than asked for and still be followed by another one.
pub(crate) async fn list(
    objects: &Objects,
    (slots, context): (&LoadSlots, &Context),
    (user, project): (UserId, ProjectId),
    filter: RevisionFilter,
    page: Page<Key>,
) -> Result<(Vec<LabelledRevision>, Option<Key>), Error> {
    let member = member::find(&objects.pool, user, &Target::Id(project), Role::Viewer).await?;
    let _slot = if filter.path.is_some() { Some(slots.take(context).await?) } else { None };
    let mut search = Search {
        objects,
        project: &member.project,
        filter,
        after: page.after,
        budget: Budget { revisions: MAX_REVISIONS, bytes: MAX_FOLDER_BYTES },
    };
    let mut found = Vec::new();
    loop {
        let missing = page.size + 1 - i64::try_from(found.len()).unwrap_or(i64::MAX);
        let has_more = search.read(missing, &mut found).await?;
        if i64::try_from(found.len()).unwrap_or(i64::MAX) > page.size {
            let (found, next) = page.cut(found, key);
            return Ok((history::with_labels(&objects.pool, project, found).await?, next));
        }
        if !has_more || search.budget.is_spent() {
            let next = search.after.filter(|_| has_more);
            return Ok((history::with_labels(&objects.pool, project, found).await?, next));
        }
    }
}

/// A search while its page is read.
struct Search<'a> {
    objects: &'a Objects,
    project: &'a Project,
    filter: RevisionFilter,
    /// The last revision that was looked at.
    after: Option<Key>,
    budget: Budget,
}

impl Search<'_> {
    /// Reads a batch and adds the revisions that meet the filter, at most about `missing` without a path. Returns whether more follow.
    async fn read(&mut self, missing: i64, found: &mut Vec<Revision>) -> Result<bool, Error> {
        let limit = if self.filter.path.is_some() { BATCH } else { missing };
        let log = self.log(limit).await?;
        let is_last = i64::try_from(log.len()).unwrap_or(i64::MAX) < limit;
        let keys: Vec<Key> = log.iter().map(key).collect();
        let Some(path) = &self.filter.path else {
            self.after = keys.last().copied().or(self.after);
            found.extend(log);
            return Ok(!is_last);
        };
        if log.is_empty() {
            return Ok(false);
        }
        let (changes, read) = walk::changed(self.objects, self.project, (log, path.as_str()), self.budget.bytes).await?;
        self.budget.spend(&read);
        self.after = keys.get(read.revisions.saturating_sub(1)).copied();
        found.extend(changes.into_iter().map(|change| change.revision));
        Ok(!is_last || read.revisions < keys.len())
    }

    /// The next revisions by author, turn and time.
    async fn log(&self, limit: i64) -> Result<Vec<Revision>, Error> {
        let pool = &self.objects.pool;
        if let Some(turn) = self.filter.turn {
            return self.of_turn(pool, turn).await;
        }
        let time = |micros: i64| OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok();
        let before = self.after.and_then(|(micros, number)| Some((time(micros)?, number)));
        let range = TimeRange { start: self.filter.start, end: self.filter.end, before };
        Ok(match self.filter.user {
            Some(user) => revisions::of_user(pool, self.project.id, user, (&range, limit)).await?,
            None => revisions::in_time(pool, self.project.id, &range, limit).await?,
        })
    }

    /// The revision that a turn made, unless it is in conflict. A turn makes one.
    async fn of_turn(&self, pool: &Pool, turn: TurnId) -> Result<Vec<Revision>, Error> {
        let turn = turns::find(pool, turn).await?.filter(|turn| turn.project == Some(self.project.id));
        let Some(id) = turn.and_then(|turn| turn.revision) else { return Ok(Vec::new()) };
        let Some(revision) = revisions::find(pool, self.project.id, id).await? else { return Ok(Vec::new()) };
        if revision.number == 0 || !self.filter.admits(&revision) || self.after.is_some() {
            return Ok(Vec::new());
        }
        Ok(vec![revision])
    }
}

fn key(revision: &Revision) -> Key {
    (i64::try_from(revision.created_at.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX), revision.number)
}
