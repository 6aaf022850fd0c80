//! Reads a body within its limits of size and time, and within its share of the bytes that are arriving.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, Version, header, request::Parts},
};
use bytes::{Bytes, BytesMut};
use chassis::share::Share;
use http_body_util::BodyExt as _;
use proto::{auth::Plan, error::ErrorCode, plan};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::limits::{BodyLimits, ORDINARY, SAVE};
use crate::{
    edge::slots::Slot,
    error::{Failure, fault, share_exhausted},
    identity::sessions::Identity,
};

/// The bytes at the beginning of a body that are not counted as arriving. A small body is not counted at all.
const UNCOUNTED: usize = 16 * 1024;
/// How much longer a text may be in JSON than in storage.
const ESCAPE_FACTOR: usize = 3;
const RECEIVING: &str = "bytes that are arriving";
/// For how long the rest of a refused body is read. A connection that is closed with unread bytes may lose the response.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// Held by the large body that reads its next part. Without it, many large bodies would delay every short request.
static READING: Semaphore = Semaphore::const_new(1);

pub(super) struct BodyReader {
    limit: usize,
    timeout: Duration,
    deadline: Instant,
    content_length: Option<usize>,
    /// Whether the body may wait for its share. It may not on a connection that a proxy shares between clients: a body that is not read
    /// fills the flow-control window of the whole connection.
    may_wait: bool,
    share: Share,
}

impl BodyReader {
    pub(super) fn new(limits: &BodyLimits, parts: &Parts, max: usize) -> Result<Self, Failure> {
        let plan =
            parts.extensions.get::<Identity>().and_then(Identity::user).map_or(Plan::Free, |user| Plan::from_claims(&user.private_claims));
        // The largest save of the plan as JSON, with room for escapes.
        let limit = if max == SAVE { SAVE.min(ESCAPE_FACTOR * plan::save_bytes(plan)) } else { max };
        let timeout = if max > ORDINARY { limits.timeout * 3 } else { limits.timeout };
        let holder = parts.extensions.get::<Slot>().map(Slot::holder).unwrap_or_default();
        let share = limits.receiving.try_take(&holder, 0).map_err(|exhausted| share_exhausted(exhausted, RECEIVING))?;
        let may_wait = holder.connection.is_some() || parts.version < Version::HTTP_2;
        Ok(Self { limit, timeout, deadline: Instant::now() + timeout, content_length: content_length(&parts.headers), may_wait, share })
    }

    /// The body and its share, which is held until the request is answered. The services count the same bytes by the same shares, and
    /// refuse where this waits.
    pub(super) async fn read(mut self, mut body: Body) -> Result<(Bytes, Share), Failure> {
        if self.content_length.is_none_or(|length| length <= self.limit)
            && let Some(bytes) = self.collect(&mut body).await?
        {
            self.share.shrink(self.share.amount().saturating_sub(bytes.len()));
            return Ok((bytes, self.share));
        }
        drop(self.share);
        discard(&mut body).await;
        let text = format!("the body must be at most {} bytes", self.limit);
        Err(fault(ErrorCode::InvalidArgument, "TOO_LARGE", text).with("limit", self.limit.to_string()).into())
    }

    /// The whole body, or `None` if it is longer than the limit.
    async fn collect(&mut self, body: &mut Body) -> Result<Option<Bytes>, Failure> {
        let mut bytes = BytesMut::new();
        while let Some(frame) = tokio::time::timeout_at(self.deadline, body.frame()).await.map_err(|_| too_slow(self.timeout))? {
            let frame = frame.map_err(|error| interrupted(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            let together = bytes.len() + data.len();
            if together > self.limit {
                return Ok(None);
            }
            if together > UNCOUNTED && self.share.amount() == 0 {
                self.admit().await?;
                bytes.reserve(self.content_length.unwrap_or_default().saturating_sub(bytes.len()));
            }
            let permit = if self.share.amount() > 0 { self.read_permit().await } else { None };
            bytes.extend_from_slice(&data);
            if permit.is_some() {
                tokio::task::yield_now().await;
            }
        }
        Ok(Some(bytes.freeze()))
    }

    /// The permit to read the next part of a large body. The wait for it does not count against the client's time.
    async fn read_permit(&mut self) -> Option<SemaphorePermit<'static>> {
        let began = Instant::now();
        let permit = READING.acquire().await;
        self.deadline += began.elapsed();
        // The semaphore is never closed.
        permit.ok()
    }

    /// Takes a share for the largest size of the body at once. Bodies that hold a part and wait for more could wait for each other. Until
    /// then only the first part is read, so that a client that announces a large body and sends nothing holds no share.
    async fn admit(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        let max = self.content_length.unwrap_or(self.limit);
        let taken = if self.may_wait { self.share.grow(max, began + self.timeout).await } else { self.share.try_grow(max) };
        // The body could not arrive during the wait.
        self.deadline += began.elapsed();
        taken.map_err(|exhausted| share_exhausted(exhausted, RECEIVING))
    }
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok())
}

/// Reads the rest of a refused body for a moment.
pub(crate) async fn discard(body: &mut Body) {
    let discard = async { while body.frame().await.is_some_and(|frame| frame.is_ok()) {} };
    let _ = tokio::time::timeout(DISCARD_TIME, discard).await;
}

pub(crate) fn interrupted(error: &axum::Error) -> Failure {
    tracing::debug!(%error, "a body ended early");
    fault(ErrorCode::InvalidArgument, "BODY_BROKEN", "the body ended early").into()
}

pub(crate) fn too_slow(timeout: Duration) -> Failure {
    fault(ErrorCode::Timeout, "BODY_TIMEOUT", format!("the body must arrive within {} s", timeout.as_secs())).into()
}
