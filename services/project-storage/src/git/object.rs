//! Git objects: their ids and their encodings.

use std::{cell::RefCell, fmt, str::FromStr};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use gix_object::{CommitRef, TreeRefIter, WriteTo, bstr::BStr, compute_hash, tree::EntryKind};
use prost::bytes::Bytes;
use proto::id::ProjectId;
use uuid::Uuid;

/// The compression level: 1 compresses to a third, in a third of the time of the default level.
const LEVEL: u32 = 1;

thread_local! {
    // Creating a compressor takes longer than compressing a file of a few KiB, so each thread keeps one.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(LEVEL), true));
    static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(true));
}

/// The id of an object: SHA-1 of its kind, size and content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid([u8; 20]);

impl Oid {
    /// Git's id of a tree without entries.
    pub const EMPTY_TREE: Oid =
        Oid([0x4b, 0x82, 0x5d, 0xc6, 0x42, 0xcb, 0x6e, 0xb9, 0xa0, 0x60, 0xe5, 0x4b, 0xf8, 0xd6, 0x92, 0x88, 0xfb, 0xee, 0x49, 0x04]);

    /// An id from its 20 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Oid, Corruption> {
        bytes.try_into().map(Oid).map_err(|_| Corruption::Id(bytes.len()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The ETag of an object with this id.
    pub fn etag(&self) -> String {
        format!("\"{self}\"")
    }

    /// The id in an ETag. A weak ETag stands for the same bytes.
    pub fn from_etag(text: &str) -> Option<Oid> {
        text.strip_prefix("W/").unwrap_or(text).strip_prefix('"')?.strip_suffix('"')?.parse().ok()
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oid({self})")
    }
}

/// A text that is no object id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 40 lower-case hexadecimal digits")]
pub struct InvalidOid;

impl FromStr for Oid {
    type Err = InvalidOid;

    fn from_str(text: &str) -> Result<Self, InvalidOid> {
        let mut bytes = [0; 20];
        data_encoding::HEXLOWER
            .decode_len(text.len())
            .ok()
            .filter(|len| *len == bytes.len())
            .and_then(|_| data_encoding::HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).ok())
            .map(|_| Self(bytes))
            .ok_or(InvalidOid)
    }
}

/// Stored data that is not what was written.
#[derive(Debug, thiserror::Error)]
pub enum Corruption {
    #[error("an object id has {0} bytes")]
    Id(usize),
    #[error("object {0} is missing")]
    Missing(Oid),
    #[error("object {0} cannot be decoded")]
    Encoding(Oid),
    #[error("object {0} has content with another id")]
    Content(Oid),
    #[error("revision {number} of the log of project {log} is missing")]
    Revision { log: ProjectId, number: u32 },
}

/// Content that was made to have the same SHA-1 as another content.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("has a known SHA-1 collision")]
pub struct Collision;

/// The kind of an object. The numbers are those of git, and the database stores them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Commit = 1,
    Tree = 2,
    Blob = 3,
}

/// Not compressed: trees and commits are too small to gain from it.
const RAW: i16 = 0;
/// The encoding in a git pack, so that a fetch can copy the rows.
const ZLIB: i16 = 1;

/// In chunks, which another table has: the data is their id.
const CHUNKED: i16 = 2;

/// An encoded object.
#[derive(Debug, Clone)]
pub struct Object {
    pub oid: Oid,
    /// The kind in the low four bits, and the encoding above them.
    pub tag: i16,
    /// Bytes of the content before encoding.
    pub size: i32,
    pub data: Bytes,
}

/// The id of a file's content.
pub fn blob_id(content: &[u8]) -> Result<Oid, Collision> {
    hash(gix_object::Kind::Blob, content)
}

/// The object of a content, compressed.
pub fn blob(oid: Oid, content: &[u8]) -> Object {
    Object { oid, tag: Kind::Blob as i16 | ZLIB << 4, size: size_of_content(content), data: compress(content).into() }
}

/// The object of a content that is stored in chunks.
pub(crate) fn chunked_blob(oid: Oid, size: u32, chunks: Uuid) -> Object {
    let data = Bytes::copy_from_slice(chunks.as_bytes());
    Object { oid, tag: Kind::Blob as i16 | CHUNKED << 4, size: i32::try_from(size).unwrap_or(i32::MAX), data }
}

/// The id of the chunks of a stored blob; `None` if its data is the content.
pub(crate) fn chunks_of(tag: i16, data: &[u8]) -> Option<Uuid> {
    if tag >> 4 == CHUNKED { Uuid::from_slice(data).ok() } else { None }
}

/// Computes the id of a content that arrives in parts.
pub(crate) struct BlobHasher(gix_hash::Hasher);

impl BlobHasher {
    /// `size`: the bytes of the whole content.
    pub(crate) fn new(size: u32) -> Self {
        let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
        hasher.update(format!("blob {size}\0").as_bytes());
        Self(hasher)
    }

    pub(crate) fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    pub(crate) fn finish(self) -> Result<Oid, Collision> {
        Oid::from_bytes(self.0.try_finalize().map_err(|_| Collision)?.as_slice()).map_err(|_| Collision)
    }
}

/// The content of a stored blob, checked against its id.
pub(crate) fn read_blob(oid: Oid, tag: i16, size: i32, data: Vec<u8>) -> Result<Vec<u8>, Corruption> {
    let content = match tag >> 4 {
        ZLIB => decompress(&data, usize::try_from(size).unwrap_or(0)).ok_or(Corruption::Encoding(oid))?,
        _ => data,
    };
    check_id(oid, gix_object::Kind::Blob, &content)?;
    Ok(content)
}

/// One entry of a tree object.
#[derive(Debug, Clone)]
pub(crate) struct TreeEntry {
    pub(crate) name: String,
    pub(crate) folder: bool,
    pub(crate) oid: Oid,
}

/// The object of a tree. The entries are in git's order.
pub(super) fn tree<'a>(entries: impl Iterator<Item = (&'a str, bool, Oid)>) -> Object {
    let mut data = Vec::new();
    for (name, folder, oid) in entries {
        let mode = gix_object::tree::EntryMode::from(if folder { EntryKind::Tree } else { EntryKind::Blob });
        data.extend_from_slice(mode.as_bytes(&mut [0; 6]));
        data.push(b' ');
        data.extend_from_slice(name.as_bytes());
        data.push(0);
        data.extend_from_slice(oid.as_bytes());
    }
    raw(Kind::Tree, data)
}

/// The entries of a stored tree, checked against its id.
pub(crate) fn read_tree(oid: Oid, data: &[u8]) -> Result<Vec<TreeEntry>, Corruption> {
    check_id(oid, gix_object::Kind::Tree, data)?;
    TreeRefIter::from_bytes(data, gix_hash::Kind::Sha1)
        .map(|entry| {
            let entry = entry.map_err(|_| Corruption::Encoding(oid))?;
            let name = std::str::from_utf8(entry.filename).map_err(|_| Corruption::Encoding(oid))?.to_owned();
            Ok(TreeEntry { name, folder: entry.mode.is_tree(), oid: Oid::from_bytes(entry.oid.as_bytes())? })
        })
        .collect()
}

/// A commit to encode.
#[derive(Debug)]
pub struct Commit<'a> {
    pub tree: Oid,
    pub parents: &'a [Oid],
    /// The author: a word without `<`, `>` and line breaks.
    pub author: &'a str,
    /// Seconds since 1970.
    pub time: i64,
    pub message: &'a str,
}

/// The object of a commit.
pub fn commit(commit: &Commit<'_>) -> Object {
    let tree = commit.tree.to_string();
    let parents: Vec<String> = commit.parents.iter().map(Oid::to_string).collect();
    let author = format!("{0} <{0}@users.backlot.invalid> {1} +0000", commit.author, commit.time);
    let committer = format!("Backlot <backlot@backlot.invalid> {} +0000", commit.time);
    let message = format!("{}\n", commit.message.trim_end());
    let object = CommitRef {
        tree: BStr::new(&tree),
        parents: parents.iter().map(BStr::new).collect(),
        author: BStr::new(&author),
        committer: BStr::new(&committer),
        encoding: None,
        message: BStr::new(&message),
        extra_headers: Vec::new(),
    };
    let mut data = Vec::with_capacity(256 + message.len());
    object.write_to(&mut data).expect("the author has no line break, and memory accepts writes");
    raw(Kind::Commit, data)
}

/// A commit that was read back.
#[derive(Debug)]
pub(crate) struct StoredCommit {
    pub(crate) tree: Oid,
    pub(crate) parents: Vec<Oid>,
    /// The word that [`Commit::author`] was.
    pub(crate) author: String,
    /// Seconds since 1970.
    pub(crate) time: i64,
    /// Without white space at its end.
    pub(crate) message: String,
}

/// The content of a stored commit, checked against its id.
pub(crate) fn read_commit(oid: Oid, data: &[u8]) -> Result<StoredCommit, Corruption> {
    check_id(oid, gix_object::Kind::Commit, data)?;
    let commit = CommitRef::from_bytes(data, gix_hash::Kind::Sha1).map_err(|_| Corruption::Encoding(oid))?;
    let author = commit.author().map_err(|_| Corruption::Encoding(oid))?;
    Ok(StoredCommit {
        tree: Oid::from_bytes(commit.tree().as_slice())?,
        parents: commit.parents().map(|parent| Oid::from_bytes(parent.as_slice())).collect::<Result<_, _>>()?,
        author: author.name.to_string(),
        time: author.seconds(),
        message: commit.message.to_string().trim_end().to_owned(),
    })
}

fn raw(kind: Kind, data: Vec<u8>) -> Object {
    let git = match kind {
        Kind::Commit => gix_object::Kind::Commit,
        Kind::Tree => gix_object::Kind::Tree,
        Kind::Blob => gix_object::Kind::Blob,
    };
    // The blocks of a collision do not fit into names and messages: these are text of limited length between ids.
    let oid = hash(git, &data).expect("trees and commits do not collide");
    Object { oid, tag: kind as i16 | RAW << 4, size: size_of_content(&data), data: data.into() }
}

fn hash(kind: gix_object::Kind, content: &[u8]) -> Result<Oid, Collision> {
    let id = compute_hash(gix_hash::Kind::Sha1, kind, content).map_err(|_| Collision)?;
    Oid::from_bytes(id.as_slice()).map_err(|_| Collision)
}

fn check_id(oid: Oid, kind: gix_object::Kind, content: &[u8]) -> Result<(), Corruption> {
    if hash(kind, content).is_ok_and(|found| found == oid) { Ok(()) } else { Err(Corruption::Content(oid)) }
}

/// The size of a content. The limits of projects keep every object far below 2 GiB.
fn size_of_content(content: &[u8]) -> i32 {
    i32::try_from(content.len()).unwrap_or(i32::MAX)
}

fn compress(content: &[u8]) -> Vec<u8> {
    COMPRESS.with_borrow_mut(|zlib| {
        zlib.reset();
        let mut out = Vec::with_capacity(content.len() / 2 + 64);
        loop {
            let read = usize::try_from(zlib.total_in()).unwrap_or(usize::MAX).min(content.len());
            let status = zlib.compress_vec(&content[read..], &mut out, FlushCompress::Finish).expect("writes to memory do not fail");
            if status == Status::StreamEnd {
                return out;
            }
            out.reserve(out.capacity().max(64));
        }
    })
}

fn decompress(data: &[u8], size: usize) -> Option<Vec<u8>> {
    DECOMPRESS.with_borrow_mut(|zlib| {
        zlib.reset(true);
        // With one byte more than needed, the stream reaches its end in one call.
        let mut out = Vec::with_capacity(size + 1);
        let status = zlib.decompress_vec(data, &mut out, FlushDecompress::Finish).ok()?;
        (status == Status::StreamEnd && out.len() == size).then_some(out)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_blob_has_the_id_that_git_gives_it() {
        assert_eq!(blob_id(b"hello\n").expect("id").to_string(), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(blob_id(b"").expect("id").to_string(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(tree(std::iter::empty()).oid, Oid::EMPTY_TREE);
    }

    #[test]
    fn a_commit_is_encoded_as_by_git() {
        let tree = "48b3fdd6de7f01e3ea2c7ff0d3a7a8a9b4f6a1f5".parse().expect("oid");
        let object = commit(&Commit { tree, parents: &[tree, tree], author: "0193", time: 1_700_000_000, message: "one\n\nTurn: x\n" });
        let text = String::from_utf8(object.data.to_vec()).expect("text");
        let expected = format!(
            "tree {tree}\nparent {tree}\nparent {tree}\nauthor 0193 <0193@users.backlot.invalid> 1700000000 +0000\n\
             committer Backlot <backlot@backlot.invalid> 1700000000 +0000\n\none\n\nTurn: x\n"
        );
        assert_eq!(text, expected);
        assert_eq!(object.tag, 1);
    }

    /// `git commit-tree` gave this id for the same commit.
    #[test]
    fn a_commit_has_the_id_that_git_gives_it() {
        let oid = |text: &str| text.parse::<Oid>().expect("oid");
        let (tree, parent) = (oid("8faac483bd1519b93ec3320b15a550ff058d31e8"), oid("abb4a650b22ae43059262e9f0f6bf85b46aae03b"));
        let first = commit(&Commit { tree, parents: &[], author: "0193", time: 1_700_000_000, message: "first line\n\nTurn: x" });
        let second = commit(&Commit { tree, parents: &[parent], author: "0193", time: 1_700_000_001, message: "second" });
        assert_eq!((first.oid, second.oid), (parent, oid("f82c4daecaadd68c2400aa7d5f6326050760569d")));
    }

    #[test]
    fn an_id_has_one_spelling() {
        for bad in ["", "48b3", "48B3FDD6DE7F01E3EA2C7FF0D3A7A8A9B4F6A1F5", "z8b3fdd6de7f01e3ea2c7ff0d3a7a8a9b4f6a1f5"] {
            assert_eq!(bad.parse::<Oid>(), Err(InvalidOid));
        }
        assert_eq!(Oid::from_etag(&Oid::EMPTY_TREE.etag()), Some(Oid::EMPTY_TREE));
        assert_eq!(Oid::from_etag("4b825dc642cb6eb9a060e54bf8d69288fbee4904"), None);
    }

    #[test]
    fn a_damaged_row_is_an_error() {
        let oid = blob_id(b"hello").expect("id");
        let row = blob(oid, b"hello");
        assert!(matches!(read_blob(oid, row.tag, row.size, b"nonsense".to_vec()), Err(Corruption::Encoding(_))));
        let other = blob(oid, b"hullo");
        assert!(matches!(read_blob(oid, other.tag, other.size, other.data.to_vec()), Err(Corruption::Content(_))));
    }

    proptest! {
        #[test]
        fn a_blob_is_read_as_it_was_written(content in proptest::collection::vec(any::<u8>(), 0..20_000)) {
            let oid = blob_id(&content).expect("id");
            let row = blob(oid, &content);
            prop_assert_eq!(read_blob(oid, row.tag, row.size, row.data.to_vec()).expect("content"), content);
        }
    }
}
