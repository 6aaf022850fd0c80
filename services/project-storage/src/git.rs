//! Everything of git: object ids and encodings, the tree as a persistent value, its differences. Nothing outside this module
//! names a git crate. Ids are SHA-1 with collision detection, encodings are git's own, so that a clone can be served from the
//! same rows later.

mod diff;
mod folder;
mod object;
mod text;

pub use diff::{DiffStat, Difference, diff, stat};
pub use folder::{Clash, Entry, FileRef, Folder, Listed};
pub use object::{Commit, Corrupt, Kind, Object, Oid, TreeEntry, blob, blob_id, commit, read_blob, read_tree};
pub use text::merge_text;
