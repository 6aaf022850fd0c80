//! Tracks ended and changed sessions. auth reports them in one stream. Cached sessions are used only while that stream is up, so that a sign-out
//! takes effect here within a second. While it is down, each request with a cookie asks auth, and access tokens of programs are accepted by
//! their signature until they expire, which takes at most five minutes.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chassis::context::Context;
use proto::{
    auth::{WatchRevocationsRequest, WatchRevocationsResponse},
    id::SessionId,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::upstream::Upstream;

/// An ended session is remembered for as long as one of its tokens can be valid, with an allowance for clocks that differ.
const REMEMBERED: Duration = Duration::from_secs(6 * 60);
/// A stream that is silent for longer than this counts as down: two of auth's heartbeats are missing. auth ends the stream itself as soon
/// as it cannot read its log.
const SILENCE: Duration = Duration::from_secs(12);
/// The pause between two attempts to reach auth.
const RETRY: Duration = Duration::from_millis(250);

pub(crate) struct Revocations {
    /// Zero while the stream is down; another number each time that it comes up.
    epoch: AtomicU64,
    ended: Mutex<HashMap<SessionId, Instant>>,
    /// When this process learned that the access tokens of a session are out of date.
    outdated: Mutex<HashMap<SessionId, Instant>>,
    /// Changes with every ended session.
    changed: watch::Sender<u64>,
}

impl Revocations {
    pub(crate) fn new() -> Self {
        Self { epoch: AtomicU64::new(0), ended: Mutex::default(), outdated: Mutex::default(), changed: watch::Sender::new(0) }
    }

    /// Identifies the time since the stream came up. What was learned in another epoch may be wrong. `None` while it is down.
    pub(crate) fn epoch(&self) -> Option<u64> {
        Some(self.epoch.load(Ordering::Acquire)).filter(|epoch| *epoch != 0)
    }

    pub(crate) fn has_ended(&self, session: SessionId) -> bool {
        lock(&self.ended).contains_key(&session)
    }

    /// Whether an access token of the session may be out of date that was requested at this time.
    pub(crate) fn is_outdated(&self, session: SessionId, requested: Instant) -> bool {
        lock(&self.outdated).get(&session).is_some_and(|at| requested <= *at)
    }

    /// Records that the access tokens of a session are out of date.
    fn outdate(&self, session: SessionId, now: Instant) {
        remember(&mut lock(&self.outdated), session, now);
    }

    /// Waits until the session ends.
    pub(crate) async fn until_ended(&self, session: SessionId) {
        let mut changes = self.changed.subscribe();
        while !self.has_ended(session) {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Records an end.
    pub(crate) fn end(&self, session: SessionId, now: Instant) {
        remember(&mut lock(&self.ended), session, now);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Watches auth until `stop`.
    pub(crate) async fn watch(self: Arc<Self>, upstream: Arc<Upstream>, stop: CancellationToken) {
        let (mut cursor, mut epoch) = (0, 0);
        loop {
            epoch += 1;
            let error = stop.run_until_cancelled(self.watch_once(&upstream, &mut cursor, epoch)).await;
            self.epoch.store(0, Ordering::Release);
            let Some(error) = error else { return };
            tracing::debug!("auth's stream of revocations is down: {}", error.message());
            if stop.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
                return;
            }
        }
    }

    async fn watch_once(&self, upstream: &Upstream, cursor: &mut u64, epoch: u64) -> Status {
        let request = Context::background().stream_request(WatchRevocationsRequest { after: *cursor });
        let mut stream = match tokio::time::timeout(SILENCE, upstream.auth().watch_revocations(request)).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => return status,
            Err(_) => return Status::deadline_exceeded("no answer"),
        };
        loop {
            match tokio::time::timeout(SILENCE, stream.message()).await {
                Ok(Ok(Some(message))) => self.handle(&message, cursor, epoch),
                Ok(Ok(None)) => return Status::unavailable("the stream ended"),
                Ok(Err(status)) => return status,
                Err(_) => return Status::deadline_exceeded("no heartbeat"),
            }
        }
    }

    fn handle(&self, message: &WatchRevocationsResponse, cursor: &mut u64, epoch: u64) {
        *cursor = message.cursor;
        if let Ok(session) = message.session_id.parse() {
            self.end(session, Instant::now());
        }
        if let Ok(session) = message.changed_session_id.parse() {
            self.outdate(session, Instant::now());
        }
        self.epoch.store(epoch, Ordering::Release);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds a session, and removes those whose access tokens have all expired.
fn remember(sessions: &mut HashMap<SessionId, Instant>, session: SessionId, now: Instant) {
    sessions.retain(|_, at| now.saturating_duration_since(*at) < REMEMBERED);
    sessions.insert(session, now);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_remembered_while_a_token_may_be_valid() {
        let revocations = Revocations::new();
        let (one, other) = (SessionId::generate(), SessionId::generate());
        let now = Instant::now();
        revocations.end(one, now);
        assert!(revocations.has_ended(one) && !revocations.has_ended(other));
        revocations.end(other, now + REMEMBERED);
        assert!(!revocations.has_ended(one) && revocations.has_ended(other));
    }

    #[tokio::test]
    async fn a_wait_ends_with_the_session() {
        let revocations = Arc::new(Revocations::new());
        let session = SessionId::generate();
        let waiting = chassis::task::spawn({
            let revocations = Arc::clone(&revocations);
            async move { revocations.until_ended(session).await }
        });
        revocations.end(SessionId::generate(), Instant::now());
        revocations.end(session, Instant::now());
        waiting.await.unwrap();
        revocations.until_ended(session).await;
    }

    #[test]
    fn a_token_is_out_of_date_if_it_was_requested_before_the_change() {
        let (revocations, session, mut cursor) = (Revocations::new(), SessionId::generate(), 0);
        let before = Instant::now();
        assert!(!revocations.is_outdated(session, before));
        let changed = WatchRevocationsResponse { cursor: 7, changed_session_id: session.to_string(), ..Default::default() };
        revocations.handle(&changed, &mut cursor, 1);
        assert!(revocations.is_outdated(session, before) && !revocations.has_ended(session));
        assert!(!revocations.is_outdated(SessionId::generate(), before), "another session");
        assert!(!revocations.is_outdated(session, Instant::now() + RETRY), "requested after the change");
    }

    #[test]
    fn the_stream_is_up_after_its_first_message() {
        let revocations = Revocations::new();
        let mut cursor = 0;
        assert_eq!(revocations.epoch(), None);
        revocations.handle(&WatchRevocationsResponse { cursor: 41, ..Default::default() }, &mut cursor, 3);
        assert_eq!((revocations.epoch(), cursor), (Some(3), 41));
    }
}
