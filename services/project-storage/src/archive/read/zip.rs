//! Reading zip files as a stream. The headers before the contents are what is read. The directory at the end must agree with them, because
//! other readers use only the directory.

use std::{
    collections::HashMap,
    io::{BufRead, Read},
};

use flate2::{Decompress, FlushDecompress, Status};

use super::{
    collect::{Collector, Kind},
    input::Input,
    path::MAX_RAW_BYTES,
};
use crate::archive::{
    error::ArchiveError,
    zip::{CENTRAL, DEFLATED, END, LOCAL, STORED, UTF8},
};

/// The signature of the sizes after a content. Not all programs write it.
const DESCRIPTOR: u32 = 0x0807_4b50;
/// The signature of the last records of an archive that is larger than the format allows without them.
const END_64: u32 = 0x0606_4b50;
/// The flags of encryption: of the content, strong, and of the directory.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// The flag of sizes after the content.
const SIZES_FOLLOW: u16 = 1 << 3;
/// The extra field with sizes of 64 bits.
const ZIP64_FIELD: u16 = 1;
/// The size that stands for another one in an extra field.
const SEE_ZIP64: u32 = u32::MAX;
/// Unpacked bytes that are handed on together.
const PIECE: usize = 64 * 1024;
/// The systems whose modes an entry may have: Unix and macOS.
const WITH_MODES: [u8; 2] = [3, 19];
const TYPE_MASK: u32 = 0o170_000;
const LINK: u32 = 0o120_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

pub(super) fn is_zip(start: &[u8]) -> bool {
    start.starts_with(&LOCAL.to_le_bytes()) || start.starts_with(&END.to_le_bytes())
}

/// What the header and the directory both say about an entry.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    name: Vec<u8>,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
}

/// An entry that was read.
struct Local {
    facts: Facts,
    is_skipped: bool,
    /// The directory has it.
    is_listed: bool,
}

/// Reads a zip file.
pub(super) fn read<R: Read>(input: &mut Input<R>, collector: &mut Collector<'_>) -> Result<(), ArchiveError> {
    collector.count_input(input.counter());
    let mut reader = Reader { input, collector, inflate: Decompress::new(false), out: vec![0; PIECE], locals: HashMap::new() };
    let mut directory = None;
    let mut listed = 0;
    loop {
        let position = reader.input.position();
        match reader.input.u32()? {
            LOCAL if directory.is_none() => reader.local(position)?,
            CENTRAL => {
                directory.get_or_insert(position);
                listed += 1;
                reader.central()?;
            }
            END => return reader.end(directory.unwrap_or(position), position, listed),
            END_64 => return Err(ArchiveError::invalid("uses zip64, which is not supported")),
            _ => return Err(ArchiveError::invalid("has bytes between its entries that belong to none")),
        }
    }
}

struct Reader<'r, 'c, R> {
    input: &'r mut Input<R>,
    collector: &'r mut Collector<'c>,
    inflate: Decompress,
    out: Vec<u8>,
    /// The entries by the place of their header.
    locals: HashMap<u64, Local>,
}

/// The fields that the header of an entry and the directory have in common, without the name.
struct Fixed {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
    name_length: usize,
    extra_length: usize,
}

impl Fixed {
    /// `bytes` begin with the version that a reader needs.
    fn parse(bytes: &[u8; 26]) -> Self {
        Self {
            flags: u16_at(bytes, 2),
            method: u16_at(bytes, 4),
            crc: u32_at(bytes, 10),
            packed: u32_at(bytes, 14),
            size: u32_at(bytes, 18),
            name_length: u16_at(bytes, 22).into(),
            extra_length: u16_at(bytes, 24).into(),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl<R: Read> Reader<'_, '_, R> {
    /// Reads an entry, whose header begins at `position`.
    fn local(&mut self, position: u64) -> Result<(), ArchiveError> {
        let fixed = Fixed::parse(&self.input.take()?);
        let name = self.name(fixed.name_length)?;
        let extra = self.input.take_vec(fixed.extra_length)?;
        let shown = String::from_utf8_lossy(&name).into_owned();
        check_supported(&fixed).map_err(|error| error.at(&shown))?;
        let is_skipped = self.collector.begin(&name, Kind::File)?;
        let facts = self.content(&fixed, (name, &extra)).map_err(|error| error.at(&shown))?;
        self.collector.end()?;
        self.locals.insert(position, Local { facts, is_skipped, is_listed: false });
        Ok(())
    }

    fn name(&mut self, length: usize) -> Result<Vec<u8>, ArchiveError> {
        if length > MAX_RAW_BYTES {
            return Err(ArchiveError::TooLarge { what: "bytes in a path", limit: MAX_RAW_BYTES as u64, entry: None });
        }
        Ok(self.input.take_vec(length)?)
    }

    /// Reads the content of an entry, and the sizes after it.
    fn content(&mut self, fixed: &Fixed, (name, extra): (Vec<u8>, &[u8])) -> Result<Facts, ArchiveError> {
        let sizes_follow = fixed.flags & SIZES_FOLLOW != 0;
        let known = (!sizes_follow).then_some((u64::from(fixed.packed), u64::from(fixed.size)));
        let (packed, size, crc) = match (fixed.method, known) {
            (DEFLATED, _) => self.inflate(known)?,
            (_, Some((packed, size))) if packed == size => self.stored(size)?,
            (_, Some(_)) => return Err(ArchiveError::invalid("has a stored file with two sizes")),
            // A folder has no content.
            (_, None) if name.ends_with(b"/") => (0, 0, 0),
            (_, None) => return Err(ArchiveError::invalid("stores a file without its size before it, which is not supported")),
        };
        let expected =
            if sizes_follow { self.descriptor(has_zip64_field(extra))? } else { (fixed.crc, fixed.packed.into(), fixed.size.into()) };
        if expected != (crc, packed, size) {
            return Err(ArchiveError::invalid("has a file whose content does not match its header"));
        }
        Ok(Facts { name, flags: fixed.flags, method: fixed.method, crc, packed, size })
    }

    fn stored(&mut self, size: u64) -> Result<(u64, u64, u32), ArchiveError> {
        let (mut left, mut crc) = (size, crc32fast::Hasher::new());
        while left > 0 {
            let bytes = self.input.fill_buf()?;
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if count == 0 {
                return Err(ArchiveError::invalid("ends too early"));
            }
            crc.update(&bytes[..count]);
            self.collector.data(&bytes[..count])?;
            self.input.consume(count);
            left -= count as u64;
        }
        Ok((size, size, crc.finalize()))
    }

    /// Unpacks a content, which ends by itself. Returns the packed and the unpacked size, and the sum of the content.
    fn inflate(&mut self, known: Option<(u64, u64)>) -> Result<(u64, u64, u32), ArchiveError> {
        let damaged = || ArchiveError::invalid("has damaged compressed data");
        let mut crc = crc32fast::Hasher::new();
        self.inflate.reset(false);
        loop {
            let (packed, size) = (self.inflate.total_in(), self.inflate.total_out());
            let bytes = self.input.fill_buf()?;
            let left = known.map_or(u64::MAX, |(packed_size, _)| packed_size.saturating_sub(packed));
            let available = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let status = self.inflate.decompress(&bytes[..available], &mut self.out, FlushDecompress::None).map_err(|_| damaged())?;
            let read = usize::try_from(self.inflate.total_in() - packed).unwrap_or(0);
            let written = usize::try_from(self.inflate.total_out() - size).unwrap_or(0);
            self.input.consume(read);
            if known.is_some_and(|(_, limit)| self.inflate.total_out() > limit) {
                return Err(ArchiveError::invalid("has a file whose content does not match its header"));
            }
            crc.update(&self.out[..written]);
            self.collector.data(&self.out[..written])?;
            if status == Status::StreamEnd {
                return Ok((self.inflate.total_in(), self.inflate.total_out(), crc.finalize()));
            }
            if read == 0 && written == 0 {
                return Err(if available == 0 { ArchiveError::invalid("ends too early") } else { damaged() });
            }
        }
    }

    /// Reads the sizes after a content: sum, packed size, size. `is_wide` says whether sizes have 64 bits.
    fn descriptor(&mut self, is_wide: bool) -> Result<(u32, u64, u64), ArchiveError> {
        let first = self.input.u32()?;
        let crc = if first == DESCRIPTOR { self.input.u32()? } else { first };
        let mut size =
            || -> Result<u64, ArchiveError> { Ok(if is_wide { u64::from_le_bytes(self.input.take()?) } else { self.input.u32()?.into() }) };
        Ok((crc, size()?, size()?))
    }

    /// Reads an entry of the directory, and compares it with the one that was read.
    fn central(&mut self) -> Result<(), ArchiveError> {
        let [_, system] = self.input.take()?;
        let fixed = Fixed::parse(&self.input.take()?);
        let rest = self.input.take::<14>()?;
        let name = self.name(fixed.name_length)?;
        let shown = String::from_utf8_lossy(&name).into_owned();
        self.input.take_vec(fixed.extra_length + usize::from(u16_at(&rest, 0)))?;
        let (mode, offset) = (u32_at(&rest, 6) >> 16, u32_at(&rest, 10));
        let differs = || ArchiveError::invalid("has a directory that differs from its entries").at(&shown);
        let local = self.locals.get_mut(&offset.into()).ok_or_else(differs)?;
        let (packed, size) = (fixed.packed.into(), fixed.size.into());
        let facts = Facts { name, flags: fixed.flags, method: fixed.method, crc: fixed.crc, packed, size };
        if !is_equal(&facts, &local.facts) || std::mem::replace(&mut local.is_listed, true) {
            return Err(differs());
        }
        let kind = if WITH_MODES.contains(&system) { mode & TYPE_MASK } else { 0 };
        match kind {
            0 | REGULAR | FOLDER => Ok(()),
            _ if local.is_skipped => Ok(()),
            LINK => Err(ArchiveError::entry(&shown, "is a symbolic link")),
            _ => Err(ArchiveError::entry(&shown, "is a device or another special file")),
        }
    }

    /// Reads the last record. The directory began at `start` and ended at `end`.
    fn end(&mut self, start: u64, end: u64, listed: usize) -> Result<(), ArchiveError> {
        let record = self.input.take::<18>()?;
        let counts = [u16_at(&record, 4), u16_at(&record, 6)];
        let (size, offset) = (u32_at(&record, 8), u32_at(&record, 12));
        let matches = (u16_at(&record, 0), u16_at(&record, 2)) == (0, 0)
            && counts.iter().all(|count| usize::from(*count) == listed)
            && (u64::from(offset), u64::from(size)) == (start, end - start)
            && listed == self.locals.len();
        if !matches {
            return Err(ArchiveError::invalid("has a directory that differs from its entries"));
        }
        self.input.take_vec(u16_at(&record, 16).into())?;
        if self.input.fill_buf()?.is_empty() { Ok(()) } else { Err(ArchiveError::invalid("has bytes after its end")) }
    }
}

fn check_supported(fixed: &Fixed) -> Result<(), ArchiveError> {
    if fixed.flags & ENCRYPTED != 0 {
        return Err(ArchiveError::invalid("is encrypted, which is not supported"));
    }
    if ![STORED, DEFLATED].contains(&fixed.method) {
        return Err(ArchiveError::invalid(format!("uses the compression method {}, which is not supported", fixed.method)));
    }
    if fixed.flags & SIZES_FOLLOW == 0 && (fixed.packed == SEE_ZIP64 || fixed.size == SEE_ZIP64) {
        return Err(ArchiveError::invalid("uses zip64, which is not supported"));
    }
    Ok(())
}

/// Whether the extra fields have one of zip64.
fn has_zip64_field(mut extra: &[u8]) -> bool {
    while let [a, b, c, d, rest @ ..] = extra {
        if u16::from_le_bytes([*a, *b]) == ZIP64_FIELD {
            return true;
        }
        extra = rest.get(usize::from(u16::from_le_bytes([*c, *d]))..).unwrap_or_default();
    }
    false
}

/// Whether the directory agrees with an entry. Flags for how it was compressed may differ.
fn is_equal(central: &Facts, local: &Facts) -> bool {
    const OF_READERS: u16 = ENCRYPTED | UTF8;
    let flags = |facts: &Facts| facts.flags & OF_READERS;
    flags(central) == flags(local)
        && (&central.name, central.method, central.crc) == (&local.name, local.method, local.crc)
        && (central.packed, central.size) == (local.packed, local.size)
}
