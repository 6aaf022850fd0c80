//! Searching the files of a revision, page by page.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use chassis::{context::Context, share::Share};
use proto::id::{ProjectId, UserId};

use crate::{
    blocking,
    error::Error,
    git::{FileRef, Folder, Oid, is_text},
    model::{
        project::{Role, Target},
        revision::Revision,
    },
    read::{history, load::LoadSlots, member, merge::Contents, objects::Objects, tree},
    search::{
        filter::PathFilter,
        lines::{Hit, Progress, Scan, hit},
        pattern::Pattern,
    },
};

/// Bytes of the files that one page searches.
const MAX_PAGE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of the files that are in memory for one page at the same time, besides one file.
const BATCH_BYTES: u64 = 4 * 1024 * 1024;
/// Files whose contents one statement reads.
const BATCH_FILES: usize = 1000;
/// How long one page searches.
const MAX_TIME: Duration = Duration::from_secs(1);

/// What is searched, and for whom.
pub(crate) struct Query {
    pub(crate) user: UserId,
    pub(crate) project: ProjectId,
    /// `None` for the head.
    pub(crate) revision: Option<Oid>,
    pub(crate) pattern: Pattern,
    pub(crate) filter: PathFilter,
    /// Lines before and after a hit.
    pub(crate) context: usize,
}

/// The end of a page: what is before it was searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) path: String,
    /// The last line; 0 is the path itself, and `u32::MAX` the whole file.
    pub(crate) line: u32,
}

/// A hit with its file.
pub(crate) struct FileHit {
    pub(crate) path: String,
    pub(crate) file: FileRef,
    pub(crate) hit: Hit,
}

/// A page of hits.
pub(crate) struct SearchPage {
    /// `None` in a project without files.
    pub(crate) revision: Option<Revision>,
    pub(crate) hits: Vec<FileHit>,
    pub(crate) next: Option<Position>,
}

/// Searches the paths and the texts of a revision. `size`: hits of the page; `after`: the end of the previous page.
pub(crate) async fn search(
    objects: &Objects,
    slots: &LoadSlots,
    context: &Context,
    query: Query,
    (size, after): (usize, Option<Position>),
) -> Result<SearchPage, Error> {
    let member = member::find(&objects.pool, query.user, &Target::Id(query.project), Role::Viewer).await?;
    let revision = history::resolve(&objects.pool, &member, query.revision).await?;
    let slot = slots.take(context).await?;
    let tree = tree::at_revision(objects, member.project.store, revision.as_ref()).await?;
    let work = PageWork::new(query, size, after, member.project.limits().file_bytes, slot);
    let mut work = blocking::on_thread(move || work.with_files(&tree)).await;
    while !work.is_done() {
        let batch = work.next_batch();
        let texts: Vec<FileRef> = batch.iter().filter(|(_, file)| work.is_searched(*file)).map(|(_, file)| *file).collect();
        let contents = objects.contents(member.project.store, &texts).await?;
        work = blocking::on_thread(move || work.scan(batch, &contents)).await;
    }
    let (hits, next) = work.finish();
    Ok(SearchPage { revision, hits, next })
}

/// A page while it is searched. The work on other threads has the slot, so that it is counted until its end.
struct PageWork {
    query: Query,
    size: usize,
    after: Option<Position>,
    /// Bytes of a file above which only its path is searched.
    max_file_bytes: u32,
    _slot: Share,
    started: Instant,
    /// The files that are left.
    files: VecDeque<(String, FileRef)>,
    searched_bytes: u64,
    hits: Vec<FileHit>,
    /// Where the search stopped before the last file.
    stopped: Option<Position>,
}

impl PageWork {
    fn new(query: Query, size: usize, after: Option<Position>, max_file_bytes: u32, slot: Share) -> Self {
        let (started, files) = (Instant::now(), VecDeque::new());
        Self { query, size, after, max_file_bytes, _slot: slot, started, files, searched_bytes: 0, hits: Vec::new(), stopped: None }
    }

    /// Takes the files of a tree that are not before the page.
    fn with_files(mut self, tree: &Arc<Folder>) -> Self {
        let files = tree.walk_files();
        let start = self.after.as_ref().map_or(0, |after| files.partition_point(|(path, _)| path.as_str() < after.path.as_str()));
        self.files = files.into_iter().skip(start).filter(|(path, _)| self.query.filter.admits(path)).collect();
        self
    }

    fn is_done(&self) -> bool {
        self.files.is_empty() || self.stopped.is_some()
    }

    fn is_searched(&self, file: FileRef) -> bool {
        file.size <= self.max_file_bytes
    }

    fn next_batch(&mut self) -> Vec<(String, FileRef)> {
        let mut bytes = 0;
        let mut count = 0;
        for (_, file) in self.files.iter().take(BATCH_FILES) {
            count += 1;
            bytes += if self.is_searched(*file) { u64::from(file.size) } else { 0 };
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        self.files.drain(..count).collect()
    }

    fn scan(mut self, batch: Vec<(String, FileRef)>, contents: &Contents) -> Self {
        for (path, file) in batch {
            let end = self.scan_file(&path, file, contents);
            let is_over = self.searched_bytes >= MAX_PAGE_BYTES || self.started.elapsed() >= MAX_TIME;
            match end {
                Progress::Line(line) => self.stopped = Some(Position { path, line }),
                Progress::End if is_over => self.stopped = Some(Position { path, line: u32::MAX }),
                Progress::End => continue,
            }
            break;
        }
        self
    }

    /// One hit more than the page has is found, so that the last page is known.
    fn scan_file(&mut self, path: &str, file: FileRef, contents: &Contents) -> Progress {
        let after = self.after.as_ref().filter(|after| after.path == path).map(|after| after.line);
        let mut found = Vec::new();
        let max = (self.size + 1).saturating_sub(self.hits.len());
        if after.is_none() {
            found.extend(hit(&self.query.pattern, path));
        }
        let text = contents.get(&file.oid).filter(|_| self.is_searched(file)).filter(|bytes| is_text(bytes));
        let text = text.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
        let progress = if found.len() >= max {
            Progress::Line(0)
        } else {
            let scan = Scan { pattern: &self.query.pattern, context: self.query.context, after: after.unwrap_or(0), max };
            scan.text(text, || self.started.elapsed() >= MAX_TIME, &mut found)
        };
        self.searched_bytes += text.len() as u64;
        self.hits.extend(found.into_iter().map(|hit| FileHit { path: path.to_owned(), file, hit }));
        progress
    }

    /// The hits, and the end of the page if it is not the last one.
    fn finish(mut self) -> (Vec<FileHit>, Option<Position>) {
        if self.hits.len() <= self.size {
            return (self.hits, self.stopped);
        }
        self.hits.truncate(self.size);
        let next = self.hits.last().map(|last| Position { path: last.path.clone(), line: last.hit.line });
        (self.hits, next)
    }
}
