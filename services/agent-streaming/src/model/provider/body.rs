//! The body of a response as events, whatever its content type says: an event stream, or JSON documents of a server that does
//! not stream. Pure: bytes may be split anywhere.

use std::io::Write as _;

use flate2::write::GzDecoder;
use serde_json::Value;

use super::sse::{self, Event, TooLong};

const GZIP_MARK: [u8; 2] = [0x1f, 0x8b];
/// How much of a packed body is unpacked at once.
const PACKED_PIECE_BYTES: usize = 4 * 1024;
/// How much of a body without any event is kept for people.
const MAX_HEAD_BYTES: usize = 2_000;
/// What one part of a packed body may unpack to: it is held in memory until its events are read.
const MAX_UNPACKED_BYTES: usize = 8 * 1024 * 1024;
/// A document beyond it is no answer of a model.
const MAX_DOCUMENT_BYTES: usize = 8 * 1024 * 1024;
/// What the lines of an event stream begin with, comments aside.
const FIELDS: [&str; 4] = ["data:", "event:", "id:", "retry:"];
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Why a body is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BadBody {
    TooLong,
    /// It ended inside an event or a document.
    Unfinished,
    /// It is something else: these are its first words.
    Foreign(String),
}

impl From<TooLong> for BadBody {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

/// Turns bytes into events.
#[derive(Debug, Default)]
pub(super) struct Body {
    packing: Packing,
    text: Text,
    /// What unpacking has added since it was last asked.
    unpacked: usize,
}

/// How the text is packed; told by its first bytes, since headers lie.
#[derive(Debug, Default)]
enum Packing {
    #[default]
    Unknown,
    /// The first byte of gzip's mark came alone.
    HalfMark,
    Plain,
    Gzip(Box<GzDecoder<Vec<u8>>>),
}

impl Body {
    /// Takes the next bytes and appends the events that they complete.
    pub(super) fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), BadBody> {
        if matches!(self.packing, Packing::HalfMark) {
            self.packing = Packing::Unknown;
            return self.push(&[&GZIP_MARK[..1], bytes].concat(), events);
        }
        if matches!(self.packing, Packing::Unknown) && !bytes.is_empty() {
            self.packing = if bytes.starts_with(&GZIP_MARK) {
                Packing::Gzip(Box::new(GzDecoder::new(Vec::new())))
            } else if bytes == &GZIP_MARK[..1] {
                Packing::HalfMark
            } else {
                Packing::Plain
            };
        }
        match &mut self.packing {
            Packing::Unknown | Packing::HalfMark => Ok(()),
            Packing::Plain => self.text.push(bytes, events),
            Packing::Gzip(decoder) => {
                // A little at a time: what is packed tightly is large when it is unpacked.
                let mut now = 0;
                for piece in bytes.chunks(PACKED_PIECE_BYTES) {
                    decoder.write_all(piece).and_then(|()| decoder.flush()).map_err(|_| BadBody::Unfinished)?;
                    let text = std::mem::take(decoder.get_mut());
                    now += text.len();
                    if now > MAX_UNPACKED_BYTES {
                        return Err(BadBody::TooLong);
                    }
                    self.text.push(&text, events)?;
                }
                self.unpacked += now;
                Ok(())
            }
        }
    }

    /// The bytes that unpacking has added since the last call.
    pub(super) fn take_unpacked(&mut self) -> usize {
        std::mem::take(&mut self.unpacked)
    }

    /// The response ended in order.
    pub(super) fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), BadBody> {
        if let Packing::Gzip(decoder) = &mut self.packing {
            decoder.try_finish().map_err(|_| BadBody::Unfinished)?;
            self.text.push(&std::mem::take(decoder.get_mut()), events)?;
        }
        self.text.finish(events)
    }
}

/// The unpacked body.
#[derive(Debug, Default)]
struct Text {
    form: Form,
    /// The first bytes, until there is an event.
    head: Vec<u8>,
    any: bool,
}

#[derive(Debug)]
enum Form {
    /// Nothing but space so far.
    Unknown(Vec<u8>),
    Stream(sse::Decoder),
    /// One JSON value or several.
    Document(Vec<u8>),
}

impl Default for Form {
    fn default() -> Self {
        Self::Unknown(Vec::new())
    }
}

impl Text {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), BadBody> {
        let before = events.len();
        if !self.any {
            let room = MAX_HEAD_BYTES - self.head.len();
            self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        match &mut self.form {
            Form::Unknown(held) => {
                held.extend_from_slice(bytes);
                self.recognise(events)?;
            }
            Form::Stream(decoder) => decoder.push(bytes, events)?,
            Form::Document(document) => document.extend_from_slice(bytes),
        }
        if matches!(&self.form, Form::Document(document) if document.len() > MAX_DOCUMENT_BYTES) {
            return Err(BadBody::TooLong);
        }
        self.any |= events.len() > before;
        Ok(())
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), BadBody> {
        let before = events.len();
        match &mut self.form {
            Form::Unknown(_) => return Ok(()),
            Form::Stream(decoder) => {
                // A whole event may lack its last line break.
                for event in decoder.finish() {
                    let whole = event.data.trim() == "[DONE]" || serde_json::from_str::<Value>(&event.data).is_ok_and(|v| v.is_object());
                    if !whole {
                        let begun = self.any || events.len() > before;
                        return Err(if begun { BadBody::Unfinished } else { self.foreign().unwrap_or(BadBody::Unfinished) });
                    }
                    events.push(event);
                }
            }
            Form::Document(document) => documents(&std::mem::take(document), events)?,
        }
        self.any |= events.len() > before;
        self.foreign().map_or(Ok(()), Err)
    }

    /// A body with words and without any event.
    fn foreign(&self) -> Option<BadBody> {
        let words = String::from_utf8_lossy(&self.head).trim().trim_start_matches('\u{feff}').to_owned();
        let is_field = |line: &str| !line.is_empty() && FIELDS.iter().any(|field| line.starts_with(field) || field.starts_with(line));
        let is_stream = words.lines().any(is_field) || words.lines().all(|line| line.starts_with(':'));
        (!self.any && !is_stream).then_some(BadBody::Foreign(words))
    }

    /// Decides by the first character that is not space.
    fn recognise(&mut self, events: &mut Vec<Event>) -> Result<(), BadBody> {
        let Form::Unknown(held) = &mut self.form else { return Ok(()) };
        let text = held.strip_prefix(BYTE_ORDER_MARK).unwrap_or(held);
        let mark_is_cut = text.len() == held.len() && BYTE_ORDER_MARK.starts_with(held);
        let Some(first) = text.iter().find(|byte| !byte.is_ascii_whitespace()).filter(|_| !mark_is_cut) else {
            return if held.len() > MAX_DOCUMENT_BYTES { Err(BadBody::TooLong) } else { Ok(()) };
        };
        if matches!(first, b'{' | b'[') {
            self.form = Form::Document(text.to_vec());
            return Ok(());
        }
        let held = std::mem::take(held);
        let mut decoder = sse::Decoder::default();
        let pushed = decoder.push(&held, events);
        self.form = Form::Stream(decoder);
        Ok(pushed?)
    }
}

/// Each JSON value, and each element of an array, is an event.
fn documents(text: &[u8], events: &mut Vec<Event>) -> Result<(), BadBody> {
    for value in serde_json::Deserializer::from_slice(text).into_iter::<Value>() {
        let value = value.map_err(|error| {
            if error.is_eof() { BadBody::Unfinished } else { BadBody::Foreign(String::from_utf8_lossy(text).chars().take(500).collect()) }
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
        let (mut body, mut events) = (Body::default(), Vec::new());
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
    fn a_body_is_known_by_its_first_character() {
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
    fn a_body_that_ends_inside_an_event_is_unfinished() {
        for text in ["data: a\n\ndata: {\"a\":", "data: {\"a\":", "data: x", "data: x\n", "{\"a\":", "[{\"a\":1},"] {
            assert_eq!(whole(text).1, Err(BadBody::Unfinished), "{text:?}");
        }
    }

    #[test]
    fn a_packed_body_is_unpacked_and_one_that_ends_early_is_unfinished() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(b"data: a\n\ndata: b\n\n").unwrap();
        let packed = gzip.finish().unwrap();
        let whole = (vec!["a".to_owned(), "b".to_owned()], Ok(()));
        assert_eq!(read([packed.as_slice()]), whole);
        assert_eq!(read(packed.chunks(1)), whole);
        for end in 2..packed.len() {
            assert_eq!(read([&packed[..end]]).1, Err(BadBody::Unfinished), "ended at {end}");
        }
    }

    #[test]
    fn a_packed_body_that_unpacks_to_too_much_at_once_is_refused() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let event = format!("data: {}\n\n", "x".repeat(64 * 1024));
        (0..200).for_each(|_| gzip.write_all(event.as_bytes()).unwrap());
        let packed = gzip.finish().unwrap();
        assert!(packed.len() < 64 * 1024, "one part of a connection");
        assert_eq!(read([packed.as_slice()]).1, Err(BadBody::TooLong));
        assert_eq!(read(packed.chunks(4 * 1024)), (vec!["x".repeat(64 * 1024); 200], Ok(())), "little by little");
    }

    #[test]
    fn a_foreign_body_says_what_it_is() {
        for text in ["<html>no</html>", "<html>\n\n<body>no</body>", "upstream connect error", "{nonsense}", "no healthy upstream\n\n"] {
            let (events, outcome) = whole(text);
            assert_eq!((events.len(), outcome), (0, Err(BadBody::Foreign(text.trim().to_owned()))), "{text:?}");
        }
    }

    #[test]
    fn an_endless_document_is_refused() {
        let chunk = vec![b'['; 1024 * 1024];
        let (mut body, mut events) = (Body::default(), Vec::new());
        assert!((0..10).any(|_| body.push(&chunk, &mut events) == Err(BadBody::TooLong)));
    }
}
