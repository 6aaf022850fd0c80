//! Tracks ended and changed sessions. auth reports them in one stream, which the gateway and the services that programs call follow. While the
//! stream is up, an end takes effect here within a second. While it is down, what was cached may be wrong ([`Revocations::epoch`]), and access
//! tokens are accepted by their signature until they expire, which takes at most five minutes. That is logged, and the metric
//! `backlot.revocations.up` is 0.
//!
//! A process accepts no access token before it has read the ends of the last minutes once, whatever auth answers instead. Without auth it has no
//! keys for their signatures either.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::{KeyValue, global};
use proto::{
    auth::{WatchRevocationsRequest, WatchRevocationsResponse, auth_service_client::AuthServiceClient},
    error::{ErrorCode, Fault},
    id::SessionId,
};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    client::ServiceChannel,
    context::Context,
    identity::{Caller, LEEWAY_SECONDS, unix_now},
};

/// auth sends a message about this often: a few bytes for each process that follows it, so [`SILENCE`] can be short.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// A stream that is silent for longer than this counts as down: a heartbeat is missing, since auth reads its log every half second. A
/// connection whose bytes are lost without a reset is noticed by this alone. auth ends the stream itself as soon as it cannot read its log.
pub const SILENCE: Duration = Duration::from_secs(3);
/// An ended session is remembered for as long as one of its tokens can be valid, with an allowance for clocks that differ.
const REMEMBERED: Duration = Duration::from_secs(6 * 60);
/// Forgotten sessions are removed at most this often: a removal reads all that are remembered.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);
/// The pause between two attempts to reach auth.
const RETRY: Duration = Duration::from_millis(250);

/// The ended and changed sessions of the last minutes, for one role.
pub struct Revocations {
    role: Caller,
    /// Zero while the stream is down; another number each time that it comes up.
    epoch: AtomicU64,
    /// Whether the ends of the last minutes were read once.
    known: watch::Sender<bool>,
    ended: Mutex<Recent>,
    /// When this process learned that the access tokens of a session are out of date.
    outdated: Mutex<Recent>,
    /// Changes with every ended session.
    changed: watch::Sender<u64>,
}

/// Sessions, each with the moment at which this process learned of its end or change.
#[derive(Debug, Default)]
struct Recent {
    sessions: HashMap<SessionId, Instant>,
    /// When those whose access tokens have all expired were last removed.
    forgotten_at: Option<Instant>,
}

impl Recent {
    fn remember(&mut self, session: SessionId, now: Instant) {
        if self.forgotten_at.is_none_or(|at| now.saturating_duration_since(at) >= FORGET_INTERVAL) {
            self.sessions.retain(|_, at| now.saturating_duration_since(*at) < REMEMBERED);
            self.forgotten_at = Some(now);
        }
        self.sessions.insert(session, now);
    }
}

/// The position in auth's log.
#[derive(Debug, Default)]
struct Position {
    /// Of the last message.
    cursor: u64,
    /// The end of the log when the stream began. What comes before it ended earlier.
    backlog_end: u64,
}

impl Revocations {
    #[must_use]
    pub fn new(role: Caller) -> Self {
        Self {
            role,
            epoch: AtomicU64::new(0),
            known: watch::Sender::new(false),
            ended: Mutex::default(),
            outdated: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// Identifies the time since the stream came up. What was learned in another epoch may be wrong. `None` while it is down.
    pub fn epoch(&self) -> Option<u64> {
        Some(self.epoch.load(Ordering::Acquire)).filter(|epoch| *epoch != 0)
    }

    /// Whether the ends of the last minutes were read once.
    pub fn is_known(&self) -> bool {
        *self.known.borrow()
    }

    /// Waits a moment until the ends of the last minutes are known.
    ///
    /// # Errors
    /// UNAVAILABLE while they are not.
    pub async fn until_known(&self) -> Result<(), Fault> {
        if self.is_known() {
            return Ok(());
        }
        let mut known = self.known.subscribe();
        if timeout(SILENCE, known.wait_for(|known| *known)).await.is_ok() {
            return Ok(());
        }
        let text = "auth has not said yet which sessions have ended";
        Err(Fault::new(self.role.name(), ErrorCode::Unavailable, "UNAVAILABLE", text).retry_after(RETRY))
    }

    /// Refuses the session of an access token if it has ended.
    ///
    /// # Errors
    /// SESSION_ENDED, and UNAVAILABLE as with [`Self::until_known`].
    pub async fn check(&self, session: SessionId) -> Result<(), Fault> {
        self.until_known().await?;
        if self.has_ended(session) { Err(self.refusal()) } else { Ok(()) }
    }

    /// The refusal of an ended session.
    #[must_use]
    pub fn refusal(&self) -> Fault {
        Fault::new(self.role.name(), ErrorCode::Unauthenticated, "SESSION_ENDED", "the session has ended; sign in again")
    }

    /// Whether the session has ended, as far as this process knows.
    pub fn has_ended(&self, session: SessionId) -> bool {
        lock(&self.ended).sessions.contains_key(&session)
    }

    /// Whether an access token of the session may be out of date that was requested at this time.
    pub fn is_outdated(&self, session: SessionId, requested: Instant) -> bool {
        lock(&self.outdated).sessions.get(&session).is_some_and(|at| requested <= *at)
    }

    /// Whether an access token may be from before a change of its session. The clock of auth may be ahead by [`LEEWAY_SECONDS`]. `issued_at` is in
    /// seconds since 1970.
    pub fn is_from_before_change(&self, session: SessionId, issued_at: u64) -> bool {
        let age = Duration::from_secs(unix_now().saturating_sub(issued_at) + LEEWAY_SECONDS);
        self.has_changed_within(session, age, Instant::now())
    }

    /// Whether this process has learned of a change of the session in the time of this length before `now`.
    fn has_changed_within(&self, session: SessionId, age: Duration, now: Instant) -> bool {
        lock(&self.outdated).sessions.get(&session).is_some_and(|at| now.saturating_duration_since(*at) <= age)
    }

    /// Records that the access tokens of a session are out of date.
    fn outdate(&self, session: SessionId, now: Instant) {
        lock(&self.outdated).remember(session, now);
    }

    /// Waits until the session ends.
    pub async fn until_ended(&self, session: SessionId) {
        let mut changes = self.changed.subscribe();
        while !self.has_ended(session) {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Records an end.
    pub fn end(&self, session: SessionId, now: Instant) {
        lock(&self.ended).remember(session, now);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Follows auth until `stop`.
    pub async fn follow(self: Arc<Self>, auth: ServiceChannel, stop: CancellationToken) {
        self.observe();
        let (mut position, mut epoch) = (Position::default(), 0);
        // Until the stream was up once, auth may still start.
        let mut is_reported = true;
        loop {
            epoch += 1;
            let error = stop.run_until_cancelled(self.follow_once(&auth, &mut position, epoch)).await;
            let was_up = self.epoch.swap(0, Ordering::AcqRel) != 0;
            let Some(error) = error else { return };
            is_reported &= !was_up;
            // A replica that stops ends its streams. Usually another one takes over, or this process stops, too.
            let is_expected = was_up && is_draining(&error);
            if !(is_reported || is_expected) {
                is_reported = true;
                let (role, error) = (self.role.name(), error.message());
                tracing::warn!(role, "auth's stream of ended sessions is down; access tokens count until they expire: {error}");
            } else {
                tracing::debug!(role = self.role.name(), "auth's stream of ended sessions is down: {}", error.message());
            }
            if stop.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
                return;
            }
        }
    }

    async fn follow_once(&self, auth: &ServiceChannel, position: &mut Position, epoch: u64) -> Status {
        let request = Context::background().stream_request(WatchRevocationsRequest { after: position.cursor });
        let mut stream = match timeout(SILENCE, AuthServiceClient::new(auth.clone()).watch_revocations(request)).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => return status,
            Err(_) => return Status::deadline_exceeded("no answer"),
        };
        position.backlog_end = 0;
        loop {
            match timeout(SILENCE, stream.message()).await {
                Ok(Ok(Some(message))) => self.handle(&message, position, epoch),
                Ok(Ok(None)) => return Status::unavailable("the stream ended"),
                Ok(Err(status)) => return status,
                Err(_) => return Status::deadline_exceeded("no heartbeat"),
            }
        }
    }

    fn handle(&self, message: &WatchRevocationsResponse, position: &mut Position, epoch: u64) {
        position.cursor = message.cursor;
        position.backlog_end = position.backlog_end.max(message.backlog_end);
        if let Ok(session) = message.session_id.parse() {
            self.end(session, Instant::now());
        }
        if let Ok(session) = message.changed_session_id.parse() {
            self.outdate(session, Instant::now());
        }
        if position.cursor >= position.backlog_end {
            self.epoch.store(epoch, Ordering::Release);
            self.set_known();
        }
    }

    fn set_known(&self) {
        self.known.send_if_modified(|known| !std::mem::replace(known, true));
    }

    /// Registers the metric of the stream.
    fn observe(self: &Arc<Self>) {
        let (revocations, role) = (Arc::downgrade(self), KeyValue::new("role", self.role.name()));
        global::meter("backlot")
            .u64_observable_gauge("backlot.revocations.up")
            .with_description("whether the role follows auth's stream of ended sessions")
            .with_callback(move |gauge| {
                if let Some(revocations) = revocations.upgrade() {
                    gauge.observe(u64::from(revocations.epoch().is_some()), std::slice::from_ref(&role));
                }
            })
            .build();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_draining(status: &Status) -> bool {
    Fault::from_status(status).reason == "DRAINING"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revocations() -> Revocations {
        Revocations::new(Caller::Gateway)
    }

    #[test]
    fn an_end_is_remembered_while_a_token_may_be_valid() {
        let revocations = revocations();
        let (one, other) = (SessionId::generate(), SessionId::generate());
        let now = Instant::now();
        revocations.end(one, now);
        assert!(revocations.has_ended(one) && !revocations.has_ended(other));
        revocations.end(other, now + REMEMBERED);
        assert!(!revocations.has_ended(one) && revocations.has_ended(other));
    }

    #[tokio::test]
    async fn a_wait_ends_with_the_session() {
        let revocations = Arc::new(revocations());
        let session = SessionId::generate();
        let waiting = crate::task::spawn({
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
        let (revocations, session, mut position) = (revocations(), SessionId::generate(), Position::default());
        let before = Instant::now();
        assert!(!revocations.is_outdated(session, before));
        let changed = WatchRevocationsResponse { cursor: 7, changed_session_id: session.to_string(), ..Default::default() };
        revocations.handle(&changed, &mut position, 1);
        assert!(revocations.is_outdated(session, before) && !revocations.has_ended(session));
        assert!(!revocations.is_outdated(SessionId::generate(), before), "another session");
        assert!(!revocations.is_outdated(session, Instant::now() + RETRY), "requested after the change");
    }

    #[test]
    fn a_token_is_from_before_a_change_also_if_its_clock_is_ahead() {
        let (revocations, session, now) = (revocations(), SessionId::generate(), Instant::now());
        assert!(!revocations.is_from_before_change(session, 0), "nothing has changed");
        revocations.outdate(session, now);
        for issued_at in [0, unix_now(), unix_now() + LEEWAY_SECONDS] {
            assert!(revocations.is_from_before_change(session, issued_at), "{issued_at}");
        }
        assert!(!revocations.is_from_before_change(SessionId::generate(), 0), "another session");
        let leeway = Duration::from_secs(LEEWAY_SECONDS);
        assert!(revocations.has_changed_within(session, leeway, now + leeway));
        assert!(!revocations.has_changed_within(session, leeway, now + leeway + RETRY), "a new token, some time after the change");
        assert!(revocations.has_changed_within(session, leeway + RETRY, now + leeway + RETRY), "an old token at the same time");
    }

    #[tokio::test]
    async fn the_stream_is_up_after_the_ends_before_it() {
        let (revocations, session, mut position) = (revocations(), SessionId::generate(), Position::default());
        assert_eq!((revocations.epoch(), revocations.is_known()), (None, false));
        let first = WatchRevocationsResponse { cursor: 40, backlog_end: 41, ..Default::default() };
        revocations.handle(&first, &mut position, 3);
        assert_eq!((revocations.epoch(), revocations.is_known()), (None, false), "one end is missing");
        let end = WatchRevocationsResponse { cursor: 41, session_id: session.to_string(), ..Default::default() };
        revocations.handle(&end, &mut position, 3);
        assert_eq!((revocations.epoch(), revocations.is_known(), position.cursor), (Some(3), true, 41));
        assert_eq!(revocations.check(session).await.expect_err("ended").reason, "SESSION_ENDED");
        revocations.check(SessionId::generate()).await.expect("another session");
    }

    #[test]
    fn the_stream_of_a_release_without_the_end_of_the_backlog_is_up_after_its_first_message() {
        let (revocations, mut position) = (revocations(), Position::default());
        revocations.handle(&WatchRevocationsResponse { cursor: 41, ..Default::default() }, &mut position, 3);
        assert_eq!((revocations.epoch(), position.cursor), (Some(3), 41));
    }

    #[tokio::test]
    async fn a_token_is_refused_until_the_ends_before_the_start_are_known() {
        let revocations = revocations();
        let fault = revocations.check(SessionId::generate()).await.expect_err("unknown");
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unavailable, "UNAVAILABLE"));
        assert!(fault.retry_after.is_some());
    }
}
