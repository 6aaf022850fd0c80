//! The bytes of an event stream: the traits of all projections of a log, and the plain projection, as server-sent events or as lines
//! of JSON. Pure; [`super::event_stream`] decides when the bytes are written.

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::{BufMut as _, BytesMut};
use chassis::jitter::jitter;
use proto::agent_streaming::{EventLine, TurnEvent};
use serde::Serialize;

use crate::http::{headers::LAST_EVENT_ID, media::preference};

/// How long a browser waits before it reconnects. The time differs between streams, so that not all clients reconnect at once after a
/// drain.
const RETRY_MS: std::ops::RangeInclusive<u64> = 1_000..=4_000;

/// What every event stream has besides events.
pub(crate) trait Framing: Send + Sync {
    fn headers(&self) -> HeaderMap;

    /// Writes the beginning, which is sent at once, so that the client and every proxy see that the response has begun.
    fn opening(&mut self, out: &mut BytesMut);

    /// Shows the client that the stream is alive.
    fn heartbeat(&mut self, out: &mut BytesMut);
}

/// How the events of a turn become the bytes of one response. It gets each event once and in order, and may have a state.
pub(crate) trait Projection: Framing {
    /// Writes one event, and after the terminal event the end of the stream.
    fn event(&mut self, out: &mut BytesMut, event: &TurnEvent) -> Result<(), serde_json::Error>;

    /// Whether it can write events as the JSON that agent-streaming has made for all readers.
    fn takes_lines(&self) -> bool {
        false
    }

    /// Writes an event that is JSON already. Only called if `takes_lines`.
    fn line(&mut self, _out: &mut BytesMut, _line: &EventLine) {}
}

/// The media type has no charset, since some clients compare the whole value. The other headers keep proxies from buffering events.
pub(crate) fn stream_headers(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ])
}

/// The plain projection: an event is its JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `text/event-stream`, for browsers.
    Events,
    /// `application/x-ndjson`, for curl and programs.
    Lines,
}

impl Format {
    /// Lines for clients that name their type and prefer it to events, or like both equally.
    pub(crate) fn requested(headers: &HeaderMap) -> Self {
        let (lines, events) = (preference(headers, "application/x-ndjson"), preference(headers, "text/event-stream"));
        if lines.is_named() && lines.weight >= events.weight { Self::Lines } else { Self::Events }
    }

    /// The sequence number is the cursor. The type is inside the data, so that `onmessage` gets events of every type.
    pub(super) fn put(self, out: &mut BytesMut, seq: u32, json: &[u8]) {
        if self == Self::Events {
            out.reserve(json.len() + 32);
            out.put_slice(b"id: ");
            put_number(out, seq);
            out.put_slice(b"\ndata: ");
        }
        out.put_slice(json);
        out.put_slice(if self == Self::Events { b"\n\n" } else { b"\n" });
    }
}

/// Writes a number in decimal without an allocation.
fn put_number(out: &mut BytesMut, number: u32) {
    let mut digits = [0; 10];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        if rest == 0 {
            return out.put_slice(&digits[at..]);
        }
    }
}

impl Framing for Format {
    fn headers(&self) -> HeaderMap {
        let mut headers = stream_headers(match self {
            Self::Events => "text/event-stream",
            Self::Lines => "application/x-ndjson",
        });
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
        headers
    }

    fn opening(&mut self, out: &mut BytesMut) {
        if *self == Self::Events {
            opening(out);
        }
    }

    /// Readers of JSON lines skip empty lines.
    fn heartbeat(&mut self, out: &mut BytesMut) {
        match self {
            Self::Events => heartbeat(out),
            Self::Lines => out.put_u8(b'\n'),
        }
    }
}

impl Projection for Format {
    fn event(&mut self, out: &mut BytesMut, event: &TurnEvent) -> Result<(), serde_json::Error> {
        self.put(out, event.seq, event.to_json()?.as_bytes());
        Ok(())
    }

    fn takes_lines(&self) -> bool {
        true
    }

    fn line(&mut self, out: &mut BytesMut, line: &EventLine) {
        self.put(out, line.seq, &line.json);
    }
}

/// The beginning of every stream of server-sent events. No empty line follows, so it belongs to the block of the first event. Many readers
/// mistake a block without data for an event.
pub(crate) fn opening(out: &mut BytesMut) {
    out.put_slice(format!(": ok\nretry: {}\n", jitter(RETRY_MS)).as_bytes());
}

/// Writes the items that one event of the log became, each as one `data:` line. Only the last one has the event's number, so that a client
/// that resumes after that number has all of them.
pub(crate) fn frames<T: Serialize>(out: &mut BytesMut, seq: u32, items: &[T]) -> Result<(), serde_json::Error> {
    for (at, item) in items.iter().enumerate() {
        if at + 1 == items.len() {
            out.put_slice(format!("id: {seq}\n").as_bytes());
        }
        out.put_slice(b"data: ");
        serde_json::to_writer(out.writer(), item)?;
        out.put_slice(b"\n\n");
    }
    Ok(())
}

/// A comment, which clients ignore. It belongs to the block of the next event.
pub(crate) fn heartbeat(out: &mut BytesMut) {
    out.put_slice(b": ping\n");
}

/// The cursor of a request: `Last-Event-ID` has precedence over `after`. `None` if the header is not a sequence number.
pub(crate) fn cursor(headers: &HeaderMap, after: u32) -> Option<u32> {
    Some(last_event_id(headers)?.unwrap_or(after))
}

/// The header `Last-Event-ID`, if the request has one. The outer `None` says that it is not a sequence number.
#[allow(clippy::option_option, reason = "the header is absent, or it is invalid")]
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<Option<u32>> {
    match headers.get(LAST_EVENT_ID) {
        None => Some(None),
        // A browser without an event sends an empty header or none.
        Some(value) if value.is_empty() => Some(None),
        Some(value) => Some(Some(value.to_str().ok()?.parse().ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use proto::agent_streaming::{TextDelta, turn_event::Kind};

    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn delta() -> TurnEvent {
        let kind = Kind::TextDelta(TextDelta { block_id: "t1".into(), text: "one\ntwo\r\n\u{2028}".into() });
        TurnEvent { seq: 7, turn_id: "t".into(), kind: Some(kind), ..TurnEvent::default() }
    }

    #[test]
    fn an_event_is_one_id_and_one_data_line() {
        let text = written(|out| { Format::Events }.event(out, &delta()).unwrap());
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!((lines.len(), lines[0]), (4, "id: 7"));
        assert!(lines[1].starts_with(r#"data: {"seq":7,"turnId":"t","type":"text.delta","#) && !text.contains('\r'));
        assert!(text.ends_with("}\n\n"));
    }

    #[test]
    fn a_line_is_written_unchanged() {
        let event = delta();
        for seq in [0, 7, 10, u32::MAX] {
            let event = TurnEvent { seq, ..event.clone() };
            let line = EventLine { seq, terminal: false, json: event.to_json().unwrap().into() };
            for mut format in [Format::Events, Format::Lines] {
                assert_eq!(written(|out| format.line(out, &line)), written(|out| format.event(out, &event).unwrap()));
            }
        }
    }

    #[test]
    fn a_line_is_the_same_json() {
        let (event, line) = (
            written(|out| { Format::Events }.event(out, &delta()).unwrap()),
            written(|out| { Format::Lines }.event(out, &delta()).unwrap()),
        );
        assert_eq!(event, format!("id: 7\ndata: {line}\n"));
    }

    #[test]
    fn the_exact_bytes_of_an_opening_and_a_heartbeat() {
        let text = written(|out| { Format::Events }.opening(out));
        let ms: u64 = text.strip_prefix(": ok\nretry: ").and_then(|t| t.strip_suffix('\n')).unwrap().parse().unwrap();
        assert!(RETRY_MS.contains(&ms));
        assert_eq!(written(|out| { Format::Events }.heartbeat(out)), ": ping\n");
        assert_eq!(written(|out| { Format::Lines }.opening(out)), "");
    }

    type Write = fn(&mut BytesMut);

    #[test]
    fn every_block_has_data() {
        let writes: [(&str, Write); 4] = [
            ("opening", opening),
            ("heartbeat", heartbeat),
            ("event", |out| { Format::Events }.event(out, &delta()).unwrap()),
            ("frames", |out| frames(out, 7, &["one", "two"]).unwrap()),
        ];
        for order in [&[0, 2][..], &[0, 1, 2], &[0, 1, 1, 2, 1, 2], &[0, 3], &[0, 1, 3, 1, 1, 3], &[0, 2, 2, 3]] {
            let text = written(|out| order.iter().for_each(|at| writes[*at].1(out)));
            let names: Vec<_> = order.iter().map(|at| writes[*at].0).collect();
            let blocks: Vec<&str> = text.strip_suffix("\n\n").unwrap().split("\n\n").collect();
            for (at, block) in blocks.iter().enumerate() {
                let count = |field: &str| block.lines().filter(|line| line.starts_with(field)).count();
                assert_eq!((count("data: "), count("retry: ")), (1, usize::from(at == 0)), "{names:?}: {block}");
            }
        }
    }

    #[test]
    fn the_header_has_precedence_over_the_query() {
        let of = |id: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(id) = id {
                headers.insert("last-event-id", id.parse().unwrap());
            }
            cursor(&headers, 3)
        };
        assert_eq!([of(None), of(Some("")), of(Some("7")), of(Some("0"))], [Some(3), Some(3), Some(7), Some(0)]);
        assert_eq!([of(Some("x")), of(Some("-1")), of(Some("4294967296"))], [None, None, None]);
    }

    #[test]
    fn lines_are_sent_to_clients_that_name_their_type() {
        let of = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            Format::requested(&headers)
        };
        assert_eq!(of("application/x-ndjson"), Format::Lines);
        assert_eq!(of("text/plain, application/x-ndjson;q=1"), Format::Lines);
        assert_eq!(of("text/event-stream"), Format::Events);
        assert_eq!(of("application/x-ndjson;q=0"), Format::Events);
        assert_eq!(of("application/x-ndjson;q=0.5, text/event-stream"), Format::Events);
        assert_eq!(of("application/x-ndjson, text/event-stream;q=0.5"), Format::Lines);
        assert_eq!(of("application/x-ndjson, */*"), Format::Lines);
        assert_eq!(of("*/*"), Format::Events);
        assert_eq!({ Format::Lines }.headers()[header::VARY], "accept");
        assert_eq!(Format::requested(&HeaderMap::new()), Format::Events);
    }
}
