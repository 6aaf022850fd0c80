//! A body that is on its way: how large it may be, how long it may take, and its part of the bytes that are arriving.

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

use super::{ORDINARY, SAVE};
use crate::{
    app::App,
    auth::Identity,
    error::{Failure, fault},
    place::{self, Place},
};

/// Bytes of a body that are not counted among those that are arriving: its first part, and all of a small one.
const UNCOUNTED: usize = 16 * 1024;
/// How much longer a text may be as JSON than as it is stored.
const ESCAPED: usize = 3;
const RECEIVING: &str = "bytes that are arriving";
/// A refused body is read on for a moment, since closing on unread bytes would take the answer away from the sender.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// One large body at a time reads its next part. Without this, many large bodies delay every short request.
static READING: Semaphore = Semaphore::const_new(1);

pub(super) struct Arriving {
    limit: usize,
    time: Duration,
    until: Instant,
    announced: Option<usize>,
    /// Whether its connection is the client's own. One of a proxy may carry the requests of everybody and has one window, which a
    /// body that waits unread would fill.
    waits: bool,
    share: Share,
}

impl Arriving {
    pub(super) fn new(app: &App, parts: &Parts, most: usize) -> Result<Self, Failure> {
        let plan = parts.extensions.get::<Identity>().and_then(Identity::user).map_or(Plan::Unspecified, |user| user.plan);
        // What JSON makes of a save that is as large as the plan allows, with room for escapes.
        let limit = if most == SAVE { SAVE.min(ESCAPED * plan::save_bytes(plan)) } else { most };
        let time = if most > ORDINARY { app.config.body_timeout * 3 } else { app.config.body_timeout };
        let holder = parts.extensions.get::<Place>().map(Place::holder).unwrap_or_default();
        let share = app.receiving.try_take(&holder, 0).map_err(|exhausted| place::refusal(exhausted, RECEIVING))?;
        let waits = holder.connection.is_some() || parts.version < Version::HTTP_2;
        Ok(Self { limit, time, until: Instant::now() + time, announced: announced(&parts.headers), waits, share })
    }

    /// The body, and what it holds until the request is answered: the services count the same bytes by the same shares and refuse
    /// where this waits.
    pub(super) async fn read(mut self, mut body: Body) -> Result<(Bytes, Share), Failure> {
        if self.announced.is_none_or(|length| length <= self.limit)
            && let Some(bytes) = self.collect(&mut body).await?
        {
            self.share.shrink(self.share.amount().saturating_sub(bytes.len()));
            return Ok((bytes, self.share));
        }
        drop(self.share);
        let discard = async { while body.frame().await.is_some_and(|frame| frame.is_ok()) {} };
        let _ = tokio::time::timeout(DISCARD_TIME, discard).await;
        let text = format!("the body must be at most {} bytes", self.limit);
        Err(fault(ErrorCode::InvalidArgument, "TOO_LARGE", text).with("limit", self.limit.to_string()).into())
    }

    /// The whole body, or nothing if it is longer than the limit.
    async fn collect(&mut self, body: &mut Body) -> Result<Option<Bytes>, Failure> {
        let mut bytes = BytesMut::new();
        while let Some(frame) = tokio::time::timeout_at(self.until, body.frame()).await.map_err(|_| too_slow(self.time))? {
            let frame = frame.map_err(|error| broken(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            let together = bytes.len() + data.len();
            if together > self.limit {
                return Ok(None);
            }
            if together > UNCOUNTED && self.share.amount() == 0 {
                self.admit().await?;
                bytes.reserve(self.announced.unwrap_or_default().saturating_sub(bytes.len()));
            }
            let turn = if self.share.amount() > 0 { self.turn().await } else { None };
            bytes.extend_from_slice(&data);
            if turn.is_some() {
                tokio::task::yield_now().await;
            }
        }
        Ok(Some(bytes.freeze()))
    }

    /// The turn to read the next part of a large body. The wait for it is not the client's.
    async fn turn(&mut self) -> Option<SemaphorePermit<'static>> {
        let began = Instant::now();
        let turn = READING.acquire().await;
        self.until += began.elapsed();
        // It is never closed.
        turn.ok()
    }

    /// Takes all that the body can be at once: whoever held a part and waited for more could wait for others who do the same. Until
    /// then no more than its first part is read, so that who announces much and sends nothing holds up nobody.
    async fn admit(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        let most = self.announced.unwrap_or(self.limit);
        let taken = if self.waits { self.share.grow(most, began + self.time).await } else { self.share.try_grow(most) };
        // It could not arrive in that time.
        self.until += began.elapsed();
        taken.map_err(|exhausted| place::refusal(exhausted, RECEIVING))
    }
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok())
}

fn broken(error: &axum::Error) -> Failure {
    tracing::debug!(%error, "a body ended early");
    fault(ErrorCode::InvalidArgument, "BODY_BROKEN", "the body ended early").into()
}

fn too_slow(time: Duration) -> Failure {
    fault(ErrorCode::Timeout, "BODY_TIMEOUT", format!("the body must arrive within {} s", time.as_secs())).into()
}
