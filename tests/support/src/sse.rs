//! A viewer of server-sent events. It fails on everything that the gateway must not send.

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use futures::StreamExt;
use serde_json::Value;

/// A received event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub id: u32,
    /// The text after `data: `.
    pub data: String,
}

impl Frame {
    /// # Panics
    /// If the data is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).expect("data is JSON")
    }

    /// The type of the event, such as `text.delta`.
    #[must_use]
    pub fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap_or_default().to_owned()
    }

    /// # Panics
    /// If the data is not JSON.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self.kind().as_str(), "turn.completed" | "turn.failed" | "turn.cancelled" | "turn.conflicted")
    }
}

/// An open event stream.
pub struct Viewer {
    body: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: BytesMut,
    /// The received comments.
    pub comments: Vec<String>,
    /// The last `retry:` value.
    pub retry_ms: Option<u64>,
    /// The number of bytes that are read before the viewer disconnects.
    remaining: Option<usize>,
}

/// The viewer disconnected after [`Viewer::disconnect_after`].
#[derive(Debug)]
pub struct Disconnected;

impl std::fmt::Display for Disconnected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the viewer disconnected")
    }
}

impl std::error::Error for Disconnected {}

impl Viewer {
    /// Reads an event stream. Checks the headers that every event stream must have.
    ///
    /// # Errors
    /// If the answer is not an event stream.
    pub async fn open(response: reqwest::Response) -> Result<Self> {
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let (status, kind) = (response.status(), header("content-type"));
        if status != 200 || kind != "text/event-stream" {
            bail!("{status} {kind}: {}", response.text().await.unwrap_or_default());
        }
        assert_eq!(header("cache-control"), "no-cache, no-transform");
        assert_eq!(header("x-accel-buffering"), "no");
        assert_eq!(header("x-content-type-options"), "nosniff");
        Ok(Self { body: response.bytes_stream().boxed(), buffer: BytesMut::new(), comments: Vec::new(), retry_ms: None, remaining: None })
    }

    /// Disconnects after this many bytes, at any position. [`Viewer::next`] then fails with [`Disconnected`].
    pub fn disconnect_after(&mut self, bytes: usize) {
        self.remaining = Some(bytes);
    }

    /// Returns the next event, or `None` at a clean end.
    ///
    /// # Errors
    /// If the connection breaks or the bytes violate the contract.
    pub async fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            while let Some(end) = find(&self.buffer, b"\n\n") {
                let block = self.buffer.split_to(end + 2);
                if let Some(frame) = self.parse(std::str::from_utf8(&block[..end]).context("not UTF-8")?)? {
                    return Ok(Some(frame));
                }
            }
            if self.remaining == Some(0) {
                return Err(Disconnected.into());
            }
            match self.body.next().await {
                Some(chunk) => {
                    let chunk = chunk.context("the stream broke")?;
                    let taken = self.remaining.map_or(chunk.len(), |remaining| remaining.min(chunk.len()));
                    self.remaining = self.remaining.map(|remaining| remaining - taken);
                    self.buffer.extend_from_slice(&chunk[..taken]);
                }
                None if self.buffer.is_empty() => return Ok(None),
                None => bail!("the stream ended inside an event"),
            }
        }
    }

    fn parse(&mut self, block: &str) -> Result<Option<Frame>> {
        let (mut id, mut data) = (None, None);
        for line in block.split('\n') {
            match line.split_once(": ") {
                Some(("id", text)) => id = Some(text.parse().context("id")?),
                Some(("data", text)) if data.is_none() => data = Some(text.to_owned()),
                Some(("retry", text)) => self.retry_ms = Some(text.parse().context("retry")?),
                Some(("", text)) => self.comments.push(text.to_owned()),
                _ => bail!("unexpected line {line:?}"),
            }
        }
        match (id, data) {
            (Some(id), Some(data)) => Ok(Some(Frame { id, data })),
            (None, None) => Ok(None),
            _ => bail!("an event has an id and data: {block:?}"),
        }
    }

    /// Reads all events to the terminal event, which a clean end must follow.
    ///
    /// # Errors
    /// If the stream ends in another way.
    pub async fn rest(&mut self) -> Result<Vec<Frame>> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await? {
            let last = frame.is_terminal();
            frames.push(frame);
            if last {
                return match self.next().await? {
                    None => Ok(frames),
                    Some(more) => bail!("an event after the terminal one: {more:?}"),
                };
            }
        }
        bail!("a clean end without a terminal event after {} events", frames.len())
    }

    /// Reads all events up to the first one of this type.
    ///
    /// # Errors
    /// If the stream ends before it.
    pub async fn until(&mut self, kind: &str) -> Result<Vec<Frame>> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await? {
            let found = frame.kind() == kind;
            frames.push(frame);
            if found {
                return Ok(frames);
            }
        }
        bail!("no {kind} among {} events", frames.len())
    }
}

fn find(buffer: &[u8], needle: &[u8]) -> Option<usize> {
    buffer.windows(needle.len()).position(|w| w == needle)
}
