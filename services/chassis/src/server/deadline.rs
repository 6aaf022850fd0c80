//! Ends an answer that outlives its caller's deadline. tonic's own timer stops at the response headers, so a stream would go on.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tokio::time::Sleep;
use tonic::{Status, body::Body};

/// A body that ends with the trailers of DEADLINE_EXCEEDED when the time is over.
pub(super) struct Deadlined {
    body: Body,
    sleep: Pin<Box<Sleep>>,
    late: Option<Status>,
}

impl Deadlined {
    pub(super) fn wrap(body: Body, deadline: Instant, late: Status) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Self { body, sleep: Box::pin(tokio::time::sleep_until(deadline.into())), late: Some(late) })
    }
}

impl HttpBody for Deadlined {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.late.is_none() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if self.sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let Some(late) = self.late.take() else { return Poll::Ready(None) };
        self.body = Body::empty();
        let mut trailers = http::HeaderMap::new();
        Poll::Ready(Some(late.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.late.is_none() || self.body.is_end_stream()
    }
}
