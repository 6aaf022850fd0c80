//! Passes the body of a request on to a service, in messages, as it arrives.

use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::{SinkExt as _, channel::mpsc::Sender};
use http_body_util::BodyExt as _;
use tokio::time::timeout_at;

use super::receive::{discard, interrupted, too_slow};
use crate::error::Failure;

/// Bytes of a message, except the last one. A body may arrive in frames of any size.
const MESSAGE_BYTES: usize = 64 * 1024;
/// The least speed of a body whose length is not known.
const BYTES_PER_SECOND: u64 = 64 * 1024;

/// When a body must have arrived.
pub(crate) enum Pace {
    /// The whole body within this time after the beginning of the request.
    Within(Instant, Duration),
    /// Some bytes within each such time, and 64 KiB a second at least. The time for which the service does not read does not count.
    Steady(Instant, Duration),
}

impl Pace {
    /// When the next bytes must arrive, after so many. The last ones have just arrived, or were just sent on.
    fn until(&self, received: u64) -> Instant {
        match self {
            Self::Within(start, time) => *start + *time,
            Self::Steady(start, time) => {
                let paced = *start + *time + Duration::from_millis(received.saturating_mul(1000) / BYTES_PER_SECOND);
                paced.min(Instant::now() + *time)
            }
        }
    }

    fn late(&self) -> Failure {
        let (Self::Within(_, time) | Self::Steady(_, time)) = self;
        too_slow(*time)
    }

    /// Sends a message. Returns whether the service still reads.
    async fn send<M>(&mut self, messages: &mut Sender<M>, message: M) -> Result<bool, Failure> {
        let began = Instant::now();
        match self {
            Self::Within(start, time) => {
                let sent = timeout_at((*start + *time).into(), messages.send(message)).await;
                sent.map(|sent| sent.is_ok()).map_err(|_| self.late())
            }
            Self::Steady(start, _) => {
                let is_read = messages.send(message).await.is_ok();
                *start += began.elapsed();
                Ok(is_read)
            }
        }
    }
}

/// Passes a body on. While the service does not read, the body is not read either. If the service has answered before the end, the rest of
/// the body is read for a moment, because a connection that is closed with unread bytes may lose the answer.
pub(crate) async fn forward<M>(
    mut body: Body,
    messages: &mut Sender<M>,
    mut pace: Pace,
    message: impl Fn(Bytes) -> M,
) -> Result<(), Failure> {
    let (mut part, mut received) = (BytesMut::new(), 0);
    while let Some(frame) = timeout_at(pace.until(received).into(), body.frame()).await.map_err(|_| pace.late())? {
        let Ok(data) = frame.map_err(|error| interrupted(&error))?.into_data() else { continue };
        received += data.len() as u64;
        part.extend_from_slice(&data);
        while part.len() >= MESSAGE_BYTES {
            let data = part.split_to(MESSAGE_BYTES).freeze();
            if !pace.send(messages, message(data)).await? {
                discard(&mut body).await;
                return Ok(());
            }
        }
    }
    if !part.is_empty() {
        pace.send(messages, message(part.freeze())).await?;
    }
    Ok(())
}
