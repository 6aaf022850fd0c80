//! The one message of a request, read whole before any work is done for it: who sends it slowly holds no slot, and who sends much
//! is stopped before it is in memory.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use proto::error::{ErrorCode, Fault};
use tokio::time::Instant;
use tonic::body::Body;

use crate::share::Share;

/// The flag of compression and the length, before each message.
const PREFIX: usize = 5;

/// What a message may take.
pub(super) struct Bounds<'a> {
    /// Of the service that refuses.
    pub(super) service: &'a str,
    /// Bytes of the message as it travels.
    pub(super) largest: usize,
    pub(super) until: Instant,
    /// What the request holds of the bytes that are arriving.
    pub(super) receiving: &'a mut Share,
}

/// Why there is no message.
#[derive(Debug)]
pub(super) enum Unread {
    /// The client has given it up; nobody waits for an answer.
    Broken,
    Refused(Fault),
}

impl From<Fault> for Unread {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault)
    }
}

/// Reads the message. What is shorter than it says, or no message at all, is left to the library's words.
pub(super) async fn whole(mut body: Body, bounds: &mut Bounds<'_>) -> Result<Body, Unread> {
    let mut read = Whole::default();
    loop {
        let missing = read.missing();
        if let Some(announced) = read.announced()
            && announced > bounds.largest
        {
            let text = format!("the message has {announced} bytes; the limit is {} bytes", bounds.largest);
            let fault = Fault::new(bounds.service, ErrorCode::RateLimited, "MESSAGE_TOO_LARGE", text);
            return Err(fault.with("limit", bounds.largest.to_string()).into());
        }
        if missing == Some(0) {
            return Ok(Body::new(read));
        }
        // The first part came with its request; from then on it is held while others wait.
        if read.bytes > bounds.receiving.amount() {
            let more = read.bytes - bounds.receiving.amount();
            let grown = bounds.receiving.grow(more, bounds.until).await;
            grown.map_err(|exhausted| exhausted.fault(bounds.service, "bytes that are arriving"))?;
        }
        match tokio::time::timeout_at(bounds.until, body.frame()).await {
            Err(_) => {
                return Err(Fault::new(bounds.service, ErrorCode::Timeout, "BODY_TIMEOUT", "the message did not arrive in time").into());
            }
            Ok(Some(Ok(frame))) => read.push(frame),
            Ok(Some(Err(_))) => return Err(Unread::Broken),
            // The library says what is missing.
            Ok(None) => return Ok(Body::new(read)),
        }
    }
}

/// The parts of a message as they came.
#[derive(Default)]
struct Whole {
    parts: VecDeque<Bytes>,
    bytes: usize,
    prefix: Vec<u8>,
}

impl Whole {
    fn push(&mut self, frame: Frame<Bytes>) {
        let Ok(data) = frame.into_data() else { return };
        let of_prefix = data.len().min(PREFIX - self.prefix.len());
        self.prefix.extend_from_slice(&data[..of_prefix]);
        self.bytes += data.len();
        self.parts.push_back(data);
    }

    /// The length that the message says it has.
    fn announced(&self) -> Option<usize> {
        let length: [u8; 4] = self.prefix.get(1..PREFIX)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(length)).ok()
    }

    /// Bytes until the message is there.
    fn missing(&self) -> Option<usize> {
        self.announced().map(|announced| (announced + PREFIX).saturating_sub(self.bytes))
    }
}

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.parts.pop_front().map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.parts.iter().map(|part| part.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{StreamExt as _, stream};
    use http_body_util::StreamBody;

    use super::*;
    use crate::share::{Holder, Percent, Shares};

    fn body(parts: Vec<Vec<u8>>, ends: bool) -> Body {
        let parts = stream::iter(parts.into_iter().map(|part| Ok::<_, Infallible>(Frame::data(part.into()))));
        if ends { Body::new(StreamBody::new(parts)) } else { Body::new(StreamBody::new(parts.chain(stream::pending()))) }
    }

    async fn read(parts: Vec<Vec<u8>>, ends: bool) -> Result<usize, String> {
        let shares = Shares::new(1000, Percent { connection: 100, address: 100, person: 100 });
        let mut receiving = shares.try_take(&Holder::default(), 0).expect("nothing");
        let until = Instant::now() + Duration::from_millis(50);
        let mut bounds = Bounds { service: "auth", largest: 2000, until, receiving: &mut receiving };
        let read = whole(body(parts, ends), &mut bounds).await.map_err(|unread| match unread {
            Unread::Refused(fault) => fault.reason,
            Unread::Broken => "broken".to_owned(),
        })?;
        Ok(read.collect().await.expect("parts").to_bytes().len())
    }

    fn message(length: u32, sent: usize) -> Vec<u8> {
        [&[0], &length.to_be_bytes()[..], &vec![7; sent]].concat()
    }

    #[tokio::test]
    async fn a_message_is_whole_or_refused() {
        let pieces = |bytes: Vec<u8>| bytes.into_iter().map(|byte| vec![byte]).collect::<Vec<_>>();
        let rows = [
            (vec![message(0, 0)], false, Ok(5)),
            (vec![message(10, 10)], false, Ok(15)),
            (pieces(message(10, 10)), false, Ok(15)),
            (vec![message(2000, 2000)], false, Ok(2005)),
            (vec![message(2001, 0)], false, Err("MESSAGE_TOO_LARGE")),
            (vec![message(u32::MAX, 0)], false, Err("MESSAGE_TOO_LARGE")),
            (vec![message(10, 9)], false, Err("BODY_TIMEOUT")),
            (vec![], false, Err("BODY_TIMEOUT")),
            (vec![message(10, 9)], true, Ok(14)),
            (vec![], true, Ok(0)),
            // More than may be arriving.
            (vec![message(2000, 1100), vec![7; 900]], false, Err("OVERLOADED")),
        ];
        for (at, (parts, ends, outcome)) in rows.into_iter().enumerate() {
            assert_eq!(read(parts, ends).await, outcome.map_err(str::to_owned), "row {at}");
        }
    }
}
