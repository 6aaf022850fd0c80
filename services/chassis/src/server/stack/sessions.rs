//! The user of a request, whose session must not have ended, and response streams that end with the session.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame};
use proto::{error::Fault, id::SessionId};
use tonic::{Status, body::Body};

use super::Shared;
use crate::{identity::User, revocations::Revocations};

impl Shared {
    /// The user of the access token, if there is one. What the person had proved before a change of the session does not count: auth forgets it
    /// when the account gets another second factor.
    pub(super) async fn user(&self, headers: &HeaderMap) -> Result<Option<User>, Fault> {
        let Some(token) = bearer(headers) else { return Ok(None) };
        let mut user = self.verifier.user(token).await?;
        if let Some(revocations) = &self.revocations {
            revocations.check(user.session_id).await?;
            if revocations.is_from_before_change(user.session_id, user.issued_at) {
                user.forget_proof();
            }
        }
        Ok(Some(user))
    }

    /// Lets a response stream end with the session. Other responses are complete at once.
    pub(super) fn until_session_ends(&self, path: &str, session: Option<SessionId>, response: Response<Body>) -> Response<Body> {
        match (&self.revocations, session) {
            (Some(revocations), Some(session)) if self.methods.is_stream(path) => {
                response.map(|body| SessionBody::wrap(body, Arc::clone(revocations), session))
            }
            _ => response,
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// A response body that ends with the trailers of SESSION_ENDED when the session ends.
struct SessionBody {
    body: Body,
    revocations: Arc<Revocations>,
    session: SessionId,
    /// Wakes the task of the body when the session ends.
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_ended: bool,
}

impl SessionBody {
    fn wrap(body: Body, revocations: Arc<Revocations>, session: SessionId) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let watched = Arc::clone(&revocations);
        let ended = Box::pin(async move { watched.until_ended(session).await });
        Body::new(Self { body, revocations, session, ended, is_ended: false })
    }
}

impl HttpBody for SessionBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_ended {
            return Poll::Ready(None);
        }
        // The end comes before messages that are ready.
        if !self.revocations.has_ended(self.session) {
            if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
                return Poll::Ready(frame);
            }
            if self.ended.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        self.is_ended = true;
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        let status = Status::from(self.revocations.refusal());
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended || self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;
    use crate::identity::Caller;

    /// The code of UNAUTHENTICATED in the trailers, and then the end.
    async fn assert_refused(body: &mut Body) {
        let last = body.frame().await.expect("trailers").expect("no error");
        assert_eq!(last.trailers_ref().expect("trailers")["grpc-status"], "16");
        assert!(body.frame().await.is_none() && body.is_end_stream());
    }

    #[tokio::test]
    async fn a_body_that_always_has_messages_ends_with_the_session() {
        let (revocations, session) = (Arc::new(Revocations::new(Caller::Auth)), SessionId::generate());
        let endless = stream::repeat_with(|| Ok::<_, Status>(Frame::data(Bytes::from_static(b"x"))));
        let mut body = SessionBody::wrap(Body::new(StreamBody::new(endless)), Arc::clone(&revocations), session);
        for _ in 0..3 {
            revocations.end(SessionId::generate(), Instant::now());
            assert!(body.frame().await.expect("a frame").expect("no error").is_data());
        }
        revocations.end(session, Instant::now());
        assert_refused(&mut body).await;
    }

    #[tokio::test]
    async fn a_silent_body_ends_with_the_session() {
        let (revocations, session) = (Arc::new(Revocations::new(Caller::Auth)), SessionId::generate());
        let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Status>>());
        let mut body = SessionBody::wrap(Body::new(silent), Arc::clone(&revocations), session);
        let read = async { assert_refused(&mut body).await };
        let end = async { revocations.end(session, Instant::now()) };
        tokio::join!(read, end);
    }
}
