//! Git: object ids and encodings, trees, differences between trees, and the merge of texts. No other module uses a git crate. Ids are
//! SHA-1 with collision detection, and encodings are those of git, so that a clone can be served from the same rows later.

mod blame;
mod diff;
mod folder;
mod hunks;
mod links;
mod object;
mod rename;
mod text;

pub(crate) use blame::{Span, Split, count_lines, split};
pub(crate) use diff::{DiffStat, Difference};
pub use diff::{diff, stat};
pub(crate) use folder::{Clash, Content, Entry, UsedPath};
pub use folder::{FileRef, Folder};
pub(crate) use hunks::{Hunk, LineDiff, line_diff};
pub(crate) use links::{Link, links};
pub(crate) use object::{BlobHasher, Corruption, Oid, StoredCommit, TreeEntry, chunked_blob, chunks_of, read_blob, read_commit, read_tree};
pub use object::{Commit, Object, blob, blob_id, commit};
pub(crate) use rename::{FileChange, Renames};
pub(crate) use text::{is_text, merge_text};
