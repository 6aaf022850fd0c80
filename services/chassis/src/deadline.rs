//! The deadline of a call: its header, the status after it has passed, and a response body that ends at it. tonic's own timers, at the
//! server and at the client, end with the response headers, so they do not end a stream.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame};
use proto::error::{DEFAULT_DOMAIN, ErrorCode, Fault};
use tokio::time::Sleep;
use tonic::{Status, body::Body};

use crate::caller::Caller;

/// Reads `grpc-timeout`: up to eight digits and a unit.
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

/// Writes `grpc-timeout`, in milliseconds.
pub(crate) fn set_timeout(headers: &mut HeaderMap, left: Duration) {
    const MOST: u128 = 99_999_999;
    if let Ok(value) = HeaderValue::try_from(format!("{}m", left.as_millis().min(MOST))) {
        headers.insert("grpc-timeout", value);
    }
}

/// The status after the deadline. It has the domain of the service, or [`DEFAULT_DOMAIN`] if the caller noticed first.
pub(crate) fn exceeded(service: Option<Caller>) -> Status {
    let name = service.map_or("", Caller::name);
    let fault = Fault::new(name, ErrorCode::Timeout, "TIMEOUT", "the deadline passed before the work was done");
    Status::from(if service.is_some() { fault } else { Fault { domain: DEFAULT_DOMAIN.to_owned(), ..fault } })
}

/// A response body that ends with the trailers of DEADLINE_EXCEEDED at the deadline.
pub(crate) struct DeadlineBody {
    body: Body,
    sleep: Pin<Box<Sleep>>,
    /// The service in the status.
    service: Option<Caller>,
    is_ended: bool,
}

impl DeadlineBody {
    pub(crate) fn wrap(body: Body, deadline: Instant, service: Option<Caller>) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Self { body, sleep: Box::pin(tokio::time::sleep_until(deadline.into())), service, is_ended: false })
    }
}

impl HttpBody for DeadlineBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if self.sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.is_ended = true;
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(exceeded(self.service).add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended || self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_the_form_of_the_protocol() {
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

    #[test]
    fn timeouts_are_written_with_eight_digits_at_most() {
        for (left, expected) in [(1_500, 1_500), (0, 0), (u64::MAX, 99_999_999)] {
            let mut headers = HeaderMap::new();
            set_timeout(&mut headers, Duration::from_millis(left));
            assert_eq!(timeout_of(&headers), Some(Duration::from_millis(expected)));
        }
    }
}
