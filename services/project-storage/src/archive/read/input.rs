//! The bytes of an archive, counted and bounded.

use std::{
    cell::Cell,
    io::{self, BufRead, Read},
    rc::Rc,
};

use crate::archive::error::InputTooLong;

/// The size of the buffer. A tar header fits, so that the format can be seen in the first part.
const BUFFER: usize = 64 * 1024;
/// The bytes from which the format is known: one block of a tar file.
pub(super) const BLOCK: usize = 512;

/// A buffered reader that counts what was consumed.
pub(super) struct Input<R> {
    inner: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    consumed: Rc<Cell<u64>>,
    /// Bytes that may still be read.
    left: u64,
    limit: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn new(inner: R, limit: u64) -> Self {
        Self { inner, buffer: vec![0; BUFFER].into(), start: 0, end: 0, consumed: Rc::default(), left: limit, limit }
    }

    /// The bytes that were consumed so far, also while the input is borrowed.
    pub(super) fn counter(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.consumed)
    }

    pub(super) fn position(&self) -> u64 {
        self.consumed.get()
    }

    /// The first block, or all bytes if there are fewer. It is not consumed.
    pub(super) fn peek(&mut self) -> io::Result<&[u8]> {
        while self.end < BLOCK {
            let read = self.read_more()?;
            if read == 0 {
                break;
            }
        }
        Ok(&self.buffer[..self.end.min(BLOCK)])
    }

    /// Adds bytes at the end of the buffer. Returns how many.
    fn read_more(&mut self) -> io::Result<usize> {
        let read = loop {
            match self.inner.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other(InputTooLong(self.limit)))?;
        self.end += read;
        Ok(read)
    }

    /// The next bytes, exactly so many.
    pub(super) fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn take_vec(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> io::Result<u32> {
        self.take().map(u32::from_le_bytes)
    }
}

impl<R: Read> BufRead for Input<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.read_more()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, amount: usize) {
        self.start += amount;
        self.consumed.set(self.consumed.get() + amount as u64);
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(out.len());
        out[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}
