//! A client of an event stream that only searches for the deltas of `upstream`, so that its cost does not depend on the events around them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use reqwest::RequestBuilder;

use crate::{
    sample::Samples,
    upstream::{MARK_BYTES, now},
};

/// The observations of a stream.
#[derive(Debug, Default)]
pub(crate) struct Observation {
    /// The time from the request to the first byte.
    pub(crate) opened: Duration,
    /// The time from the request to the first delta.
    pub(crate) first: Duration,
    /// The latency of the first delta.
    pub(crate) first_latency: Duration,
    /// The latencies of all deltas.
    pub(crate) latencies: Samples,
    pub(crate) deltas: usize,
}

/// Sends the request and reads the stream to its end.
pub(crate) async fn watch(request: RequestBuilder, deltas: usize) -> Result<Observation> {
    let start = now();
    let response = request.send().await?;
    ensure!(response.status().is_success(), "{} {}", response.status(), response.text().await?);
    let mut body = response.bytes_stream();
    let (mut seen, mut marks) = (Observation::default(), Marks::default());
    let mut end = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.context("the stream broke")?;
        let arrived = now();
        if end.is_empty() {
            seen.opened = arrived.saturating_sub(start);
        }
        marks.read(&chunk, |sent| {
            if seen.deltas == 0 {
                seen.first = arrived.saturating_sub(start);
                seen.first_latency = arrived.saturating_sub(sent);
            }
            seen.deltas += 1;
            seen.latencies.push(arrived.saturating_sub(sent));
        });
        end = chunk.to_vec();
    }
    ensure!(seen.deltas == deltas, "{} of {deltas} deltas arrived; the end was {:?}", seen.deltas, String::from_utf8_lossy(&end));
    Ok(seen)
}

/// Finds the marks of deltas in the chunks of a stream.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// The beginning of a mark at the end of the last chunk.
    rest: Vec<u8>,
}

impl Marks {
    pub(crate) fn read(&mut self, chunk: &[u8], mut found: impl FnMut(Duration)) {
        let joined;
        let mut bytes = if self.rest.is_empty() {
            chunk
        } else {
            joined = [std::mem::take(&mut self.rest).as_slice(), chunk].concat();
            &joined
        };
        while let Some(at) = bytes.iter().position(|byte| *byte == b'@') {
            let Some((mark, after)) = bytes[at..].split_at_checked(MARK_BYTES) else {
                self.rest = bytes[at..].to_vec();
                return;
            };
            if let Some(sent) = time_of(mark) {
                found(sent);
            }
            bytes = after;
        }
    }
}

fn time_of(mark: &[u8]) -> Option<Duration> {
    let digits = mark.strip_prefix(b"@")?.strip_suffix(b";")?;
    std::str::from_utf8(digits).ok()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_wherever_the_stream_is_split() {
        let text = "data: {\"text\":\"@0000000000000000000007;@0000000000000000000008;\"}\n\ndata: \"@0000000000000000000009;\"";
        for cut in 0..text.len() {
            let (mut marks, mut found) = (Marks::default(), Vec::new());
            for chunk in [&text[..cut], &text[cut..]] {
                marks.read(chunk.as_bytes(), |sent| found.push(sent.as_nanos()));
            }
            assert_eq!(found, [7, 8, 9], "cut at {cut}");
        }
    }
}
