//! An incremental decoder of server-sent events (WHATWG HTML). The bytes may be split anywhere.

use serde::de::IgnoredAny;

/// The largest event. No provider sends larger ones.
const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;

/// An event with data. Ids and retry times are ignored, because no provider can resume a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Empty if the event has no name.
    pub name: String,
    pub data: String,
}

/// A line or an event is longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {MAX_EVENT_BYTES} bytes")]
pub(crate) struct TooLong;

/// Decodes bytes into events.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The bytes of the unfinished line. Only complete lines are decoded, so split characters are no problem.
    line: Vec<u8>,
    /// The last byte was a CR. An LF that follows belongs to it.
    after_cr: bool,
    /// The first line, which may begin with a byte order mark, has ended.
    begun: bool,
    name: String,
    data: String,
    has_data: bool,
}

impl Decoder {
    /// Takes the next bytes and appends the events that they complete.
    ///
    /// # Errors
    /// [`TooLong`]. The decoder cannot be used after that.
    pub(crate) fn push(&mut self, mut bytes: &[u8], events: &mut Vec<Event>) -> Result<(), TooLong> {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|b| matches!(b, b'\n' | b'\r'));
            self.line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
            if self.line.len() + self.data.len() > MAX_EVENT_BYTES {
                return Err(TooLong);
            }
            let Some(end) = end else { return Ok(()) };
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            self.end_line(&line, events);
        }
        Ok(())
    }

    /// At the end of the stream: returns the last event, even if its empty line or line break is missing.
    pub(crate) fn finish(&mut self) -> Vec<Event> {
        let line = std::mem::take(&mut self.line);
        let mut events = Vec::new();
        if !line.is_empty() {
            self.end_line(&line, &mut events);
        }
        self.end_line(b"", &mut events);
        events
    }

    fn end_line(&mut self, mut line: &[u8], events: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            if std::mem::take(&mut self.has_data) {
                events.push(Event { name, data });
            }
            return;
        }
        let text = String::from_utf8_lossy(line);
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "event" => value.clone_into(&mut self.name),
            // Some servers add a JSON error without a field name to their stream. No field name begins with a brace.
            _ if text.starts_with('{') && serde_json::from_str::<IgnoredAny>(&text).is_ok() => {
                events.push(Event { name: String::new(), data: text.into_owned() });
            }
            // A comment (empty field name), `id`, `retry`, or an unknown field.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(String, String)> {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece, &mut events).expect("short enough");
        }
        events.into_iter().map(|e| (e.name, e.data)).collect()
    }

    fn data(text: &str) -> Vec<String> {
        decode([text.as_bytes()]).into_iter().map(|(_, data)| data).collect()
    }

    #[test]
    fn streams_are_decoded_by_the_rules_of_the_format() {
        let cases: &[(&str, &[&str])] = &[
            ("data: a\n\n", &["a"]),
            ("data:a\n\ndata:  b\n\n", &["a", " b"]),
            ("data: a\r\n\r\ndata: b\r\rdata: c\n\n", &["a", "b", "c"]),
            ("data: a\ndata: b\ndata\n\n", &["a\nb\n"]),
            (": comment\n\n:\n\ndata: a\n: between\nid: 7\nretry: 10\nfuture: x\n\n", &["a"]),
            ("event: ping\n\n", &[]),
            ("data\n\n", &[""]),
            ("\u{feff}data: a\n\n\u{feff}data: b\n\n", &["a"]),
            ("data: {\"a\":\"b: c\"}\n\n", &["{\"a\":\"b: c\"}"]),
            ("data: unfinished\n", &[]),
            ("data: a\n\n{\"error\":\"x: y\"}\n{not json}\n", &["a", "{\"error\":\"x: y\"}"]),
            ("\n\n\ndata: é漢🎬\n\n\n", &["é漢🎬"]),
        ];
        for (text, want) in cases {
            assert_eq!(data(text), *want, "{text:?}");
        }
        assert_eq!(decode([&b"event: error\ndata: x\n\ndata: y\n\n"[..]]), [("error".into(), "x".into()), (String::new(), "y".into())]);
    }

    #[test]
    fn a_line_or_event_above_the_limit_is_refused() {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        let chunk = vec![b'x'; 1024 * 1024];
        let refused = (0..10).map(|_| decoder.push(&chunk, &mut events)).find(Result::is_err);
        assert_eq!(refused, Some(Err(TooLong)));
        let mut decoder = Decoder::default();
        let line = [b"data: ".as_slice(), &chunk, b"\n"].concat();
        assert!((0..10).any(|_| decoder.push(&line, &mut events).is_err()));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            lines in prop::collection::vec("(data|event|id|:|data: |event: )?[a-zé漢🎬: ]{0,6}(\n|\r|\r\n|\n\n|\r\n\r\n|\r\r)", 0..12),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let bytes = lines.concat().into_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let split = decode(at.windows(2).map(|w| &bytes[w[0]..w[1]]));
            prop_assert_eq!(&split, &decode([bytes.as_slice()]));
            prop_assert_eq!(split, decode(bytes.chunks(1)));
        }
    }
}
