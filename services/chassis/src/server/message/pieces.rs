//! A byte buffer of fixed-size pieces.

use std::{collections::VecDeque, io};

use bytes::{Buf, Bytes, BytesMut};

const PIECE: usize = 64 * 1024;

/// Collects small parts in pieces of [`PIECE`] bytes. The parts are copied, because each one would keep alive the buffer that it was
/// read into. Each piece is freed after it was taken.
#[derive(Clone, Default)]
pub(super) struct Pieces {
    full: VecDeque<Bytes>,
    last: BytesMut,
    bytes: usize,
    most: usize,
}

impl Pieces {
    /// A buffer for at most `most` bytes. Writing more fails with [`io::ErrorKind::FileTooLarge`].
    pub(super) fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    pub(super) fn take_first(&mut self) -> Option<Bytes> {
        let first = self.full.pop_front().unwrap_or_else(|| std::mem::take(&mut self.last).freeze());
        self.bytes -= first.len();
        (!first.is_empty()).then_some(first)
    }
}

impl io::Write for Pieces {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.len() > self.most - self.bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let taken = data.len().min(PIECE - self.last.len());
        self.last.extend_from_slice(&data[..taken]);
        self.bytes += taken;
        if self.last.len() == PIECE {
            self.full.push_back(std::mem::take(&mut self.last).freeze());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.full.front().map_or(&self.last, |first| first)
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let Some(first) = self.full.front_mut() else {
                self.last.advance(count);
                self.bytes -= count;
                return;
            };
            let taken = count.min(first.len());
            first.advance(taken);
            self.bytes -= taken;
            count -= taken;
            if self.full.front().is_some_and(Bytes::is_empty) {
                self.full.pop_front();
            }
        }
    }
}
