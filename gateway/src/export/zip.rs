//! Writing a zip file whose contents come piece by piece: the sizes of an entry follow its content (APPNOTE.TXT of PKWARE, data descriptor).
//! Large archives have the 64-bit records for positions. One entry has less than 4 GiB.

use std::io::Write as _;

use flate2::{Compression, write::DeflateEncoder};

const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
const END: u32 = 0x0605_4b50;
/// Sizes follow the content, and the name is in UTF-8.
const FLAGS: u16 = 1 << 3 | 1 << 11;
const DEFLATED: u16 = 8;
/// The versions of the format that a reader needs: 2.0, and 4.5 for 64 bits.
const VERSION: u16 = 20;
const VERSION_64: u16 = 45;
/// The system whose modes the entries have: Unix.
const UNIX: u16 = 3 << 8;
/// A regular file that only its owner may read and write.
const MODE: u32 = 0o100_600;
/// 1980-01-01, the first day of the format.
const DATE: u16 = 1 << 5 | 1;

/// An entry has 4 GiB or more, or one byte less, which stands for a size of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge;

/// A zip file while it is written to memory.
#[derive(Default)]
pub(super) struct Zip {
    out: Vec<u8>,
    /// Bytes that were taken from `out`.
    taken: u64,
    entries: Vec<Entry>,
    open: Option<Open>,
}

/// An entry of the directory at the end.
struct Entry {
    path: String,
    crc: u32,
    compressed: u32,
    size: u32,
    offset: u64,
}

/// The entry whose content is written.
struct Open {
    path: String,
    offset: u64,
    crc: crc32fast::Hasher,
    size: u64,
    compressed: u64,
    encoder: DeflateEncoder<Vec<u8>>,
}

impl Zip {
    /// Begins an entry. The one before must have ended.
    pub(super) fn begin(&mut self, path: &str) {
        let offset = self.offset();
        put32(&mut self.out, LOCAL);
        put_common(&mut self.out, VERSION, [0; 3], (path, 0));
        self.out.extend_from_slice(path.as_bytes());
        let encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
        self.open = Some(Open { path: path.to_owned(), offset, crc: crc32fast::Hasher::new(), size: 0, compressed: 0, encoder });
    }

    /// Adds content to the open entry.
    pub(super) fn write(&mut self, content: &[u8]) {
        let Some(open) = &mut self.open else { return };
        open.crc.update(content);
        open.size += content.len() as u64;
        // Memory accepts writes.
        let _ = open.encoder.write_all(content);
        let compressed = std::mem::take(open.encoder.get_mut());
        open.compressed += compressed.len() as u64;
        self.out.extend_from_slice(&compressed);
    }

    /// Ends the open entry.
    pub(super) fn end(&mut self) -> Result<(), TooLarge> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let rest = open.encoder.finish().unwrap_or_default();
        self.out.extend_from_slice(&rest);
        let number = |bytes: u64| u32::try_from(bytes).ok().filter(|bytes| *bytes < u32::MAX).ok_or(TooLarge);
        let (size, compressed) = (number(open.size)?, number(open.compressed + rest.len() as u64)?);
        let entry = Entry { path: open.path, crc: open.crc.finalize(), compressed, size, offset: open.offset };
        for value in [DESCRIPTOR, entry.crc, entry.compressed, entry.size] {
            put32(&mut self.out, value);
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Writes the end of the archive. No entry can be added after it.
    pub(super) fn finish(&mut self) {
        let (start, entries) = (self.offset(), std::mem::take(&mut self.entries));
        entries.iter().for_each(|entry| put_central(&mut self.out, entry));
        let (count, end) = (entries.len() as u64, self.offset());
        let size = end - start;
        if count >= u64::from(u16::MAX) || start >= u64::from(u32::MAX) || size >= u64::from(u32::MAX) {
            put_end_64(&mut self.out, count, (start, size), end);
        }
        put32(&mut self.out, END);
        put16(&mut self.out, &[0, 0, short(count), short(count)]);
        put32(&mut self.out, word(size));
        put32(&mut self.out, word(start));
        put16(&mut self.out, &[0]);
    }

    /// The bytes that were written since the last call.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.taken += self.out.len() as u64;
        std::mem::take(&mut self.out)
    }

    /// Bytes that wait to be taken.
    pub(super) fn waiting(&self) -> usize {
        self.out.len()
    }

    fn offset(&self) -> u64 {
        self.taken + self.out.len() as u64
    }
}

/// The entry of the directory. A position beyond 32 bits is in an extra field.
fn put_central(out: &mut Vec<u8>, entry: &Entry) {
    let is_far = entry.offset >= u64::from(u32::MAX);
    put32(out, CENTRAL);
    put16(out, &[UNIX | VERSION]);
    let extra = if is_far { 12 } else { 0 };
    let version = if is_far { VERSION_64 } else { VERSION };
    put_common(out, version, [entry.crc, entry.compressed, entry.size], (&entry.path, extra));
    // No comment, disk 0, no internal attributes.
    put16(out, &[0, 0, 0]);
    put32(out, MODE << 16);
    put32(out, word(entry.offset));
    out.extend_from_slice(entry.path.as_bytes());
    if is_far {
        put16(out, &[1, 8]);
        out.extend_from_slice(&entry.offset.to_le_bytes());
    }
}

/// The fields that the header of a file and the entry of the directory have in common. `extra` is the size of the field after the path.
fn put_common(out: &mut Vec<u8>, version: u16, numbers: [u32; 3], (path, extra): (&str, u16)) {
    put16(out, &[version, FLAGS, DEFLATED, 0, DATE]);
    numbers.into_iter().for_each(|number| put32(out, number));
    put16(out, &[short(path.len() as u64), extra]);
}

/// The last record for archives beyond the numbers of the short one, and where it is.
fn put_end_64(out: &mut Vec<u8>, count: u64, (start, size): (u64, u64), end: u64) {
    put32(out, END_64);
    // The size of the rest of the record.
    out.extend_from_slice(&44_u64.to_le_bytes());
    put16(out, &[UNIX | VERSION_64, VERSION_64]);
    put32(out, 0);
    put32(out, 0);
    for number in [count, count, size, start] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    put32(out, LOCATOR_64);
    put32(out, 0);
    out.extend_from_slice(&end.to_le_bytes());
    put32(out, 1);
}

/// A number of a short field; all bits are set if it does not fit.
fn short(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn word(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn put16(out: &mut Vec<u8>, values: &[u16]) {
    values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn archive(files: &[(&str, &[&[u8]])]) -> Vec<u8> {
        let (mut zip, mut out) = (Zip::default(), Vec::new());
        for (path, pieces) in files {
            zip.begin(path);
            for piece in *pieces {
                zip.write(piece);
                out.extend(zip.take());
            }
            zip.end().expect("small");
        }
        zip.finish();
        out.extend(zip.take());
        out
    }

    /// An independent reader finds what was written.
    #[test]
    fn unzip_finds_every_file() {
        let noise: Vec<u8> = (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let pieces: Vec<&[u8]> = noise.chunks(1000).collect();
        let bytes = archive(&[("account.json", &[b"{}"]), ("empty", &[]), ("projects/1/noise", &pieces), ("é.txt", &[b"a", b"", b"b"])]);
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("export.zip");
        std::fs::write(&path, &bytes).expect("written");
        let output = Command::new("unzip").arg("-q").arg(&path).arg("-d").arg(folder.path()).output().expect("unzip");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for (name, content) in [("account.json", b"{}".as_slice()), ("empty", b""), ("projects/1/noise", &noise), ("é.txt", b"ab")] {
            assert!(std::fs::read(folder.path().join(name)).expect(name) == content, "{name}");
        }
    }

    #[test]
    fn a_position_beyond_four_gigabytes_has_64_bits() {
        let far = 5 << 30;
        let (mut zip, mut out) = (Zip { taken: far, ..Zip::default() }, Vec::new());
        zip.begin("a");
        zip.write(b"a");
        zip.end().expect("small");
        zip.finish();
        out.extend(zip.take());
        let has = |bytes: &[u8]| out.windows(bytes.len()).any(|window| window == bytes);
        assert!(has(&[[1, 0, 8, 0].as_slice(), &far.to_le_bytes()].concat()), "the extra field of the entry");
        assert!(has(&END_64.to_le_bytes()) && has(&LOCATOR_64.to_le_bytes()));
        assert!(out.ends_with(&[255, 255, 255, 255, 0, 0]), "the short record points to the long one");
    }

    #[test]
    fn an_entry_is_below_the_number_that_stands_for_64_bits() {
        let ended = |size: u64, compressed: u64| {
            let mut zip = Zip::default();
            zip.begin("a");
            let open = zip.open.as_mut().expect("an entry");
            (open.size, open.compressed) = (size, compressed);
            zip.end()
        };
        let limit = u64::from(u32::MAX);
        assert_eq!(ended(limit - 1, 0), Ok(()));
        for (size, compressed) in [(limit, 0), (limit + 1, 0), (0, limit), (0, limit + 1)] {
            assert_eq!(ended(size, compressed), Err(TooLarge), "{size}, {compressed}");
        }
    }

    #[test]
    fn a_small_archive_has_no_64_bit_records() {
        let out = archive(&[("a", &[b"a"])]);
        assert!(!out.windows(4).any(|window| window == END_64.to_le_bytes()));
        assert_eq!(&out[out.len() - 22..][..4], END.to_le_bytes());
    }
}
