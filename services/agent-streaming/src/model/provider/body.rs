//! Decodes the body of a response into events: an event stream, or JSON documents of a server that does not stream. The content type is
//! ignored, because many servers send a wrong one. The bytes may be split anywhere.

use std::io::Write as _;

use flate2::write::GzDecoder;
use serde_json::Value;

use super::sse::{self, Event, TooLong};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// How many compressed bytes are decompressed at once.
const COMPRESSED_CHUNK_BYTES: usize = 4 * 1024;
/// How much of a body without any event is kept for the error message.
const MAX_HEAD_BYTES: usize = 2_000;
/// The largest decompressed size of one chunk of the response, which is kept in memory until its events are read.
const MAX_DECOMPRESSED_BYTES: usize = 8 * 1024 * 1024;
/// The largest JSON document.
const MAX_DOCUMENT_BYTES: usize = 8 * 1024 * 1024;
/// The beginnings of the lines of an event stream, except comments.
const FIELDS: [&str; 4] = ["data:", "event:", "id:", "retry:"];
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Why a body is not an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BadBody {
    TooLong,
    /// The body ended inside an event or a document.
    Incomplete,
    /// The body is neither an event stream nor JSON. Holds its beginning.
    Unrecognized(String),
}

impl From<TooLong> for BadBody {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

/// Decodes bytes into events.
#[derive(Debug, Default)]
pub(super) struct BodyDecoder {
    compression: Compression,
    text: TextDecoder,
    /// The decompressed bytes since the last call of [`Self::take_decompressed`].
    decompressed: usize,
}

/// The compression of the body, detected by its first bytes, because some servers send a wrong header.
#[derive(Debug, Default)]
enum Compression {
    #[default]
    Unknown,
    /// Only the first byte of gzip's magic number has come.
    PartialMagic,
    Plain,
    Gzip(Box<GzDecoder<Vec<u8>>>),
}

impl BodyDecoder {
    /// Takes the next bytes and appends the events that they complete.
    pub(super) fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), BadBody> {
        if matches!(self.compression, Compression::PartialMagic) {
            self.compression = Compression::Unknown;
            return self.push(&[&GZIP_MAGIC[..1], bytes].concat(), events);
        }
        if matches!(self.compression, Compression::Unknown) && !bytes.is_empty() {
            self.compression = if bytes.starts_with(&GZIP_MAGIC) {
                Compression::Gzip(Box::new(GzDecoder::new(Vec::new())))
            } else if bytes == &GZIP_MAGIC[..1] {
                Compression::PartialMagic
            } else {
                Compression::Plain
            };
        }
        match &mut self.compression {
            Compression::Unknown | Compression::PartialMagic => Ok(()),
            Compression::Plain => self.text.push(bytes, events),
            Compression::Gzip(decoder) => {
                // Small chunks limit the memory: compressed data may expand a thousand times.
                let mut decompressed = 0;
                for chunk in bytes.chunks(COMPRESSED_CHUNK_BYTES) {
                    decoder.write_all(chunk).and_then(|()| decoder.flush()).map_err(|_| BadBody::Incomplete)?;
                    let text = std::mem::take(decoder.get_mut());
                    decompressed += text.len();
                    if decompressed > MAX_DECOMPRESSED_BYTES {
                        return Err(BadBody::TooLong);
                    }
                    self.text.push(&text, events)?;
                }
                self.decompressed += decompressed;
                Ok(())
            }
        }
    }

    /// The number of decompressed bytes since the last call.
    pub(super) fn take_decompressed(&mut self) -> usize {
        std::mem::take(&mut self.decompressed)
    }

    /// Handles the regular end of the response.
    pub(super) fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), BadBody> {
        if let Compression::Gzip(decoder) = &mut self.compression {
            decoder.try_finish().map_err(|_| BadBody::Incomplete)?;
            self.text.push(&std::mem::take(decoder.get_mut()), events)?;
        }
        self.text.finish(events)
    }
}

/// Decodes the decompressed body.
#[derive(Debug, Default)]
struct TextDecoder {
    format: Format,
    /// The first bytes, until there is an event.
    head: Vec<u8>,
    /// There was an event.
    any: bool,
}

#[derive(Debug)]
enum Format {
    /// Only white space so far.
    Unknown(Vec<u8>),
    Stream(sse::Decoder),
    /// One JSON value or several.
    Document(Vec<u8>),
}

impl Default for Format {
    fn default() -> Self {
        Self::Unknown(Vec::new())
    }
}

impl TextDecoder {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), BadBody> {
        let before = events.len();
        if !self.any {
            let room = MAX_HEAD_BYTES - self.head.len();
            self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        match &mut self.format {
            Format::Unknown(held) => {
                held.extend_from_slice(bytes);
                self.detect_format(events)?;
            }
            Format::Stream(decoder) => decoder.push(bytes, events)?,
            Format::Document(document) => document.extend_from_slice(bytes),
        }
        if matches!(&self.format, Format::Document(document) if document.len() > MAX_DOCUMENT_BYTES) {
            return Err(BadBody::TooLong);
        }
        self.any |= events.len() > before;
        Ok(())
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), BadBody> {
        let before = events.len();
        match &mut self.format {
            Format::Unknown(_) => return Ok(()),
            Format::Stream(decoder) => {
                // The last line break of a complete event may be missing.
                for event in decoder.finish() {
                    let complete = event.data.trim() == "[DONE]" || serde_json::from_str::<Value>(&event.data).is_ok_and(|v| v.is_object());
                    if !complete {
                        let any = self.any || events.len() > before;
                        return Err(if any { BadBody::Incomplete } else { self.unrecognized().unwrap_or(BadBody::Incomplete) });
                    }
                    events.push(event);
                }
            }
            Format::Document(document) => documents(&std::mem::take(document), events)?,
        }
        self.any |= events.len() > before;
        self.unrecognized().map_or(Ok(()), Err)
    }

    /// The error for a body that has text but no event.
    fn unrecognized(&self) -> Option<BadBody> {
        let text = String::from_utf8_lossy(&self.head).trim().trim_start_matches('\u{feff}').to_owned();
        let is_field = |line: &str| !line.is_empty() && FIELDS.iter().any(|field| line.starts_with(field) || field.starts_with(line));
        let is_stream = text.lines().any(is_field) || text.lines().all(|line| line.starts_with(':'));
        (!self.any && !is_stream).then_some(BadBody::Unrecognized(text))
    }

    /// Detects the format by the first character that is not white space.
    fn detect_format(&mut self, events: &mut Vec<Event>) -> Result<(), BadBody> {
        let Format::Unknown(held) = &mut self.format else { return Ok(()) };
        let text = held.strip_prefix(BYTE_ORDER_MARK).unwrap_or(held);
        let mark_is_cut = text.len() == held.len() && BYTE_ORDER_MARK.starts_with(held);
        let Some(first) = text.iter().find(|byte| !byte.is_ascii_whitespace()).filter(|_| !mark_is_cut) else {
            return if held.len() > MAX_DOCUMENT_BYTES { Err(BadBody::TooLong) } else { Ok(()) };
        };
        if matches!(first, b'{' | b'[') {
            self.format = Format::Document(text.to_vec());
            return Ok(());
        }
        let held = std::mem::take(held);
        let mut decoder = sse::Decoder::default();
        let pushed = decoder.push(&held, events);
        self.format = Format::Stream(decoder);
        Ok(pushed?)
    }
}

/// Makes an event of each JSON value, and of each element of an array.
fn documents(text: &[u8], events: &mut Vec<Event>) -> Result<(), BadBody> {
    for value in serde_json::Deserializer::from_slice(text).into_iter::<Value>() {
        let value = value.map_err(|error| {
            if error.is_eof() {
                BadBody::Incomplete
            } else {
                BadBody::Unrecognized(String::from_utf8_lossy(text).chars().take(500).collect())
            }
        })?;
        let values = if let Value::Array(all) = value { all } else { vec![value] };
        events.extend(values.into_iter().map(|value| Event { name: String::new(), data: value.to_string() }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = (Vec<String>, Result<(), BadBody>);

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
        let (mut body, mut events) = (BodyDecoder::default(), Vec::new());
        let mut outcome = Ok(());
        for piece in pieces {
            outcome = outcome.and_then(|()| body.push(piece, &mut events));
        }
        outcome = outcome.and_then(|()| body.finish(&mut events));
        (events.into_iter().map(|event| event.data).collect(), outcome)
    }

    fn whole(text: &str) -> Read {
        let whole = read([text.as_bytes()]);
        assert_eq!(read(text.as_bytes().chunks(1)), whole, "{text:?} byte by byte");
        whole
    }

    #[test]
    fn the_format_is_detected_by_the_first_character() {
        for (text, events) in [
            ("data: a\n\ndata: b\n\n", &["a", "b"][..]),
            ("\u{feff}data: a\r\n\r\n", &["a"]),
            ("\n \r\n: comment\n\ndata: a\n\n", &["a"]),
            ("data: {\"a\":1}", &["{\"a\":1}"]),
            ("data: {\"a\":1}\n", &["{\"a\":1}"]),
            ("data: x\n\ndata: [DONE]", &["x", "[DONE]"]),
            ("{\"a\":\n1}", &["{\"a\":1}"]),
            ("\u{feff}\n {\"a\":1}\n", &["{\"a\":1}"]),
            ("[{\"a\":1},\n{\"b\":2}]", &["{\"a\":1}", "{\"b\":2}"]),
            ("{\"a\":1}\n{\"b\":2}\n", &["{\"a\":1}", "{\"b\":2}"]),
            ("data: a\n\n{\"error\":\"x\"}\n", &["a", "{\"error\":\"x\"}"]),
            ("data: {\"a\":1}\n{\"error\":\"x\"}", &["{\"error\":\"x\"}", "{\"a\":1}"]),
            ("", &[]),
            (": only a comment\n\n", &[]),
            (" \n", &[]),
        ] {
            assert_eq!(whole(text), (events.iter().map(|e| (*e).to_owned()).collect(), Ok(())), "{text:?}");
        }
    }

    #[test]
    fn a_body_that_ends_inside_an_event_is_incomplete() {
        for text in ["data: a\n\ndata: {\"a\":", "data: {\"a\":", "data: x", "data: x\n", "{\"a\":", "[{\"a\":1},"] {
            assert_eq!(whole(text).1, Err(BadBody::Incomplete), "{text:?}");
        }
    }

    #[test]
    fn a_compressed_body_is_decoded_and_one_that_ends_early_is_incomplete() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(b"data: a\n\ndata: b\n\n").unwrap();
        let packed = gzip.finish().unwrap();
        let whole = (vec!["a".to_owned(), "b".to_owned()], Ok(()));
        assert_eq!(read([packed.as_slice()]), whole);
        assert_eq!(read(packed.chunks(1)), whole);
        for end in 2..packed.len() {
            assert_eq!(read([&packed[..end]]).1, Err(BadBody::Incomplete), "ended at {end}");
        }
    }

    #[test]
    fn a_chunk_that_decompresses_to_too_many_bytes_is_refused() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let event = format!("data: {}\n\n", "x".repeat(64 * 1024));
        (0..200).for_each(|_| gzip.write_all(event.as_bytes()).unwrap());
        let packed = gzip.finish().unwrap();
        assert!(packed.len() < 64 * 1024, "one chunk");
        assert_eq!(read([packed.as_slice()]).1, Err(BadBody::TooLong));
        assert_eq!(read(packed.chunks(4 * 1024)), (vec!["x".repeat(64 * 1024); 200], Ok(())), "in small chunks");
    }

    #[test]
    fn the_error_of_an_unrecognized_body_holds_its_text() {
        for text in ["<html>no</html>", "<html>\n\n<body>no</body>", "upstream connect error", "{nonsense}", "no healthy upstream\n\n"] {
            let (events, outcome) = whole(text);
            assert_eq!((events.len(), outcome), (0, Err(BadBody::Unrecognized(text.trim().to_owned()))), "{text:?}");
        }
    }

    #[test]
    fn an_endless_document_is_refused() {
        let chunk = vec![b'['; 1024 * 1024];
        let (mut body, mut events) = (BodyDecoder::default(), Vec::new());
        assert!((0..10).any(|_| body.push(&chunk, &mut events) == Err(BadBody::TooLong)));
    }
}
