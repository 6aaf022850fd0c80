//! The limits of request streams, as of reflection and of uploads: the size and the number of the messages, and the time of the stream.

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

/// The largest request message of health and reflection, whose messages contain only names.
pub(super) const MAX_QUERY_BYTES: usize = 4 * 1024;

/// The bytes before each message: the compression flag and the length.
const PREFIX: usize = 5;

/// The limits of one stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamLimits {
    /// The service in the faults.
    pub(super) service: &'static str,
    /// What the stream is, with its article.
    pub(super) name: &'static str,
    /// Bytes of each message.
    pub(super) message_bytes: usize,
    pub(super) messages: usize,
    pub(super) time: Duration,
}

/// The fault that ended a request stream. tonic-reflection does not pass it on to the response.
#[derive(Clone, Default)]
pub(super) struct Refusal(Arc<OnceLock<Fault>>);

/// A request body that fails when a limit is exceeded.
struct LimitedBody {
    body: Body,
    limits: StreamLimits,
    sleep: Pin<Box<Sleep>>,
    messages: usize,
    prefix: Vec<u8>,
    /// Bytes of the current message that have not arrived.
    missing: usize,
    refusal: Refusal,
}

/// Limits the request body. The refusal is set when a limit is exceeded.
pub(super) fn limit(body: Body, limits: StreamLimits) -> (Body, Refusal) {
    let refusal = Refusal::default();
    let sleep = Box::pin(tokio::time::sleep(limits.time));
    let limited = LimitedBody { body, limits, sleep, messages: 0, prefix: Vec::new(), missing: 0, refusal: refusal.clone() };
    (Body::new(limited), refusal)
}

/// The response body with the refusal in its trailers, if there is one.
pub(super) fn with_refusal(body: Body, refusal: Refusal) -> Body {
    Body::new(ResponseBody { body, refusal, is_ended: false })
}

impl LimitedBody {
    /// Parses the prefixes of the messages in `data`.
    fn scan(&mut self, mut data: &[u8]) -> Result<(), Fault> {
        while !data.is_empty() {
            if self.missing > 0 {
                let skipped = self.missing.min(data.len());
                self.missing -= skipped;
                data = &data[skipped..];
                continue;
            }
            self.prefix.push(data[0]);
            data = &data[1..];
            if self.prefix.len() == PREFIX {
                self.missing = self.prefix[1..].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
                self.prefix.clear();
                self.messages += 1;
                self.check_limits()?;
            }
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), Fault> {
        let refuse = |reason, text, limit: usize| {
            Err(Fault::new(self.limits.service, ErrorCode::RateLimited, reason, text).with("limit", limit.to_string()))
        };
        let largest = self.limits.message_bytes;
        if self.missing > largest {
            let text = format!("the message has {} bytes; the limit is {largest} bytes", self.missing);
            return refuse("MESSAGE_TOO_LARGE", text, largest);
        }
        let most = self.limits.messages;
        if self.messages > most {
            return refuse("SHARE_EXHAUSTED", format!("{} may have at most {most} messages; open another one", self.limits.name), most);
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

impl HttpBody for LimitedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.sleep.as_mut().poll(cx).is_ready() && !self.body.is_end_stream() {
            let text = format!("{} may take at most {} s", self.limits.name, self.limits.time.as_secs_f64());
            let fault = Fault::new(self.limits.service, ErrorCode::Timeout, "BODY_TIMEOUT", text);
            return Poll::Ready(Some(Err(self.refuse(fault))));
        }
        let polled = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &polled
            && let Some(data) = frame.data_ref().cloned()
            && let Err(fault) = self.scan(&data)
        {
            return Poll::Ready(Some(Err(self.refuse(fault))));
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

struct ResponseBody {
    body: Body,
    refusal: Refusal,
    is_ended: bool,
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_ended {
            return Poll::Ready(None);
        }
        let polled = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if polled.as_ref().is_some_and(|frame| frame.as_ref().is_ok_and(Frame::is_data)) {
            return Poll::Ready(polled);
        }
        self.is_ended = true;
        let Some(fault) = self.refusal.0.get() else { return Poll::Ready(polled) };
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(Status::from(fault.clone()).add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended
    }
}
