//! Finds the files that moved, by the rule of git: a removed file and an added one are the same file if half of its bytes stayed.

use std::{collections::HashMap, hash::BuildHasher as _};

use super::{
    diff::{DiffStat, Difference},
    folder::FileRef,
    object::Oid,
};

/// The least similarity of two files that count as one, in percent.
pub(crate) const LEAST_SIMILAR: u32 = 50;
/// The least similarity of two files with the same name, which no other file has, to be paired before all others.
const SIMILAR_WITH_NAME: u32 = 75;
/// Removed files, and added files, whose contents are compared. With more of either, only files with equal contents count as moved.
pub(crate) const MAX_CANDIDATES: usize = 200;
/// Bytes that the contents of all candidates may have.
const MAX_CANDIDATE_BYTES: u64 = 8 * 1024 * 1024;
/// Lookups of chunks that the comparison of all pairs may take; about a quarter of a second. Above it, too, only equal contents count.
const MAX_LOOKUPS: usize = 10_000_000;
/// Bytes of a line that are compared as one.
const CHUNK_BYTES: usize = 64;

/// How one path differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileChange {
    Added { path: String, new: FileRef },
    Modified { path: String, old: FileRef, new: FileRef },
    Deleted { path: String, old: FileRef },
    Renamed { old_path: String, path: String, old: FileRef, new: FileRef, similarity: u32 },
}

impl FileChange {
    /// The path in the new tree, or where it was if it is removed.
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Added { path, .. } | Self::Modified { path, .. } | Self::Deleted { path, .. } | Self::Renamed { path, .. } => path,
        }
    }

    /// Its paths: one, or the new and the old one of a file that moved.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        let old_path = if let Self::Renamed { old_path, .. } = self { Some(old_path.as_str()) } else { None };
        std::iter::once(self.path()).chain(old_path)
    }

    /// Counts changes. A file that moved and changed counts as renamed.
    pub(crate) fn stat(changes: &[Self]) -> DiffStat {
        let mut stat = DiffStat::default();
        for change in changes {
            *match change {
                Self::Added { .. } => &mut stat.added,
                Self::Modified { .. } => &mut stat.modified,
                Self::Deleted { .. } => &mut stat.deleted,
                Self::Renamed { .. } => &mut stat.renamed,
            } += 1;
        }
        stat
    }

    pub(crate) fn old_file(&self) -> Option<FileRef> {
        match self {
            Self::Added { .. } => None,
            Self::Modified { old, .. } | Self::Deleted { old, .. } | Self::Renamed { old, .. } => Some(*old),
        }
    }

    pub(crate) fn new_file(&self) -> Option<FileRef> {
        match self {
            Self::Deleted { .. } => None,
            Self::Added { new, .. } | Self::Modified { new, .. } | Self::Renamed { new, .. } => Some(*new),
        }
    }
}

/// A removed or an added file, which may be one half of a move.
struct Half {
    path: String,
    file: FileRef,
    paired: bool,
}

/// The differences of two trees, while files that moved are looked for.
pub(crate) struct Renames {
    modified: Vec<FileChange>,
    removed: Vec<Half>,
    added: Vec<Half>,
    renamed: Vec<FileChange>,
}

impl Renames {
    /// Finds the files that moved without a change.
    pub(crate) fn new(differences: Vec<Difference>) -> Self {
        let mut renames = Self { modified: Vec::new(), removed: Vec::new(), added: Vec::new(), renamed: Vec::new() };
        let half = |path, file| Half { path, file, paired: false };
        for Difference { path, old, new } in differences {
            match (old, new) {
                (Some(old), Some(new)) => renames.modified.push(FileChange::Modified { path, old, new }),
                (Some(old), None) => renames.removed.push(half(path, old)),
                (None, Some(new)) => renames.added.push(half(path, new)),
                (None, None) => {}
            }
        }
        renames.pair_equal();
        renames
    }

    fn pair_equal(&mut self) {
        let mut by_content: HashMap<Oid, Vec<usize>> = HashMap::new();
        for (at, removed) in self.removed.iter().enumerate() {
            by_content.entry(removed.file.oid).or_default().push(at);
        }
        for added in 0..self.added.len() {
            let Some(sources) = by_content.get_mut(&self.added[added].file.oid) else { continue };
            let name = name(&self.added[added].path);
            let best = sources.iter().position(|removed| self::name(&self.removed[*removed].path) == name);
            if sources.is_empty() {
                continue;
            }
            let removed = sources.remove(best.unwrap_or(0));
            self.pair(removed, added, 100);
        }
    }

    fn pair(&mut self, removed: usize, added: usize, similarity: u32) {
        let (removed, added) = (&mut self.removed[removed], &mut self.added[added]);
        (removed.paired, added.paired) = (true, true);
        let (old_path, path) = (removed.path.clone(), added.path.clone());
        self.renamed.push(FileChange::Renamed { old_path, path, old: removed.file, new: added.file, similarity });
    }

    /// The files whose contents [`Renames::finish`] compares: those with a file of similar size on the other side.
    pub(crate) fn candidates(&self) -> Vec<FileRef> {
        let open =
            |halves: &[Half]| halves.iter().filter(|half| !half.paired && half.file.size > 0).map(|half| half.file).collect::<Vec<_>>();
        let (removed, added) = (open(&self.removed), open(&self.added));
        if removed.len() > MAX_CANDIDATES || added.len() > MAX_CANDIDATES {
            return Vec::new();
        }
        let is_possible = |file: &&FileRef, others: &[FileRef]| others.iter().any(|other| may_be_similar(file.size, other.size));
        let possible =
            removed.iter().filter(|file| is_possible(file, &added)).chain(added.iter().filter(|file| is_possible(file, &removed)));
        let files: Vec<FileRef> = possible.copied().collect();
        let bytes: u64 = files.iter().map(|file| u64::from(file.size)).sum();
        if bytes > MAX_CANDIDATE_BYTES { Vec::new() } else { files }
    }

    /// Pairs files by their contents, the most similar first, and answers all differences sorted by path. A file without a content
    /// here does not count as moved.
    pub(crate) fn finish<'a>(mut self, content: impl Fn(Oid) -> Option<&'a [u8]>) -> Vec<FileChange> {
        let files = self.candidates();
        let chunks = files.iter().filter_map(|file| Some((file.oid, Chunks::of(content(file.oid)?)))).collect();
        let mut pairs = self.similar_pairs(&chunks);
        self.pair_unique_names(&pairs);
        pairs.sort_by_key(|pair| (std::cmp::Reverse((pair.similarity, pair.has_same_name)), pair.from, pair.to));
        for Pair { similarity, from, to, .. } in pairs {
            if !self.removed[from].paired && !self.added[to].paired {
                self.pair(from, to, similarity);
            }
        }
        let open = |halves: Vec<Half>| halves.into_iter().filter(|half| !half.paired);
        let removed = open(self.removed).map(|half| FileChange::Deleted { path: half.path, old: half.file });
        let added = open(self.added).map(|half| FileChange::Added { path: half.path, new: half.file });
        let mut changes: Vec<_> = self.modified.into_iter().chain(self.renamed).chain(removed).chain(added).collect();
        changes.sort_by(|a, b| a.path().cmp(b.path()));
        changes
    }

    /// Pairs files first whose name no other removed and no other added file has, if they are similar enough.
    fn pair_unique_names(&mut self, pairs: &[Pair]) {
        let is_unique = |halves: &[Half], at: usize| {
            let of = name(&halves[at].path);
            halves.iter().filter(|half| !half.paired && name(&half.path) == of).count() == 1
        };
        let unique = |pair: &&Pair| {
            pair.has_same_name
                && pair.similarity >= SIMILAR_WITH_NAME
                && is_unique(&self.removed, pair.from)
                && is_unique(&self.added, pair.to)
        };
        let unique: Vec<_> = pairs.iter().filter(unique).map(|pair| (pair.from, pair.to, pair.similarity)).collect();
        for (from, to, similarity) in unique {
            self.pair(from, to, similarity);
        }
    }

    /// Pairs of a removed and an added file that may be one file. Empty if the comparison would take too long.
    fn similar_pairs(&self, chunks: &HashMap<Oid, Chunks>) -> Vec<Pair> {
        let compared = |halves: &[Half]| -> Vec<usize> {
            let unpaired = halves.iter().enumerate().filter(|(_, half)| !half.paired && chunks.contains_key(&half.file.oid));
            unpaired.map(|(at, _)| at).collect()
        };
        let (removed, added) = (compared(&self.removed), compared(&self.added));
        let all = removed.iter().flat_map(|from| added.iter().map(|to| (*from, *to)));
        let possible: Vec<_> = all.filter(|(from, to)| may_be_similar(self.removed[*from].file.size, self.added[*to].file.size)).collect();
        let sides = |from: usize, to: usize| (&chunks[&self.removed[from].file.oid], &chunks[&self.added[to].file.oid]);
        let lookups: usize = possible.iter().map(|(from, to)| sides(*from, *to)).map(|(old, new)| old.0.len().min(new.0.len())).sum();
        if lookups > MAX_LOOKUPS {
            return Vec::new();
        }
        let compare = |(from, to): (usize, usize)| {
            let ((old, new), (removed, added)) = (sides(from, to), (&self.removed[from], &self.added[to]));
            let similarity = old.similarity(new, removed.file.size.max(added.file.size));
            Pair { similarity, has_same_name: name(&removed.path) == name(&added.path), from, to }
        };
        possible.into_iter().map(compare).filter(|pair| pair.similarity >= LEAST_SIMILAR).collect()
    }
}

/// A removed and an added file that may be one file, by their indexes.
struct Pair {
    /// In percent.
    similarity: u32,
    has_same_name: bool,
    from: usize,
    to: usize,
}

/// Whether files of these sizes can have enough bytes in common.
fn may_be_similar(size: u32, other: u32) -> bool {
    u64::from(size.min(other)) * 100 >= u64::from(size.max(other)) * u64::from(LEAST_SIMILAR)
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The bytes of a file in each of its different chunks. A chunk is a line, or 64 bytes of a longer one.
struct Chunks(HashMap<u64, u32>);

impl Chunks {
    fn of(content: &[u8]) -> Self {
        let hasher = std::hash::BuildHasherDefault::<std::collections::hash_map::DefaultHasher>::default();
        let is_text = !content.contains(&0);
        let mut chunks = HashMap::new();
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            // A line keeps its identity when its end becomes that of another system.
            let without_cr = is_text.then(|| line.strip_suffix(b"\r\n")).flatten();
            let line = without_cr.map_or(std::borrow::Cow::Borrowed(line), |text| [text, b"\n"].concat().into());
            for chunk in line.chunks(CHUNK_BYTES) {
                *chunks.entry(hasher.hash_one(chunk)).or_default() += u32::try_from(chunk.len()).unwrap_or(0);
            }
        }
        Self(chunks)
    }

    /// The part of a file of `size` bytes, the larger of the two, that both have, in percent.
    fn similarity(&self, other: &Self, size: u32) -> u32 {
        let (few, many) = if self.0.len() <= other.0.len() { (self, other) } else { (other, self) };
        let both: u64 = few.0.iter().filter_map(|(chunk, bytes)| many.0.get(chunk).map(|more| u64::from(*bytes.min(more)))).sum();
        u32::try_from(both * 100 / u64::from(size.max(1))).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::git::{blob_id, diff::diff, folder::Folder};

    /// The differences of two trees as `git diff --name-status -M` writes them.
    fn status(old: &[(&str, &str)], new: &[(&str, &str)]) -> Vec<String> {
        let mut contents = BTreeMap::new();
        let mut tree = |files: &[(&str, &str)]| {
            let mut root = Folder::default();
            for (path, content) in files {
                let oid = blob_id(content.as_bytes()).expect("id");
                contents.insert(oid.to_string(), content.as_bytes().to_vec());
                root.put(path, FileRef { oid, size: u32::try_from(content.len()).expect("size") }).expect("no clash");
            }
            root
        };
        let differences = diff(&tree(old), &tree(new));
        let changes = Renames::new(differences).finish(|oid| contents.get(&oid.to_string()).map(Vec::as_slice));
        let line = |change: &FileChange| match change {
            FileChange::Added { path, .. } => format!("A {path}"),
            FileChange::Modified { path, .. } => format!("M {path}"),
            FileChange::Deleted { path, .. } => format!("D {path}"),
            FileChange::Renamed { old_path, path, similarity, .. } => format!("R{similarity} {old_path} {path}"),
        };
        changes.iter().map(line).collect()
    }

    const TEN: &str = "one 1\ntwo 2\nthree 3\nfour 4\nfive 5\nsix 6\nseven 7\neight 8\nnine 9\nten 10\n";

    #[test]
    fn table() {
        let changed = TEN.replace("five 5", "other");
        let two = changed.replace("nine 9", "others");
        let half = &TEN[..TEN.len() / 2 - 5];
        let crlf = TEN.replace('\n', "\r\n");
        for (old, new, expected) in [
            (vec![], vec![("a", "1")], vec!["A a"]),
            (vec![("a", "1")], vec![("a", "2")], vec!["M a"]),
            (vec![("a", "1")], vec![], vec!["D a"]),
            (vec![("a", TEN)], vec![("b", TEN)], vec!["R100 a b"]),
            (vec![("a", TEN)], vec![("b", changed.as_str())], vec!["R90 a b"]),
            (vec![("a", TEN)], vec![("b", half)], vec!["D a", "A b"]),
            (vec![("x/a", TEN), ("x/b", TEN)], vec![("y/b", TEN), ("y/c", TEN)], vec!["R100 x/b y/b", "R100 x/a y/c"]),
            // A name that is unique on both sides counts more than a better content.
            (vec![("x/a", TEN)], vec![("y/a", two.as_str()), ("y/b", changed.as_str())], vec!["R80 x/a y/a", "A y/b"]),
            // A copy is a new file: the old one is still there.
            (vec![("a", TEN)], vec![("a", TEN), ("b", TEN)], vec!["A b"]),
            (vec![("a", "")], vec![("b", "")], vec!["R100 a b"]),
            (vec![("a", TEN)], vec![("b", crlf.as_str())], vec!["R87 a b"]),
        ] {
            assert_eq!(status(&old, &new), expected, "{old:?} {new:?}");
        }
    }

    #[test]
    fn contents_that_would_take_too_long_are_not_compared() {
        let names: Vec<(String, String)> = (0..100).map(|n| (format!("old {n}"), format!("new {n}"))).collect();
        let lines: String = (0..2_000).map(|n| format!("{n}\n")).collect();
        let (old, new) = (format!("{lines}old\n"), format!("{lines}new\n"));
        let olds: Vec<(&str, &str)> = names.iter().map(|(name, _)| (name.as_str(), old.as_str())).collect();
        let news: Vec<(&str, &str)> = names.iter().map(|(_, name)| (name.as_str(), new.as_str())).collect();
        assert!(status(&olds, &news).iter().all(|line| !line.starts_with('R')), "20 million lookups");
        assert!(status(&olds[..50], &news[..50]).iter().all(|line| line.starts_with('R')), "5 million lookups");
    }

    #[test]
    fn many_candidates_are_not_compared() {
        let names: Vec<(String, String)> = (0..=MAX_CANDIDATES).map(|n| (format!("old {n}"), format!("new {n}"))).collect();
        let (old, new) = (format!("{TEN}old\n"), format!("{TEN}new\n"));
        let olds: Vec<(&str, &str)> = names.iter().map(|(name, _)| (name.as_str(), old.as_str())).collect();
        let news: Vec<(&str, &str)> = names.iter().map(|(_, name)| (name.as_str(), new.as_str())).collect();
        assert!(status(&olds, &news).iter().all(|line| !line.starts_with('R')));
        assert!(status(&olds[1..], &news[1..]).iter().all(|line| line.starts_with('R')));
    }
}
