//! Serves one request of a connection. The bytes of its response that the client has not read yet are counted.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use proto::id::UserId;
use tower::{Service, ServiceExt as _};

use super::{RefusalFn, connection::Connection, stream::Wait};
use crate::share::{Holder, Share, Shares};

/// The size of the pieces in which hyper gets a body. hyper buffers about one piece, so the client has read all but one piece of the bytes
/// that hyper has taken.
const PIECE: usize = 64 * 1024;
/// The size for a stream of HTTP/2. A client that does not read one piece within [`super::Limits::write`] does not read at all.
const STREAM_PIECE: usize = 16 * 1024;
/// Bodies up to this size are not counted.
const UNCOUNTED: usize = 16 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An extension of a response: the user whose share its unread bytes count in.
#[derive(Debug, Clone, Copy)]
pub struct OnBehalfOf(pub UserId);

/// What the requests of one connection share.
pub(super) struct RequestContext<B> {
    pub(super) connection: Connection,
    pub(super) unsent: Arc<Shares>,
    pub(super) refuse: RefusalFn<B>,
}

pub(super) async fn respond<S, B>(
    context: Arc<RequestContext<B>>,
    service: S,
    mut request: Request<Incoming>,
) -> Result<Response<CountedBody<B>>, Infallible>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    let connection = &context.connection;
    connection.0.traffic.request_started();
    let mut open = OpenRequest::new(connection.clone(), request.version());
    request.extensions_mut().insert(connection.clone());
    let mut response = service.oneshot(request).await?;
    let person = response.extensions_mut().remove::<OnBehalfOf>().map(|person| person.0);
    // A connection from the cluster or from a proxy carries the responses of many clients.
    let shared = connection.is_shared();
    let holder = Holder { connection: (!shared).then(|| connection.number()), address: (!shared).then(|| connection.peer().ip()), person };
    let known = response.body().size_hint().exact().map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let unsent = match context.unsent.try_take(&holder, counted(known)) {
        Ok(share) => Some(share),
        Err(exhausted) => {
            response = (context.refuse)(exhausted);
            None
        }
    };
    open.is_complete = response.body().is_end_stream();
    Ok(response.map(|body| CountedBody { body: Box::pin(body), rest: Bytes::new(), unsent, known, open, wait: Wait::of_stream() }))
}

fn counted(bytes: usize) -> usize {
    if bytes > UNCOUNTED { bytes } else { 0 }
}

/// Registers a request as open until its response is written.
struct OpenRequest {
    connection: Connection,
    /// Whether the whole response was passed to hyper.
    is_complete: bool,
}

impl OpenRequest {
    fn new(connection: Connection, version: Version) -> Self {
        connection.0.activity.send_modify(|l| {
            l.open += 1;
            l.served += 1;
            l.is_http1 = version != Version::HTTP_2;
            l.head_started = false;
        });
        Self { connection, is_complete: false }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if !self.is_complete {
            self.connection.add_penalty();
        }
        self.connection.0.activity.send_modify(|l| l.open -= 1);
    }
}

/// A response body whose unread bytes are counted. It is passed to hyper in pieces, and its request is open until it is dropped.
pub(super) struct CountedBody<B> {
    body: Pin<Box<B>>,
    /// The rest of the last frame of the body.
    rest: Bytes,
    unsent: Option<Share>,
    /// The length of the body, if it is known, else 0. It is counted from the beginning.
    known: usize,
    open: OpenRequest,
    /// Only for a stream of HTTP/2, which polls for the next piece when the client has read the last one.
    wait: Option<Arc<Wait>>,
}

impl<B> CountedBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// The next piece of the rest.
    fn piece(&mut self) -> Frame<Bytes> {
        let most = if self.wait.is_some() { STREAM_PIECE } else { PIECE };
        let piece = self.rest.split_to(self.rest.len().min(most));
        if let Some(unsent) = &mut self.unsent {
            unsent.shrink(piece.len());
        }
        Frame::data(piece)
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match std::task::ready!(self.body.as_mut().poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(e)) => return Poll::Ready(Some(Err(e.into()))),
            Some(Ok(frame)) => frame,
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => {
                self.open.is_complete = true;
                return Poll::Ready(Some(Ok(trailers)));
            }
        };
        if data.len() > PIECE
            && self.known == 0
            && let Some(unsent) = &mut self.unsent
            && let Err(exhausted) = unsent.try_grow(data.len())
        {
            let text = format!("too many unread bytes of responses: {exhausted:?}");
            return Poll::Ready(Some(Err(text.into())));
        }
        self.rest = data;
        Poll::Ready(Some(Ok(self.piece())))
    }
}

impl<B> Body for CountedBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = if self.rest.is_empty() { self.next(cx) } else { Poll::Ready(Some(Ok(self.piece()))) };
        if matches!(polled, Poll::Ready(None)) || self.is_end_stream() {
            self.open.is_complete = true;
        }
        match &self.wait {
            Some(wait) if polled.is_ready() => wait.begin(),
            Some(wait) => wait.end(),
            None => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        match hint.exact() {
            Some(exact) => hint.set_exact(exact + rest),
            None => hint.set_lower(hint.lower() + rest),
        }
        hint
    }
}
