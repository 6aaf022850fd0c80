//! One request on a connection, until its answer is written or given up. What is made and not yet taken by the client counts.

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

use super::{Refuse, connection::Connection, stream::Wait};
use crate::share::{Holder, Share, Shares};

/// An answer is handed on in pieces of this size: what the library has taken, the client has taken but for so much.
const PIECE: usize = 64 * 1024;
/// The same for a stream of HTTP/2. A client that takes none in the time of [`super::Limits::write`] is slower than any that reads.
const STREAM_PIECE: usize = 16 * 1024;
/// Up to here nothing is counted.
const SMALL: usize = 16 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Whose answer it is, as an extension of the answer: what they leave unread counts for them too.
#[derive(Debug, Clone, Copy)]
pub struct OnBehalfOf(pub UserId);

/// What the requests of one connection have in common.
pub(super) struct Answering<B> {
    pub(super) connection: Connection,
    pub(super) unsent: Arc<Shares>,
    pub(super) refuse: Refuse<B>,
}

pub(super) async fn answer<S, B>(
    of: Arc<Answering<B>>,
    service: S,
    mut request: Request<Incoming>,
) -> Result<Response<Counted<B>>, Infallible>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    of.connection.0.traffic.request_started();
    let windowed = request.version() == Version::HTTP_2;
    let mut open = Open::new(of.connection.clone(), windowed);
    request.extensions_mut().insert(of.connection.clone());
    let mut response = service.oneshot(request).await?;
    let person = response.extensions_mut().remove::<OnBehalfOf>().map(|person| person.0);
    // A connection of the cluster or of a proxy carries the answers of many.
    let shared = of.connection.is_shared();
    let holder =
        Holder { connection: (!shared).then(|| of.connection.number()), address: (!shared).then(|| of.connection.peer().ip()), person };
    let known = response.body().size_hint().exact().map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let unsent = match of.unsent.try_take(&holder, counted(known)) {
        Ok(share) => Some(share),
        Err(exhausted) => {
            response = (of.refuse)(exhausted);
            None
        }
    };
    open.whole = response.body().is_end_stream();
    Ok(response.map(|body| Counted { body: Box::pin(body), rest: Bytes::new(), unsent, known, open, wait: Wait::of_stream() }))
}

fn counted(bytes: usize) -> usize {
    if bytes > SMALL { bytes } else { 0 }
}

/// One request, until its answer is written.
struct Open {
    connection: Connection,
    /// The answer is whole.
    whole: bool,
}

impl Open {
    fn new(connection: Connection, windowed: bool) -> Self {
        connection.0.load.send_modify(|l| {
            l.open += 1;
            l.served += 1;
            l.in_turn = !windowed;
            l.begun = false;
        });
        Self { connection, whole: false }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.whole {
            self.connection.count_wasted();
        }
        self.connection.0.load.send_modify(|l| l.open -= 1);
    }
}

/// An answer's body that counts as open until it is dropped, and is handed on in pieces.
pub(super) struct Counted<B> {
    body: Pin<Box<B>>,
    /// Of the last piece that the body gave.
    rest: Bytes,
    unsent: Option<Share>,
    /// Bytes that were counted at the beginning.
    known: usize,
    open: Open,
    /// Of a stream of HTTP/2, which asks for the next piece only when the client has taken the last one.
    wait: Option<Arc<Wait>>,
}

impl<B> Counted<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// The next piece of what is there already.
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
                self.open.whole = true;
                return Poll::Ready(Some(Ok(trailers)));
            }
        };
        if data.len() > PIECE
            && self.known == 0
            && let Some(unsent) = &mut self.unsent
            && let Err(exhausted) = unsent.try_grow(data.len())
        {
            let text = format!("answers hold too many unread bytes: {exhausted:?}");
            return Poll::Ready(Some(Err(text.into())));
        }
        self.rest = data;
        Poll::Ready(Some(Ok(self.piece())))
    }
}

impl<B> Body for Counted<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = if self.rest.is_empty() { self.next(cx) } else { Poll::Ready(Some(Ok(self.piece()))) };
        if matches!(polled, Poll::Ready(None)) || self.is_end_stream() {
            self.open.whole = true;
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
