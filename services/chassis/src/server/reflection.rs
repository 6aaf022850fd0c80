//! Reflection, the one stream of requests that a server takes: how large a question is, how many there are, and for how long a stream
//! may ask.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use proto::error::{ErrorCode, Fault};
use tokio::time::Sleep;
use tonic::{Status, body::Body};

/// The largest message of an RPC that a library serves: health and reflection take names.
pub(super) const MAX_QUERY_BYTES: usize = 4 * 1024;

/// The flag of compression and the length, before each message.
const PREFIX: usize = 5;

/// What one stream may do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    /// Of the service that refuses.
    pub(super) service: &'static str,
    pub(super) questions: usize,
    pub(super) time: Duration,
}

/// Why the stream has ended, if it was not by its client. The library ends it without a word.
#[derive(Clone, Default)]
pub(super) struct Refusal(Arc<OnceLock<Fault>>);

/// The questions of a stream, until one is too much.
struct Questions {
    body: Body,
    of: Stream,
    sleep: Pin<Box<Sleep>>,
    asked: usize,
    prefix: Vec<u8>,
    /// Bytes of the current question that are still to come.
    missing: usize,
    refusal: Refusal,
}

/// The body of the request within its bounds, and where it is noted that they were passed.
pub(super) fn questions(body: Body, of: Stream) -> (Body, Refusal) {
    let refusal = Refusal::default();
    let sleep = Box::pin(tokio::time::sleep(of.time));
    let questions = Questions { body, of, sleep, asked: 0, prefix: Vec::new(), missing: 0, refusal: refusal.clone() };
    (Body::new(questions), refusal)
}

/// The body of the answer, which says at its end why the questions ended.
pub(super) fn answers(body: Body, refusal: Refusal) -> Body {
    Body::new(Answers { body, refusal, is_over: false })
}

impl Questions {
    fn look_at(&mut self, mut data: &[u8]) -> Result<(), Fault> {
        while !data.is_empty() {
            if self.missing > 0 {
                let passed = self.missing.min(data.len());
                self.missing -= passed;
                data = &data[passed..];
                continue;
            }
            self.prefix.push(data[0]);
            data = &data[1..];
            if self.prefix.len() == PREFIX {
                self.missing = self.prefix[1..].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
                self.prefix.clear();
                self.asked += 1;
                self.judge()?;
            }
        }
        Ok(())
    }

    fn judge(&self) -> Result<(), Fault> {
        let refuse = |reason, text, limit: usize| {
            Err(Fault::new(self.of.service, ErrorCode::RateLimited, reason, text).with("limit", limit.to_string()))
        };
        if self.missing > MAX_QUERY_BYTES {
            let text = format!("the message has {} bytes; the limit is {MAX_QUERY_BYTES} bytes", self.missing);
            return refuse("MESSAGE_TOO_LARGE", text, MAX_QUERY_BYTES);
        }
        let most = self.of.questions;
        if self.asked > most {
            return refuse("SHARE_EXHAUSTED", format!("one stream of reflection may have at most {most} messages; open another one"), most);
        }
        Ok(())
    }

    fn refuse(&mut self, fault: Fault) -> Status {
        self.body = Body::empty();
        let status = Status::from(fault.clone());
        _ = self.refusal.0.set(fault);
        status
    }
}

impl HttpBody for Questions {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.sleep.as_mut().poll(cx).is_ready() && !self.body.is_end_stream() {
            let text = format!("a stream of reflection may take {} s", self.of.time.as_secs_f64());
            let fault = Fault::new(self.of.service, ErrorCode::Timeout, "BODY_TIMEOUT", text);
            return Poll::Ready(Some(Err(self.refuse(fault))));
        }
        let polled = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &polled
            && let Some(data) = frame.data_ref().cloned()
            && let Err(fault) = self.look_at(&data)
        {
            return Poll::Ready(Some(Err(self.refuse(fault))));
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

struct Answers {
    body: Body,
    refusal: Refusal,
    is_over: bool,
}

impl HttpBody for Answers {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let polled = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if polled.as_ref().is_some_and(|frame| frame.as_ref().is_ok_and(Frame::is_data)) {
            return Poll::Ready(polled);
        }
        self.is_over = true;
        let Some(fault) = self.refusal.0.get() else { return Poll::Ready(polled) };
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(Status::from(fault.clone()).add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}
