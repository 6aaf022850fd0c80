//! Checks a tarball and reads its files into memory. Nothing of it is run.
//!
//! - [`unpack`]: the files. `path`: their names. `native`: whether the package needs compiled code.

mod native;
mod path;

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry};

pub use self::native::inspect;
use crate::{
    error::{Error, shown},
    integrity::Integrity,
    limits::Limits,
};

/// Files by their path in the package, with `/` between folders.
pub type Files = BTreeMap<String, Bytes>;

/// What a package may have without regard to its size.
const FREE_BYTES: u64 = 1 << 20;
/// Memory that is reserved for a file before its bytes are there.
const RESERVED_BYTES: u64 = 64 << 10;

/// Reads the files of a tarball whose bytes have the hash. The top folder is dropped, whatever its name. As npm does, links and devices are
/// left out, and of two files with one path the second one counts. `package` is for errors.
///
/// # Errors
/// The hash is missing or another one, the tarball is damaged or exceeds a limit, or a path is absolute, climbs, or is no text.
pub fn unpack(package: &str, tarball: &[u8], integrity: Option<&Integrity>, limits: &Limits) -> Result<Files, Error> {
    let package = &shown(package);
    if tarball.len() > limits.packed_bytes {
        return Err(Error::too_large(&format!("the tarball of {package}"), limits.packed_bytes as u64, "bytes"));
    }
    if !required(package, integrity)?.matches(tarball) {
        let problem = "the tarball does not have the hash that was published".to_owned();
        return Err(Error::Integrity { package: package.clone(), problem });
    }
    let limit = limits.unpacked_bytes.min(FREE_BYTES.saturating_add(limits.ratio.saturating_mul(tarball.len() as u64)));
    let mut archive = Archive::new(Limited { inner: MultiGzDecoder::new(tarball), left: limit });
    let mut reading = Reading { package, limits, limit, files: Files::new() };
    let entries = archive.entries().map_err(|error| reading.damaged(None, &error))?;
    for (at, entry) in entries.enumerate() {
        if at == limits.entries {
            return Err(Error::too_large(&format!("the tarball of {package}"), limits.entries as u64, "entries"));
        }
        let entry = entry.map_err(|error| reading.damaged(None, &error))?;
        reading.read(entry)?;
    }
    Ok(reading.files)
}

/// The hash of a tarball, which every package must have. `package` is for errors.
pub(crate) fn required<'i>(package: &str, integrity: Option<&'i Integrity>) -> Result<&'i Integrity, Error> {
    let problem = || "neither the registry nor the lock file has a hash of the tarball".to_owned();
    integrity.ok_or_else(|| Error::Integrity { package: shown(package), problem: problem() })
}

struct Reading<'a> {
    package: &'a str,
    limits: &'a Limits,
    /// The most bytes of the unpacked tarball.
    limit: u64,
    files: Files,
}

impl Reading<'_> {
    fn read(&mut self, mut entry: Entry<'_, impl Read>) -> Result<(), Error> {
        if !matches!(entry.header().entry_type(), tar::EntryType::Regular | tar::EntryType::Continuous) {
            return Ok(());
        }
        let raw = entry.path_bytes().into_owned();
        let path = path::normalised(&raw, self.limits).map_err(|problem| self.wrong(&String::from_utf8_lossy(&raw), problem))?;
        let Some(path) = path else { return Ok(()) };
        let mut bytes = Vec::with_capacity(entry.size().min(RESERVED_BYTES) as usize);
        entry.read_to_end(&mut bytes).map_err(|error| self.damaged(Some(&path), &error))?;
        if bytes.len() as u64 != entry.size() {
            return Err(self.wrong(&path, "ends too early"));
        }
        self.files.insert(path, Bytes::from(bytes));
        Ok(())
    }

    fn wrong(&self, entry: &str, problem: &str) -> Error {
        Error::Archive { package: self.package.to_owned(), entry: Some(shown(entry)), problem: problem.to_owned() }
    }

    fn damaged(&self, entry: Option<&str>, error: &io::Error) -> Error {
        if is_too_long(error) {
            return Error::too_large(&format!("the unpacked tarball of {}", self.package), self.limit, "bytes");
        }
        Error::Archive { package: self.package.to_owned(), entry: entry.map(shown), problem: "is damaged".to_owned() }
    }
}

/// The error of an input with more bytes than allowed.
#[derive(Debug, thiserror::Error)]
#[error("too long")]
struct TooLong;

fn is_too_long(error: &io::Error) -> bool {
    let mut cause = error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
    while let Some(inner) = cause {
        if inner.is::<TooLong>() {
            return true;
        }
        cause = match inner.downcast_ref::<io::Error>() {
            Some(wrapped) => wrapped.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static)),
            None => inner.source(),
        };
    }
    false
}

/// An input of which at most so many bytes are read.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| io::Error::other(TooLong))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
