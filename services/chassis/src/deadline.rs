//! A caller's deadline: how it travels, what is answered when it has passed, and the end of an answer that outlives it. tonic's own
//! timers, at the server and at the client, stop at the response headers, so a stream would go on.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use proto::error::{ErrorCode, Fault, NOBODY};
use tokio::time::Sleep;
use tonic::{Status, body::Body};

use crate::caller::Caller;

/// `grpc-timeout`: up to eight digits and a unit.
pub(crate) fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let value: u64 = if digits.len() <= 8 { digits.parse().ok()? } else { return None };
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

/// The answer after the deadline: of a service, or of nobody where the caller noticed first.
pub(crate) fn passed(by: Option<Caller>) -> Status {
    let service = by.map_or("", Caller::name);
    let fault = Fault::new(service, ErrorCode::Timeout, "TIMEOUT", "the deadline passed before the work was done");
    Status::from(if by.is_some() { fault } else { Fault { domain: NOBODY.to_owned(), ..fault } })
}

/// A body that ends with the trailers of DEADLINE_EXCEEDED when the time is over.
pub(crate) struct Deadlined {
    body: Body,
    sleep: Pin<Box<Sleep>>,
    /// Who says so.
    by: Option<Caller>,
    over: bool,
}

impl Deadlined {
    pub(crate) fn wrap(body: Body, deadline: Instant, by: Option<Caller>) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Self { body, sleep: Box::pin(tokio::time::sleep_until(deadline.into())), by, over: false })
    }
}

impl HttpBody for Deadlined {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if self.sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.over = true;
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(passed(self.by).add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().expect("header"));
            timeout_of(&headers)
        };
        assert_eq!(of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(of("2S"), Some(Duration::from_secs(2)));
        for wrong in ["", "S", "123456789S", "5x", "-1S"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
