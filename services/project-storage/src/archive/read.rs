//! Reading archives that nobody trusts: one pass over a stream, with bounded memory. Nothing is unpacked, and an archive is taken as a whole
//! or not at all.
//!
//! [`zip`] and [`tar`] parse. Both hand every entry to [`collect`], which checks it: [`path`] has the rules of paths, and [`skip`] says
//! which entries are left out.

mod collect;
mod input;
mod path;
mod skip;
mod tar;
mod zip;

use std::io::Read;

pub(crate) use self::skip::SkipReason;
use self::{collect::Collector, input::Input};
use super::error::{ArchiveError, Stopped};

/// The limits of an archive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of the archive itself.
    pub(crate) archive_bytes: u64,
    /// Bytes of all its entries together, those that are skipped included.
    pub(crate) unpacked_bytes: u64,
    /// Unpacked bytes for each byte of the archive, beyond [`FREE_BYTES`].
    pub(crate) ratio: u64,
    /// Entries, those that are skipped included.
    pub(crate) entries: u32,
    /// Folders that contain files.
    pub(crate) folders: u32,
    /// Parts of a path.
    pub(crate) depth: usize,
    /// Bytes of one file.
    pub(crate) file_bytes: u64,
}

/// Bytes that an archive may unpack to whatever its size is. Small files compress well.
pub(crate) const FREE_BYTES: u64 = 8 * 1024 * 1024;

/// A part of the content of the files, which come one after the other.
pub(crate) enum Piece<'a> {
    /// The next bytes of the present file.
    Data(&'a [u8]),
    /// The present file is complete.
    End,
}

/// What takes the contents while an archive is read. The file of the n-th [`Piece::End`] is `files` or `skipped` at the end, by its `index`.
pub(crate) type Sink<'a> = dyn FnMut(Piece<'_>) -> Result<(), Stopped> + 'a;

/// What an archive contains.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The files to import, sorted by path.
    pub(crate) files: Vec<ReadFile>,
    /// What was left out, sorted by path.
    pub(crate) skipped: Vec<SkippedEntry>,
}

/// A file to import.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReadFile {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// Its number among the files that went to the sink, from 0.
    pub(crate) index: usize,
}

/// A file or a folder that is left out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SkippedEntry {
    pub(crate) path: String,
    pub(crate) reason: SkipReason,
    /// Files in it; 1 for a file.
    pub(crate) files: u32,
    pub(crate) bytes: u64,
}

/// Reads an archive to its end. The format is known by the content.
///
/// # Errors
/// Why the archive is refused. What the sink got until then must not be used.
pub(crate) fn read(input: impl Read, limits: Limits, sink: &mut Sink<'_>) -> Result<Contents, ArchiveError> {
    let mut input = Input::new(input, limits.archive_bytes);
    let mut collector = Collector::new(limits, sink);
    let start = input.peek()?;
    if zip::is_zip(start) {
        zip::read(&mut input, &mut collector)?;
    } else if tar::is_gzip(start) {
        tar::read_gzip(input, &mut collector)?;
    } else if tar::is_tar(start) {
        tar::read(&mut input, &mut collector)?;
    } else {
        return Err(ArchiveError::invalid("is neither a zip file nor a tar file"));
    }
    collector.finish()
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
