//! Reading tar files, plain or packed with gzip.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use tar::{EntryType, Header, PaxExtensions};

use super::{
    collect::{Collector, Kind},
    input::{BLOCK, Input},
};
use crate::archive::error::ArchiveError;

/// Bytes of a record with a long name or with attributes.
const MAX_RECORD: u64 = 64 * 1024;
/// Attributes of a record for all entries that would change what the entries are.
const OF_ENTRIES: [&str; 3] = ["path", "linkpath", "size"];

pub(super) fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(&[0x1f, 0x8b])
}

/// Whether it begins with the header of an entry. A sum of its bytes is in it.
pub(super) fn is_tar(start: &[u8]) -> bool {
    <&[u8; BLOCK]>::try_from(start).is_ok_and(has_sum)
}

fn has_sum(block: &[u8; BLOCK]) -> bool {
    let header = Header::from_byte_slice(block);
    // The eight bytes of the sum count as blanks.
    let sum = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
    header.cksum().is_ok_and(|expected| expected == sum)
}

/// Reads a gzip file with a tar file in it. It may have several members.
pub(super) fn read_gzip<R: Read>(input: Input<R>, collector: &mut Collector<'_>) -> Result<(), ArchiveError> {
    let packed = input.counter();
    collector.count_input(packed);
    // What is unpacked has a limit of its own.
    let mut unpacked = Input::new(MultiGzDecoder::new(input), u64::MAX);
    if !is_tar(unpacked.peek()?) {
        return Err(ArchiveError::invalid("is a gzip file without a tar file in it"));
    }
    entries(&mut unpacked, collector)
}

/// Reads a plain tar file.
pub(super) fn read<R: Read>(input: &mut Input<R>, collector: &mut Collector<'_>) -> Result<(), ArchiveError> {
    collector.count_input(input.counter());
    entries(input, collector)
}

/// What the records before an entry say about it.
#[derive(Default)]
struct Attributes {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    is_sparse: bool,
    /// There was a record, so an entry must follow.
    is_open: bool,
}

fn entries<R: Read>(input: &mut Input<R>, collector: &mut Collector<'_>) -> Result<(), ArchiveError> {
    let mut attributes = Attributes::default();
    loop {
        let block = input.take::<BLOCK>()?;
        collector.count(BLOCK as u64)?;
        if block.iter().all(|byte| *byte == 0) {
            return if attributes.is_open { Err(ArchiveError::invalid("ends too early")) } else { end(input, collector) };
        }
        if !has_sum(&block) {
            return Err(ArchiveError::invalid("has a damaged header"));
        }
        let header = Header::from_byte_slice(&block);
        let size = header.entry_size().map_err(|_| ArchiveError::invalid("has a header without a size"))?;
        match header.entry_type() {
            EntryType::XHeader => attributes.add_pax(&record(input, collector, size)?)?,
            EntryType::GNULongName => attributes.set_path(long_name(record(input, collector, size)?))?,
            EntryType::GNULongLink => drop(record(input, collector, size)?),
            EntryType::XGlobalHeader => check_global(&record(input, collector, size)?)?,
            kind => entry(input, collector, (header, kind, size), std::mem::take(&mut attributes))?,
        }
    }
}

/// Reads the content of a record with its padding. It is unpacked as the content of an entry is.
fn record<R: Read>(input: &mut Input<R>, collector: &mut Collector<'_>, size: u64) -> Result<Vec<u8>, ArchiveError> {
    if size > MAX_RECORD {
        return Err(ArchiveError::TooLarge { what: "bytes in a record of attributes", limit: MAX_RECORD, entry: None });
    }
    collector.count(size.next_multiple_of(BLOCK as u64))?;
    let bytes = input.take_vec(usize::try_from(size).unwrap_or(usize::MAX))?;
    skip_padding(input, size)?;
    Ok(bytes)
}

fn skip_padding<R: Read>(input: &mut Input<R>, size: u64) -> io::Result<()> {
    let padding = usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or(0);
    input.take_vec(padding).map(drop)
}

/// A name of GNU tar, which ends with a zero byte.
fn long_name(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

fn damaged_record() -> ArchiveError {
    ArchiveError::invalid("has a damaged record of attributes")
}

impl Attributes {
    fn set_path(&mut self, path: Vec<u8>) -> Result<(), ArchiveError> {
        self.is_open = true;
        // Readers differ in which of two names counts.
        if self.path.replace(path).is_some() {
            return Err(ArchiveError::invalid("has two long names for one entry"));
        }
        Ok(())
    }

    fn add_pax(&mut self, record: &[u8]) -> Result<(), ArchiveError> {
        self.is_open = true;
        for extension in PaxExtensions::new(record) {
            let extension = extension.map_err(|_| damaged_record())?;
            match extension.key().map_err(|_| damaged_record())? {
                "path" => self.set_path(extension.value_bytes().to_vec())?,
                "size" => {
                    let size = extension.value().ok().and_then(|value| value.parse().ok()).ok_or_else(damaged_record)?;
                    self.size = Some(size);
                }
                key if key.starts_with("GNU.sparse.") => self.is_sparse = true,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Checks a record for all entries, as `git archive` writes it.
fn check_global(record: &[u8]) -> Result<(), ArchiveError> {
    for extension in PaxExtensions::new(record) {
        let extension = extension.map_err(|_| damaged_record())?;
        let key = extension.key().map_err(|_| damaged_record())?;
        if OF_ENTRIES.contains(&key) || key.starts_with("GNU.sparse.") {
            return Err(ArchiveError::invalid(format!("sets {key} for all entries, which is not supported")));
        }
    }
    Ok(())
}

fn entry<R: Read>(
    input: &mut Input<R>,
    collector: &mut Collector<'_>,
    (header, kind, size): (&Header, EntryType, u64),
    attributes: Attributes,
) -> Result<(), ArchiveError> {
    let path = attributes.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let name = || String::from_utf8_lossy(&path).into_owned();
    if attributes.size.is_some_and(|other| other != size) {
        return Err(ArchiveError::invalid("has two sizes for an entry").at(&name()));
    }
    let kind = if attributes.is_sparse { Kind::Other("is sparse, which is not supported") } else { kind_of(kind) };
    collector.begin(&path, kind)?;
    // Links have no content, whatever their size is.
    let mut left = if matches!(header.entry_type(), EntryType::Link | EntryType::Symlink) { 0 } else { size };
    let size = left;
    while left > 0 {
        let bytes = input.fill_buf()?;
        let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if count == 0 {
            return Err(ArchiveError::invalid("ends too early").at(&name()));
        }
        collector.data(&bytes[..count])?;
        input.consume(count);
        left -= count as u64;
    }
    skip_padding(input, size)?;
    collector.end()
}

fn kind_of(kind: EntryType) -> Kind {
    match kind {
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink => Kind::Other("is a symbolic link"),
        EntryType::Link => Kind::Other("is a hard link"),
        EntryType::Char | EntryType::Block => Kind::Other("is a device"),
        EntryType::Fifo => Kind::Other("is a named pipe"),
        EntryType::GNUSparse => Kind::Other("is sparse, which is not supported"),
        _ => Kind::Other("has an unknown type"),
    }
}

/// Reads the rest after the first block of zeros. Other bytes could be another archive, which some readers would read.
fn end<R: Read>(input: &mut Input<R>, collector: &mut Collector<'_>) -> Result<(), ArchiveError> {
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(ArchiveError::invalid("has bytes after its end"));
        }
        let count = bytes.len();
        input.consume(count);
        collector.count(count as u64)?;
    }
}
