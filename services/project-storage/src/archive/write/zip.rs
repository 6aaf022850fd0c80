//! Writing zip files. The size of each file is in its header, before the content, so that readers of streams can read them, too.

use flate2::{Compress, Compression, FlushCompress, Status};

use super::LEVEL;
use crate::archive::zip::{CENTRAL, DEFLATED, END, LOCAL, STORED, UTF8};

/// The version of the format that a reader needs: 2.0.
const VERSION: u16 = 20;
/// The system whose modes the entries have: Unix.
const UNIX: u16 = 3 << 8;
/// A regular file that its owner may write and all may read.
const MODE: u32 = 0o100_644;
/// 1980-01-01, the first day of the format.
const DATE: u16 = 1 << 5 | 1;
const TIME: u16 = 0;

/// A zip file while it is written.
pub(crate) struct ZipWriter {
    out: Vec<u8>,
    /// Bytes that were taken from `out`.
    taken: usize,
    entries: Vec<Entry>,
    deflate: Compress,
}

/// An entry of the directory at the end.
struct Entry {
    path: String,
    method: u16,
    crc: u32,
    compressed: u32,
    size: u32,
    offset: u32,
}

impl Entry {
    /// The fields that the header of the file and the entry of the directory have in common.
    fn put_common(&self, out: &mut Vec<u8>) {
        put16(out, &[VERSION, UTF8, self.method, TIME, DATE]);
        put32(out, &[self.crc, self.compressed, self.size]);
        // No extra fields.
        put16(out, &[number(self.path.len()), 0]);
    }
}

impl ZipWriter {
    pub(super) fn new() -> Self {
        Self { out: Vec::new(), taken: 0, entries: Vec::new(), deflate: Compress::new(Compression::new(LEVEL), false) }
    }

    pub(super) fn add(&mut self, path: String, content: &[u8]) {
        let deflated = deflate(&mut self.deflate, content);
        let (method, data) = if deflated.len() < content.len() { (DEFLATED, deflated.as_slice()) } else { (STORED, content) };
        let (compressed, size) = (number(data.len()), number(content.len()));
        let entry = Entry { path, method, crc: crc32fast::hash(content), compressed, size, offset: self.offset() };
        put32(&mut self.out, &[LOCAL]);
        entry.put_common(&mut self.out);
        self.out.extend_from_slice(entry.path.as_bytes());
        self.out.extend_from_slice(data);
        self.entries.push(entry);
    }

    pub(super) fn finish(&mut self) {
        let (start, count) = (self.offset(), number(self.entries.len()));
        for entry in std::mem::take(&mut self.entries) {
            put32(&mut self.out, &[CENTRAL]);
            put16(&mut self.out, &[UNIX | VERSION]);
            entry.put_common(&mut self.out);
            // No comment, disk 0, no internal attributes.
            put16(&mut self.out, &[0, 0, 0]);
            put32(&mut self.out, &[MODE << 16, entry.offset]);
            self.out.extend_from_slice(entry.path.as_bytes());
        }
        let size = self.offset() - start;
        put32(&mut self.out, &[END]);
        put16(&mut self.out, &[0, 0, count, count]);
        put32(&mut self.out, &[size, start]);
        put16(&mut self.out, &[0]);
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        self.taken += self.out.len();
        std::mem::take(&mut self.out)
    }

    fn offset(&self) -> u32 {
        number(self.taken + self.out.len())
    }
}

/// A number of the format. The limits of projects keep all numbers of an archive far below those of the format.
fn number<T: TryFrom<usize>>(value: usize) -> T {
    T::try_from(value).ok().expect("a project fits into a zip file without zip64")
}

fn put16(out: &mut Vec<u8>, values: &[u16]) {
    values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

fn put32(out: &mut Vec<u8>, values: &[u32]) {
    values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

fn deflate(compress: &mut Compress, content: &[u8]) -> Vec<u8> {
    compress.reset();
    let mut out = Vec::with_capacity(content.len() / 2 + 64);
    loop {
        let read = usize::try_from(compress.total_in()).unwrap_or(usize::MAX).min(content.len());
        let status = compress.compress_vec(&content[read..], &mut out, FlushCompress::Finish).expect("writes to memory do not fail");
        if status == Status::StreamEnd {
            return out;
        }
        out.reserve(out.capacity().max(64));
    }
}
