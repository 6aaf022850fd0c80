//! A frame is the length of a message in four bytes, most significant first, and then the message, encoded as protobuf.

use std::io::{self, Read, Write};

use bytes::Bytes;
use prost::Message;

/// The most bytes of a request.
pub const MAX_REQUEST: usize = 96 << 20;
/// The most bytes of an answer.
pub const MAX_ANSWER: usize = 96 << 20;

/// The four bytes before a message of this length.
///
/// # Errors
/// If the message is longer than `limit`.
pub fn header(length: usize, limit: usize) -> io::Result<[u8; 4]> {
    let fits = u32::try_from(length).ok().filter(|_| length <= limit);
    fits.map(u32::to_be_bytes).ok_or_else(|| too_long(length, limit))
}

/// The length that the four bytes before a message name.
///
/// # Errors
/// If it is more than `limit`.
pub fn length(header: [u8; 4], limit: usize) -> io::Result<usize> {
    let length = u32::from_be_bytes(header) as usize;
    if length > limit { Err(too_long(length, limit)) } else { Ok(length) }
}

/// Reads one frame.
///
/// # Errors
/// If the input ends early, or names more than `limit` bytes.
pub fn read(input: &mut impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut header = [0; 4];
    input.read_exact(&mut header)?;
    let length = length(header, limit)?;
    let mut message = Vec::with_capacity(length);
    input.take(length as u64).read_to_end(&mut message)?;
    if message.len() == length { Ok(message) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Reads one frame as a message.
///
/// # Errors
/// As [`read`], or if the bytes are no such message.
pub fn read_message<M: Message + Default>(input: &mut impl Read, limit: usize) -> io::Result<M> {
    M::decode(Bytes::from(read(input, limit)?)).map_err(io::Error::other)
}

/// Writes one frame.
///
/// # Errors
/// If the message is longer than `limit`, or the output refuses bytes.
pub fn write(output: &mut impl Write, message: &[u8], limit: usize) -> io::Result<()> {
    output.write_all(&header(message.len(), limit)?)?;
    output.write_all(message)?;
    output.flush()
}

fn too_long(length: usize, limit: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes, more than {limit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_back_and_bounded() {
        let mut bytes = Vec::new();
        write(&mut bytes, b"message", 7).expect("a frame");
        assert_eq!(read(&mut bytes.as_slice(), 7).expect("the message"), b"message");
        assert!(write(&mut Vec::new(), b"message", 6).is_err());
        assert!(read(&mut bytes.as_slice(), 6).is_err());
        assert_eq!(read_message::<u32>(&mut &[0_u8, 0, 0, 2, 8, 7][..], 7).expect("the message"), 7);
        assert!(read_message::<u32>(&mut &[0_u8, 0, 0, 1, 8][..], 7).is_err());
        for end in 0..bytes.len() {
            assert!(read(&mut &bytes[..end], 7).is_err(), "{end} bytes are no frame");
        }
    }
}
