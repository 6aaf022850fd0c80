//! The entries of an archive: which are kept, and whether all are legal and within the limits.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap, HashSet},
    rc::Rc,
};

use proto::path::{MAX_CHARACTERS, MAX_PART_BYTES, fold};

use super::{
    Contents, FREE_BYTES, Limits, Piece, ReadFile, Sink, SkippedEntry,
    path::{self, EntryPath},
    skip::{self, SkipReason},
};
use crate::archive::error::ArchiveError;

/// Bytes of a path in an archive: the longest path of a project below a single top folder.
const PATH_BYTES: usize = 4 * MAX_CHARACTERS + MAX_PART_BYTES + 1;
/// Bytes of all paths that are kept in memory.
const ALL_PATH_BYTES: usize = 16 * 1024 * 1024;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// Something that a project cannot have, such as a link.
    Other(&'static str),
}

/// The entries so far.
pub(super) struct Collector<'a> {
    limits: Limits,
    sink: &'a mut Sink<'a>,
    /// Consumed bytes of the archive.
    consumed: Rc<Cell<u64>>,
    entries: u32,
    unpacked: u64,
    /// Bytes of the paths in `names` and `skipped`.
    path_bytes: usize,
    files: Vec<(String, u64)>,
    /// The folded path of each file and folder, with its exact spelling and whether it is a folder.
    names: HashMap<String, (String, bool)>,
    folders: u32,
    skipped: BTreeMap<String, SkippedEntry>,
    present: Option<Present>,
}

/// The entry whose content is being read.
struct Present {
    path: String,
    bytes: u64,
    fate: Fate,
}

enum Fate {
    /// A file to import.
    Keep,
    /// An entry without content. Folders follow from their files.
    Folder,
    /// The part of the path that is left out, and why.
    Skip(String, SkipReason),
}

impl<'a> Collector<'a> {
    pub(super) fn new(limits: Limits, sink: &'a mut Sink<'a>) -> Self {
        Self {
            limits,
            sink,
            consumed: Rc::default(),
            entries: 0,
            unpacked: 0,
            path_bytes: 0,
            files: Vec::new(),
            names: HashMap::new(),
            folders: 0,
            skipped: BTreeMap::new(),
            present: None,
        }
    }

    /// Compares the unpacked bytes with this number from now on.
    pub(super) fn count_input(&mut self, consumed: Rc<Cell<u64>>) {
        self.consumed = consumed;
    }

    /// Begins an entry. Its content follows, also if it is left out. Returns whether it is left out.
    ///
    /// # Errors
    /// An entry that no project can have, a repeated one, and a limit.
    pub(super) fn begin(&mut self, raw: &[u8], kind: Kind) -> Result<bool, ArchiveError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(ArchiveError::TooLarge { what: "entries", limit: self.limits.entries.into(), entry: None });
        }
        let EntryPath { path, is_folder } = path::parse(raw, self.limits.depth)?;
        let kind = if is_folder && kind == Kind::File { Kind::Folder } else { kind };
        let fate = match (skip::by_name(&path, kind == Kind::Folder), kind) {
            (_, Kind::Folder) => Fate::Folder,
            (Some((part, reason)), _) => {
                if !self.skipped.contains_key(part) {
                    self.count_path(part)?;
                }
                Fate::Skip(part.to_owned(), reason)
            }
            (None, Kind::Other(what)) => return Err(ArchiveError::entry(&path, what)),
            (None, Kind::File) => {
                self.add_names(&path)?;
                Fate::Keep
            }
        };
        let is_skipped = matches!(fate, Fate::Skip(..));
        self.present = Some(Present { path, bytes: 0, fate });
        Ok(is_skipped)
    }

    /// Counts a path that is kept in memory.
    fn count_path(&mut self, path: &str) -> Result<(), ArchiveError> {
        if path.len() > PATH_BYTES {
            return Err(ArchiveError::entry(path, format!("has more than {PATH_BYTES} bytes")));
        }
        self.path_bytes += path.len();
        if self.path_bytes > ALL_PATH_BYTES {
            return Err(ArchiveError::TooLarge { what: "bytes of paths", limit: ALL_PATH_BYTES as u64, entry: None });
        }
        Ok(())
    }

    /// Adds a file and its folders to the names. Refuses what a file system without case cannot have together.
    fn add_names(&mut self, path: &str) -> Result<(), ArchiveError> {
        for (end, _) in path.match_indices('/') {
            self.add_name(&path[..end], true, path)?;
        }
        self.add_name(path, false, path)
    }

    fn add_name(&mut self, name: &str, is_folder: bool, path: &str) -> Result<(), ArchiveError> {
        let folded = fold(name);
        if let Some((other, other_is_folder)) = self.names.get(&folded) {
            let problem = if other != name {
                format!("differs from `{}` only in case", proto::path::shown(other))
            } else if is_folder != *other_is_folder {
                format!("clashes with `{}`, which is a {}", proto::path::shown(other), if *other_is_folder { "folder" } else { "file" })
            } else if !is_folder {
                "is in the archive twice".to_owned()
            } else {
                return Ok(());
            };
            return Err(ArchiveError::entry(path, problem));
        }
        self.count_path(name)?;
        self.folders += u32::from(is_folder);
        if self.folders > self.limits.folders {
            return Err(ArchiveError::TooLarge { what: "folders", limit: self.limits.folders.into(), entry: Some(path.to_owned()) });
        }
        self.names.insert(folded, (name.to_owned(), is_folder));
        Ok(())
    }

    /// The next bytes of the present entry.
    pub(super) fn data(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.count(bytes.len() as u64)?;
        let Some(present) = &mut self.present else { return Ok(()) };
        present.bytes += bytes.len() as u64;
        match present.fate {
            Fate::Keep if present.bytes > self.limits.file_bytes => {
                let (limit, entry) = (self.limits.file_bytes, Some(present.path.clone()));
                Err(ArchiveError::TooLarge { what: "bytes in one file", limit, entry })
            }
            Fate::Keep => Ok((self.sink)(Piece::Data(bytes))?),
            Fate::Folder if !bytes.is_empty() => Err(ArchiveError::invalid("has a folder with content").at(&present.path)),
            Fate::Folder | Fate::Skip(..) => Ok(()),
        }
    }

    /// Counts bytes that were unpacked.
    pub(super) fn count(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        self.unpacked += bytes;
        let allowed = self.consumed.get().saturating_mul(self.limits.ratio).saturating_add(FREE_BYTES);
        let entry = || self.present.as_ref().map(|present| present.path.clone());
        if self.unpacked > self.limits.unpacked_bytes {
            return Err(ArchiveError::TooLarge { what: "unpacked bytes", limit: self.limits.unpacked_bytes, entry: entry() });
        }
        if self.unpacked > allowed {
            let what = "unpacked bytes for each byte of the archive";
            return Err(ArchiveError::TooLarge { what, limit: self.limits.ratio, entry: entry() });
        }
        Ok(())
    }

    /// Ends the present entry.
    pub(super) fn end(&mut self) -> Result<(), ArchiveError> {
        let Some(Present { path, bytes, fate }) = self.present.take() else { return Ok(()) };
        match fate {
            Fate::Keep => {
                (self.sink)(Piece::End)?;
                self.files.push((path, bytes));
            }
            Fate::Folder => {}
            Fate::Skip(part, reason) => self.skip(part, reason, (1, bytes)),
        }
        Ok(())
    }

    fn skip(&mut self, path: String, reason: SkipReason, (files, bytes): (u32, u64)) {
        let entry = self.skipped.entry(path.clone()).or_insert(SkippedEntry { path, reason, files: 0, bytes: 0 });
        entry.files += files;
        entry.bytes += bytes;
    }

    /// Removes a single top folder, leaves out build output, and checks the paths.
    pub(super) fn finish(mut self) -> Result<Contents, ArchiveError> {
        let files = std::mem::take(&mut self.files);
        let top = top_folder(files.iter().map(|(path, _)| path.as_str())).map(str::to_owned);
        let strip = |path: &str| top.as_deref().and_then(|top| path.strip_prefix(top)).unwrap_or(path).to_owned();
        for entry in std::mem::take(&mut self.skipped).into_values() {
            self.skip(strip(&entry.path), entry.reason, (entry.files, entry.bytes));
        }
        let files: Vec<_> =
            files.iter().enumerate().map(|(index, (path, bytes))| ReadFile { path: strip(path), bytes: *bytes, index }).collect();
        let paths: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let outputs: Vec<_> =
            files.iter().map(|file| skip::build_output(&file.path, |path| paths.contains(path)).map(str::to_owned)).collect();
        let mut kept = Vec::with_capacity(files.len());
        for (file, output) in files.into_iter().zip(outputs) {
            match output {
                Some(folder) => self.skip(folder, SkipReason::BuildOutput, (1, file.bytes)),
                None => {
                    path::check(&file.path)?;
                    kept.push(file);
                }
            }
        }
        kept.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(Contents { files: kept, skipped: self.skipped.into_values().collect() })
    }
}

/// The folder that contains all files, with a slash at its end.
fn top_folder<'a>(mut paths: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = paths.next()?;
    let top = &first[..=first.find('/')?];
    paths.all(|path| path.starts_with(top)).then_some(top)
}
