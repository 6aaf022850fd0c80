//! The search for the origin of lines. A revision passes the lines that its parents have on to these, as `git blame` does: first to a
//! parent with the same file, then to the first parent that has the line. The other lines are its own.

use std::collections::{BTreeMap, HashMap, HashSet};

use chassis::share::Share;
use prost::bytes::Bytes;

use super::MAX_FILE_BYTES;
use crate::{
    blocking,
    error::Error,
    git::{self, FileChange, FileRef, Oid, Span, Split},
    model::{project::Project, revision::Revision},
    read::{
        changes, commits,
        objects::Objects,
        walk::{self, Budget, Step, Version, Walk},
    },
    store::revisions,
};

/// Revisions that one search looks at.
const MAX_REVISIONS: usize = 10_000;
/// Bytes of folders that one search reads.
const MAX_FOLDER_BYTES: u64 = 64 * 1024 * 1024;
/// Revisions that changed the file, of which one search compares the lines.
const MAX_VERSIONS: usize = 2_000;
/// Bytes of files that one search compares.
const MAX_COMPARED_BYTES: u64 = 64 * 1024 * 1024;
/// Searches for the old path of a file.
const MAX_SEARCHES: usize = 20;
/// Parents of a commit that are looked at.
const MAX_PARENTS: usize = 4;
/// Bytes of the files that are read ahead.
const AHEAD_BYTES: u64 = 4 * 1024 * 1024;

/// Lines with one origin, numbered from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlameRange {
    /// Where the lines are in the file that was blamed, and where they were in the revision.
    pub(crate) span: Span,
    /// The revision that made the lines.
    pub(crate) revision: Oid,
    /// The path of the file in that revision.
    pub(crate) path: String,
    /// The search ended at the revision: it has the lines, and an older one may have made them.
    pub(crate) boundary: bool,
}

/// The origins of all lines.
pub(crate) struct Ranges {
    /// Sorted by line.
    pub(crate) ranges: Vec<BlameRange>,
    /// The revisions of the ranges, the newest first.
    pub(crate) revisions: Vec<Revision>,
}

/// A commit in the order of the search. A commit beside the log, such as that of a conflicted turn, comes behind the revision that merged
/// it, and before the revision before that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    number: u32,
    is_in_log: bool,
}

impl Place {
    fn in_log(number: u32) -> Self {
        Self { number, is_in_log: true }
    }
}

/// A file of a commit with lines whose origin is looked for.
struct Suspect {
    file: FileRef,
    spans: Vec<Span>,
    /// The commit, if it is beside the log.
    beside: Option<Revision>,
}

/// A commit to which lines may be passed on.
struct Parent {
    place: Place,
    tree: Oid,
    beside: Option<Revision>,
    /// Its file at the path of the child's file.
    same_path: SamePath,
}

/// The file of a parent at the path of a child's file.
enum SamePath {
    Known(Option<FileRef>),
    Unread,
}

/// The file of a parent from which a file comes.
struct Origin {
    parent: usize,
    path: String,
    file: FileRef,
}

/// The file that a commit has made or changed.
struct Change {
    revision: Revision,
    path: String,
    file: FileRef,
}

/// A walk along a path with the last version that it found.
struct Trail<'a> {
    walk: Walk<'a>,
    last: Option<Box<Version>>,
}

/// A search while it runs.
pub(super) struct Search<'a> {
    objects: &'a Objects,
    project: &'a Project,
    /// `None` only while other threads have it.
    slot: Option<Share>,
    suspects: BTreeMap<(Place, String), Suspect>,
    trails: HashMap<String, Trail<'a>>,
    contents: HashMap<Oid, Bytes>,
    budget: Budget,
    versions: usize,
    bytes: u64,
    searches: usize,
    ranges: Vec<BlameRange>,
    revisions: HashMap<Oid, Revision>,
}

impl<'a> Search<'a> {
    pub(super) fn new(objects: &'a Objects, project: &'a Project, slot: Share) -> Self {
        Self {
            objects,
            project,
            slot: Some(slot),
            suspects: BTreeMap::new(),
            trails: HashMap::new(),
            contents: HashMap::new(),
            budget: Budget { revisions: MAX_REVISIONS, bytes: MAX_FOLDER_BYTES },
            versions: MAX_VERSIONS,
            bytes: MAX_COMPARED_BYTES,
            searches: MAX_SEARCHES,
            ranges: Vec::new(),
            revisions: HashMap::new(),
        }
    }

    /// Sets the lines whose origin is looked for.
    pub(super) fn begin(&mut self, revision: &Revision, path: &str, file: FileRef, span: Span) {
        let is_in_log = revision.number > 0;
        let place = if is_in_log { Place::in_log(revision.number) } else { Place { number: u32::MAX, is_in_log } };
        let parent = Parent { place, tree: revision.tree, beside: (!is_in_log).then(|| revision.clone()), same_path: SamePath::Unread };
        self.pass_on(&parent, (path.to_owned(), file), vec![span]);
    }

    pub(super) async fn run(mut self) -> Result<Ranges, Error> {
        while let Some(((place, path), suspect)) = self.suspects.pop_last() {
            if suspect.spans.iter().any(|span| span.lines > 0) {
                self.visit((place, path), suspect).await?;
            }
        }
        let mut revisions: Vec<Revision> = self.revisions.into_values().collect();
        revisions.sort_by_key(|revision| std::cmp::Reverse((revision.created_at, revision.number)));
        Ok(Ranges { ranges: joined(self.ranges), revisions })
    }

    /// Looks for the commit that last changed a file, and passes on the lines that it did not make.
    async fn visit(&mut self, (place, path): (Place, String), suspect: Suspect) -> Result<(), Error> {
        let Suspect { file, spans, beside } = suspect;
        if let Some(revision) = beside {
            let parents = self.parent_beside(&revision, place).await?;
            // What is not in this project is not looked at.
            let is_cut = parents.len() < revision.parents.len().min(1);
            return self.divide(Change { revision, path, file }, parents, (spans, is_cut)).await;
        }
        let end = match self.last_change(place.number, &path).await? {
            Step::Changed(version) if version.revision.number < place.number => {
                let Version { revision, new, .. } = *version;
                let place = Place::in_log(revision.number);
                let parent = Parent { place, tree: revision.tree, beside: None, same_path: SamePath::Known(new) };
                self.pass_on(&parent, (path, file), spans);
                return Ok(());
            }
            Step::Changed(version) => {
                let parents = self.parents(&version).await?;
                return self.divide(Change { revision: version.revision, path, file }, parents, (spans, false)).await;
            }
            Step::Spent(number) => number.min(place.number),
            Step::End => place.number,
        };
        let log = revisions::before(&self.objects.pool, self.project.id, end.saturating_add(1), 1).await?;
        let revision = log.into_iter().next().ok_or(Error::RevisionNotFound)?;
        self.attribute(Change { revision, path, file }, spans, true);
        Ok(())
    }

    /// The last revision up to a number that changed the file at a path. The numbers of one path never grow during a search.
    async fn last_change(&mut self, number: u32, path: &str) -> Result<Step, Error> {
        if !self.trails.contains_key(path) {
            let walk = Walk::new(self.objects, self.project, path.to_owned(), number.saturating_add(1));
            self.trails.insert(path.to_owned(), Trail { walk, last: None });
        }
        let Some(trail) = self.trails.get_mut(path) else { return Ok(Step::End) };
        loop {
            if let Some(version) = trail.last.as_ref().filter(|version| version.revision.number <= number) {
                return Ok(Step::Changed(version.clone()));
            }
            match trail.walk.next(&mut self.budget).await? {
                Step::Changed(version) => trail.last = Some(version),
                end => return Ok(end),
            }
        }
    }

    /// The parents of a revision of the log: the revision before it, and what it merged. Lines of another project, of which only the
    /// result of the merge can be read, so belong to the merge.
    async fn parents(&self, version: &Version) -> Result<Vec<Parent>, Error> {
        let Version { revision, previous_tree, .. } = version;
        let mut parents = Vec::new();
        if revision.number > 1 {
            let place = Place::in_log(revision.number - 1);
            parents.push(Parent { place, tree: *previous_tree, beside: None, same_path: SamePath::Known(version.old) });
        }
        for id in revision.parents.iter().skip(1).take(MAX_PARENTS - 1) {
            let Some(merged) = commits::merged(self.objects, self.project, revision, *id).await? else { continue };
            // The search only goes back, so that it ends.
            if merged.number >= revision.number {
                continue;
            }
            let is_in_log = merged.number > 0;
            let number = if is_in_log { merged.number } else { revision.number };
            let place = Place { number, is_in_log };
            let (tree, beside) = (merged.tree, (!is_in_log).then_some(merged));
            parents.push(Parent { place, tree, beside, same_path: SamePath::Unread });
        }
        Ok(parents)
    }

    /// The parent of a commit beside the log, if it is in the log.
    async fn parent_beside(&self, commit: &Revision, place: Place) -> Result<Vec<Parent>, Error> {
        let Some(id) = commit.parents.first() else { return Ok(Vec::new()) };
        let found =
            revisions::find(&self.objects.pool, self.project.id, *id).await?.filter(|parent| (1..place.number).contains(&parent.number));
        let parent = |parent: Revision| {
            let place = Place::in_log(parent.number);
            Parent { place, tree: parent.tree, beside: None, same_path: SamePath::Unread }
        };
        Ok(found.map(parent).into_iter().collect())
    }

    /// Divides lines between a commit and its parents.
    async fn divide(&mut self, made: Change, parents: Vec<Parent>, (mut spans, mut boundary): (Vec<Span>, bool)) -> Result<(), Error> {
        let Some(versions) = self.versions.checked_sub(1) else {
            self.attribute(made, spans, true);
            return Ok(());
        };
        self.versions = versions;
        let Some(origins) = self.origins(&made, &parents).await? else {
            self.attribute(made, spans, true);
            return Ok(());
        };
        for origin in origins {
            let parent = &parents[origin.parent];
            let compared = u64::from(origin.file.size) + u64::from(made.file.size);
            if origin.file.oid == made.file.oid {
                self.pass_on(parent, (origin.path, origin.file), spans);
                return Ok(());
            }
            match self.bytes.checked_sub(compared) {
                Some(bytes) if origin.file.size <= MAX_FILE_BYTES => self.bytes = bytes,
                // The lines are not compared with those of this parent.
                _ => {
                    boundary = true;
                    continue;
                }
            }
            let Split { passed, kept } = self.split(&made, origin.file, spans).await?;
            self.pass_on(parent, (origin.path, origin.file), passed);
            spans = kept;
        }
        self.attribute(made, spans, boundary);
        Ok(())
    }

    /// The files of the parents from which a file comes, in the order of the parents. A parent with the same content is the only one.
    /// `None` if it is not known, because the search may not look for more old paths.
    async fn origins(&mut self, made: &Change, parents: &[Parent]) -> Result<Option<Vec<Origin>>, Error> {
        let mut origins: Vec<Origin> = Vec::new();
        let mut without = Vec::new();
        for (parent, side) in parents.iter().enumerate() {
            let same_path = match side.same_path {
                SamePath::Known(file) => file,
                SamePath::Unread => walk::file_at(self.objects, self.project, side.tree, &made.path).await?,
            };
            match same_path {
                Some(file) if file.oid == made.file.oid => return Ok(Some(vec![Origin { parent, path: made.path.clone(), file }])),
                Some(file) if origins.iter().any(|origin| origin.file.oid == file.oid) => {}
                Some(file) => origins.push(Origin { parent, path: made.path.clone(), file }),
                None => without.push(parent),
            }
        }
        for parent in without {
            let Some(searches) = self.searches.checked_sub(1) else { return Ok(None) };
            let Some(slot) = self.slot.take() else { return Ok(None) };
            self.searches = searches;
            let trees = (parents[parent].tree, made.revision.tree);
            let (changes, slot) = changes::between(self.objects, self.project.store, trees, slot).await?;
            self.slot = Some(slot);
            let moved = |change: &FileChange| match change {
                FileChange::Renamed { old_path, path, old, .. } if *path == made.path => Some((old_path.clone(), *old)),
                _ => None,
            };
            let Some((path, file)) = changes.iter().find_map(moved) else { continue };
            if file.oid == made.file.oid {
                return Ok(Some(vec![Origin { parent, path, file }]));
            }
            if origins.iter().all(|origin| origin.file.oid != file.oid) {
                origins.push(Origin { parent, path, file });
            }
        }
        origins.sort_by_key(|origin| origin.parent);
        Ok(Some(origins))
    }

    /// Splits lines by whether an older file has them.
    async fn split(&mut self, made: &Change, old: FileRef, spans: Vec<Span>) -> Result<Split, Error> {
        if [old, made.file].iter().any(|file| !self.contents.contains_key(&file.oid)) {
            self.read_ahead(made, old).await?;
        }
        let content = |file: FileRef| self.contents.get(&file.oid).cloned().unwrap_or_default();
        let (old, new) = (content(old), content(made.file));
        Ok(blocking::run(old.len() + new.len(), move || git::split(&old, &new, &spans)).await)
    }

    /// Reads the contents of two files and of those that will be compared next.
    async fn read_ahead(&mut self, made: &Change, old: FileRef) -> Result<(), Error> {
        let mut files = vec![old, made.file];
        let ready = self.trails.get(&made.path).into_iter().flat_map(|trail| trail.walk.ready());
        let (mut bytes, mut seen) = (0, HashSet::from([old.oid, made.file.oid]));
        for file in ready.filter_map(|version| version.old).filter(|file| file.size <= MAX_FILE_BYTES) {
            bytes += u64::from(file.size);
            if bytes > AHEAD_BYTES {
                break;
            }
            if seen.insert(file.oid) {
                files.push(file);
            }
        }
        self.contents = self.objects.contents(self.project.store, &files).await?;
        Ok(())
    }

    fn pass_on(&mut self, parent: &Parent, (path, file): (String, FileRef), spans: Vec<Span>) {
        let suspect = || Suspect { file, spans: Vec::new(), beside: parent.beside.clone() };
        self.suspects.entry((parent.place, path)).or_insert_with(suspect).spans.extend(spans);
    }

    fn attribute(&mut self, made: Change, spans: Vec<Span>, boundary: bool) {
        let Change { revision, path, .. } = made;
        if spans.is_empty() {
            return;
        }
        self.ranges.extend(spans.into_iter().map(|span| BlameRange { span, revision: revision.id, path: path.clone(), boundary }));
        self.revisions.entry(revision.id).or_insert(revision);
    }
}

/// Sorts ranges by line and joins those that continue each other.
fn joined(mut ranges: Vec<BlameRange>) -> Vec<BlameRange> {
    ranges.sort_by_key(|range| range.span.result);
    let mut joined: Vec<BlameRange> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if continues(last, &range) => last.span.lines += range.span.lines,
            _ => joined.push(range),
        }
    }
    joined
}

fn continues(last: &BlameRange, next: &BlameRange) -> bool {
    last.span.result + last.span.lines == next.span.result
        && last.span.at + last.span.lines == next.span.at
        && (last.revision, &last.path, last.boundary) == (next.revision, &next.path, next.boundary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_beside_the_log_stands_behind_the_revision_that_merged_it() {
        let beside = Place { number: 5, is_in_log: false };
        assert!(Place::in_log(5) > beside && beside > Place::in_log(4));
    }

    #[test]
    fn ranges_that_continue_each_other_are_one() {
        let range = |result: u32, at: u32, lines: u32, path: &str| BlameRange {
            span: Span { result, at, lines },
            revision: Oid::EMPTY_TREE,
            path: path.to_owned(),
            boundary: false,
        };
        let ranges = vec![range(5, 5, 1, "a"), range(0, 0, 2, "a"), range(2, 2, 3, "a"), range(6, 9, 1, "a"), range(7, 10, 1, "b")];
        assert_eq!(joined(ranges), [range(0, 0, 6, "a"), range(6, 9, 1, "a"), range(7, 10, 1, "b")]);
    }
}
