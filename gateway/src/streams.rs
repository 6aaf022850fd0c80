//! How many event streams each person has open here, and how often they open one: each is read from its beginning or from a cursor,
//! which the policy `general` does not count. A stream is open until its body is dropped.

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
    error::{Failure, fault},
    limit,
};

/// The policy of how many are open.
pub(crate) const POLICY: &str = "streams";
/// The policy of how often streams are opened.
pub(crate) const OPENINGS: &str = "openings";
/// In which the policy [`OPENINGS`] counts.
const WINDOW: Duration = Duration::from_secs(10);
/// People who are kept before those without a stream are looked for.
const KEPT: usize = 1024;

#[derive(Debug)]
pub(crate) struct Streams {
    limit: u32,
    /// In the window, all at once or one after the other.
    openings: u32,
    people: Mutex<People>,
}

#[derive(Debug)]
struct People {
    by: HashMap<UserId, Opened>,
    /// How many there may be before the next look at them.
    most: usize,
}

/// What one person has opened.
#[derive(Debug)]
struct Opened {
    open: u32,
    /// When all openings so far are forgotten; each of them takes an equal part of the window.
    forgotten: Instant,
}

impl Opened {
    fn matters(&self, now: Instant) -> bool {
        self.open > 0 || self.forgotten > now
    }
}

impl Streams {
    pub(crate) fn new(limit: u32, openings: u32) -> Arc<Self> {
        Arc::new(Self { limit, openings, people: Mutex::new(People { by: HashMap::new(), most: KEPT }) })
    }

    /// Counts one more.
    ///
    /// # Errors
    /// RATE_LIMITED by the policy `streams` or `openings`.
    pub(crate) fn open(self: &Arc<Self>, user: UserId) -> Result<OpenStream, Failure> {
        self.open_at(user, Instant::now())
    }

    fn open_at(self: &Arc<Self>, user: UserId, now: Instant) -> Result<OpenStream, Failure> {
        let mut people = self.lock();
        people.tidy(now);
        let opened = people.by.entry(user).or_insert(Opened { open: 0, forgotten: now });
        if opened.open >= self.limit {
            return Err(self.refusal());
        }
        let forgotten = opened.forgotten.max(now) + WINDOW / self.openings;
        if let Some(wait) = (forgotten - now).checked_sub(WINDOW).filter(|wait| !wait.is_zero()) {
            return Err(limit::refusal(OPENINGS, self.openings, WINDOW, wait));
        }
        *opened = Opened { open: opened.open + 1, forgotten };
        Ok(OpenStream { streams: Arc::clone(self), user })
    }

    fn lock(&self) -> MutexGuard<'_, People> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self) -> Failure {
        let text = format!("policy `{POLICY}` allows {} open at once; close an event stream", self.limit);
        let mut fault = fault(ErrorCode::RateLimited, "RATE_LIMITED", text)
            .retry_after(Duration::from_secs(1))
            .with("policy", POLICY)
            .with("limit", self.limit.to_string())
            .with("remaining", "0");
        fault.quota = vec![QuotaViolation { policy: POLICY.to_owned(), description: format!("{} open at once", self.limit) }];
        fault.into()
    }
}

/// One open stream.
#[derive(Debug)]
pub(crate) struct OpenStream {
    streams: Arc<Streams>,
    user: UserId,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if let Some(opened) = self.streams.lock().by.get_mut(&self.user) {
            opened.open -= 1;
        }
    }
}

impl People {
    fn tidy(&mut self, now: Instant) {
        if self.by.len() >= self.most {
            self.by.retain(|_, opened| opened.matters(now));
            self.most = KEPT.max(2 * self.by.len());
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
        let streams = Streams::new(2, 1000);
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
        let streams = Streams::new(64, 60);
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
    fn people_without_streams_are_forgotten() {
        let (streams, begun) = (Streams::new(64, 60), Instant::now());
        let _kept = streams.open_at(UserId::generate(), begun).unwrap();
        for second in 0..5 * KEPT {
            drop(streams.open_at(UserId::generate(), begun + Duration::from_secs(second as u64)).unwrap());
        }
        let people = streams.lock();
        assert!(people.by.len() <= KEPT + 1 && people.by.values().any(|opened| opened.open == 1), "{}", people.by.len());
    }
}
