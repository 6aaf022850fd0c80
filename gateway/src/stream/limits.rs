//! How many event streams each person may have open at this gateway, and how often they may open one. The policy `general` does not count
//! event streams. A stream is open until its body is dropped.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use proto::{
    error::{ErrorCode, QuotaViolation},
    id::UserId,
};

use crate::{
    edge::rate_limit,
    error::{Failure, fault},
};

/// The policy of how many streams are open.
pub(crate) const STREAMS: &str = "streams";
/// The policy of how often streams are opened.
pub(crate) const OPENINGS: &str = "openings";
/// The window of the policy [`OPENINGS`].
const WINDOW: Duration = Duration::from_secs(10);
/// From this number of entries on, those without a stream are removed.
const MIN_ENTRIES: usize = 1024;

#[derive(Debug)]
pub(crate) struct StreamLimits {
    limit: u32,
    /// Openings in the window.
    openings: u32,
    users: Mutex<Users>,
}

#[derive(Debug)]
struct Users {
    streams: HashMap<UserId, UserStreams>,
    /// How many entries there may be before the next clean-up.
    max: usize,
}

/// The streams of one person.
#[derive(Debug)]
struct UserStreams {
    open: u32,
    /// When all openings so far have left the window. Each opening takes an equal part of the window.
    window_free_at: Instant,
}

impl UserStreams {
    fn is_active(&self, now: Instant) -> bool {
        self.open > 0 || self.window_free_at > now
    }
}

impl StreamLimits {
    pub(crate) fn new(limit: u32, openings: u32) -> Arc<Self> {
        Arc::new(Self { limit, openings, users: Mutex::new(Users { streams: HashMap::new(), max: MIN_ENTRIES }) })
    }

    /// Counts one more stream.
    ///
    /// # Errors
    /// RATE_LIMITED by the policy `streams` or `openings`.
    pub(crate) fn open(self: &Arc<Self>, user: UserId) -> Result<StreamPermit, Failure> {
        self.open_at(user, Instant::now())
    }

    fn open_at(self: &Arc<Self>, user: UserId, now: Instant) -> Result<StreamPermit, Failure> {
        let mut users = self.lock();
        users.clean_up(now);
        let streams = users.streams.entry(user).or_insert(UserStreams { open: 0, window_free_at: now });
        if streams.open >= self.limit {
            return Err(self.refusal());
        }
        let window_free_at = streams.window_free_at.max(now) + WINDOW / self.openings;
        if let Some(wait) = (window_free_at - now).checked_sub(WINDOW).filter(|wait| !wait.is_zero()) {
            return Err(rate_limit::exceeded(OPENINGS, self.openings, WINDOW, wait));
        }
        *streams = UserStreams { open: streams.open + 1, window_free_at };
        Ok(StreamPermit { limits: Arc::clone(self), user })
    }

    fn lock(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self) -> Failure {
        let text = format!("policy `{STREAMS}` allows {} open at once; close an event stream", self.limit);
        let mut fault = fault(ErrorCode::RateLimited, "RATE_LIMITED", text)
            .retry_after(Duration::from_secs(1))
            .with("policy", STREAMS)
            .with("limit", self.limit.to_string())
            .with("remaining", "0");
        fault.quota = vec![QuotaViolation { policy: STREAMS.to_owned(), description: format!("{} open at once", self.limit) }];
        fault.into()
    }
}

/// Held by one open stream.
#[derive(Debug)]
pub(crate) struct StreamPermit {
    limits: Arc<StreamLimits>,
    user: UserId,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        if let Some(streams) = self.limits.lock().streams.get_mut(&self.user) {
            streams.open -= 1;
        }
    }
}

impl Users {
    fn clean_up(&mut self, now: Instant) {
        if self.streams.len() >= self.max {
            self.streams.retain(|_, streams| streams.is_active(now));
            self.max = MIN_ENTRIES.max(2 * self.streams.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(refused: &Failure) -> &str {
        &refused.0.metadata["policy"]
    }

    #[test]
    fn streams_are_counted_per_person_until_they_close() {
        let streams = StreamLimits::new(2, 1000);
        let (one, other) = (UserId::generate(), UserId::generate());
        let first = streams.open(one).unwrap();
        let _second = streams.open(one).unwrap();
        assert_eq!(policy(&streams.open(one).unwrap_err()), "streams");
        let theirs = streams.open(other).unwrap();
        drop((first, theirs));
        let _third = streams.open(one).unwrap();
    }

    #[test]
    fn openings_are_counted_whether_or_not_streams_stay_open() {
        let streams = StreamLimits::new(64, 60);
        let (one, other, begun) = (UserId::generate(), UserId::generate(), Instant::now());
        let opened = |seconds: f64| {
            let at = begun + Duration::from_secs_f64(seconds);
            (0..1000).take_while(|_| streams.open_at(one, at).is_ok()).count()
        };
        assert_eq!(opened(0.0), 60);
        let refused = streams.open_at(one, begun).unwrap_err();
        assert_eq!((policy(&refused), refused.0.reason.as_str()), ("openings", "RATE_LIMITED"));
        assert!(refused.0.retry_after.is_some_and(|wait| wait > Duration::ZERO && wait <= WINDOW / 60));
        drop(streams.open_at(other, begun).unwrap());
        assert_eq!((opened(1.0), opened(1.0)), (6, 0));
        assert_eq!((opened(30.0), opened(30.1)), (60, 0));
    }

    #[test]
    fn entries_without_streams_are_removed() {
        let (streams, begun) = (StreamLimits::new(64, 60), Instant::now());
        let _kept = streams.open_at(UserId::generate(), begun).unwrap();
        for second in 0..5 * MIN_ENTRIES {
            drop(streams.open_at(UserId::generate(), begun + Duration::from_secs(second as u64)).unwrap());
        }
        let users = streams.lock();
        let found = users.streams.len();
        assert!(found <= MIN_ENTRIES + 1 && users.streams.values().any(|streams| streams.open == 1), "{found}");
    }
}
