//! The keys of access tokens that a service reads from auth. A key that auth has retired must not be trusted for as long as the process runs,
//! so they are read again when they are old.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use proto::{
    auth::{GetKeySetRequest, JsonWebKey, auth_service_client::AuthServiceClient},
    error::{ErrorCode, Fault},
};
use tokio::{sync::watch, time::timeout};

use crate::{client::ServiceChannel, context::Context, identity::Caller};

/// The keys are read again after this time. It is the age that auth publishes them with.
const MAX_AGE: Duration = Duration::from_secs(300);
/// While auth does not answer, the keys count until this age.
const MAX_AGE_WITHOUT_AUTH: Duration = Duration::from_secs(60 * 60);
/// A check of a token waits this long for an answer of auth while it has keys, old as they are.
const PATIENCE: Duration = Duration::from_secs(1);
/// The pause after an attempt to read them again that failed.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// The least time between two requests because of unknown key ids, on average.
const LOOK_UP_AFTER: Duration = Duration::from_secs(1);
/// So many of these requests need no time between them. So a key that signs at once is known at its first token, even if another unknown id was
/// looked up just before, or a replica of auth answered that did not have the key yet.
const LOOK_UPS_AT_ONCE: u32 = 5;

pub(super) struct RemoteKeys {
    me: Caller,
    channel: ServiceChannel,
    published: watch::Sender<Vec<JsonWebKey>>,
    times: Mutex<Times>,
    /// Locked during a request, so that concurrent checks send one.
    request: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Times {
    /// When auth was asked for the keys that are known.
    fetched: Option<Instant>,
    /// When an attempt to read them again failed.
    failed: Option<Instant>,
    /// The end of the time that the requests so far would take at one each [`LOOK_UP_AFTER`].
    paced: Option<Instant>,
    /// Whether auth has not answered the last request.
    is_unanswered: bool,
}

/// The keys may not be read now, and it is unknown whether auth has newer ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unanswered;

impl Times {
    /// Whether the known keys are older than `limit`.
    fn are_older_than(self, limit: Duration, now: Instant) -> bool {
        self.fetched.is_some_and(|at| now.saturating_duration_since(at) >= limit)
    }

    /// Whether the known keys have to be read again.
    fn are_due(self, now: Instant) -> bool {
        let may_ask = self.failed.is_none_or(|at| now.saturating_duration_since(at) >= RETRY_AFTER);
        may_ask && self.are_older_than(MAX_AGE, now)
    }

    /// Whether a check of a token that has met an unknown key id at `met` may read the keys: they were read before, and not too often.
    ///
    /// # Errors
    /// It may not, because auth was asked too often, and did not answer the last time.
    fn may_look_up(self, met: Instant, now: Instant) -> Result<bool, Unanswered> {
        if self.fetched.is_some_and(|at| at >= met) {
            return Ok(false);
        }
        let ahead = self.paced.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let may = ahead <= LOOK_UP_AFTER * (LOOK_UPS_AT_ONCE - 1);
        if !may && self.is_unanswered { Err(Unanswered) } else { Ok(may) }
    }

    /// When auth is asked at `asked`.
    fn after_request(self, asked: Instant) -> Self {
        let paced = self.paced.map_or(asked, |at| at.max(asked)) + LOOK_UP_AFTER;
        Self { paced: Some(paced), is_unanswered: true, ..self }
    }

    /// After auth has answered what it was asked at `asked`.
    fn after_answer(self, asked: Instant) -> Self {
        Self { fetched: Some(asked), failed: None, is_unanswered: false, ..self }
    }
}

impl RemoteKeys {
    pub(super) fn new(me: Caller, channel: ServiceChannel) -> Self {
        Self { me, channel, published: watch::Sender::new(Vec::new()), times: Mutex::default(), request: tokio::sync::Mutex::default() }
    }

    /// The keys that are known.
    pub(super) fn published(&self) -> watch::Receiver<Vec<JsonWebKey>> {
        self.published.subscribe()
    }

    /// Reads the keys again if they are old. While auth does not answer, the known ones stay for an hour.
    ///
    /// # Errors
    /// UNAVAILABLE after this hour.
    pub(super) async fn renew(&self) -> Result<(), Fault> {
        if self.times().are_due(Instant::now()) {
            let answered = timeout(PATIENCE, self.fetch_if(|times| Ok(times.are_due(Instant::now())))).await;
            let problem = match answered {
                Ok(Ok(())) => None,
                Ok(Err(fault)) => Some(fault.message),
                Err(_) => Some("auth did not answer in time".to_owned()),
            };
            if let Some(problem) = problem {
                self.times().failed = Some(Instant::now());
                tracing::warn!(role = self.me.name(), "the keys of access tokens could not be read again; the known ones stay: {problem}");
            }
        }
        if self.times().are_older_than(MAX_AGE_WITHOUT_AUTH, Instant::now()) {
            return Err(self.unavailable("they are too old"));
        }
        Ok(())
    }

    /// Reads the keys because one is not known, unless auth was asked often in the last seconds: ids of no key must not load auth, also while it
    /// does not answer.
    ///
    /// # Errors
    /// UNAVAILABLE if auth does not answer, or did not the last time.
    pub(super) async fn look_up(&self) -> Result<(), Fault> {
        let met = Instant::now();
        self.fetch_if(|times| times.may_look_up(met, Instant::now())).await
    }

    /// Reads the keys, unless they are not needed any more, because a concurrent check has read them.
    async fn fetch_if(&self, is_needed: impl Fn(Times) -> Result<bool, Unanswered>) -> Result<(), Fault> {
        let _one = self.request.lock().await;
        let times = *self.times();
        if !is_needed(times).map_err(|Unanswered| self.unavailable("it did not answer the last time"))? {
            return Ok(());
        }
        // Counted before the answer: the caller of this check may go away before it.
        let asked = Instant::now();
        let times = times.after_request(asked);
        *self.times() = times;
        let request = Context::background().request(GetKeySetRequest {});
        let answer = AuthServiceClient::new(self.channel.clone()).get_key_set(request).await;
        let set = answer.map_err(|status| self.unavailable(status.message()))?.into_inner();
        self.published.send_replace(set.keys);
        *self.times() = times.after_answer(asked);
        Ok(())
    }

    /// Lets the known keys be older than they are.
    #[cfg(feature = "testing")]
    pub(super) fn age(&self, by: Duration) {
        let mut times = self.times();
        let earlier = |at: Option<Instant>| at.and_then(|at| at.checked_sub(by));
        let Times { fetched, failed, paced, is_unanswered } = *times;
        *times = Times { fetched: earlier(fetched), failed: earlier(failed), paced: earlier(paced), is_unanswered };
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unavailable(&self, why: &str) -> Fault {
        let text = format!("auth's keys cannot be fetched: {why}");
        Fault::new(self.me.name(), ErrorCode::Unavailable, "UNAVAILABLE", text).retry_after(LOOK_UP_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_due_at_their_age_and_then_after_each_pause() {
        let start = Instant::now();
        assert!(!Times::default().are_due(start), "none are known");
        let fetched = Times { fetched: Some(start), ..Times::default() };
        for (times, after, is_due) in [
            (fetched, Duration::ZERO, false),
            (fetched, MAX_AGE - Duration::from_millis(1), false),
            (fetched, MAX_AGE, true),
            (Times { failed: Some(start + MAX_AGE), ..fetched }, MAX_AGE, false),
            (Times { failed: Some(start + MAX_AGE), ..fetched }, MAX_AGE + RETRY_AFTER, true),
        ] {
            assert_eq!(times.are_due(start + after), is_due, "{times:?} after {after:?}");
        }
        assert!(!fetched.are_older_than(MAX_AGE_WITHOUT_AUTH, start + MAX_AGE_WITHOUT_AUTH - Duration::from_millis(1)));
        assert!(fetched.are_older_than(MAX_AGE_WITHOUT_AUTH, start + MAX_AGE_WITHOUT_AUTH));
    }

    #[test]
    fn unknown_key_ids_are_looked_up_at_once_but_not_often() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut times = Times::default();
        let mut look_up = |now: Instant| {
            let may = times.may_look_up(now, now).expect("answered");
            times = if may { times.after_request(now).after_answer(now) } else { times };
            may
        };
        let flood = (1..=1_000).filter(|millisecond| look_up(at(*millisecond))).count();
        assert_eq!(flood, 5, "requests of the first second");
        let flood = (1_001..=61_000).filter(|millisecond| look_up(at(*millisecond))).count();
        assert_eq!(flood, 60, "one each second from then on");
        let pause = (70_000..70_003).filter(|millisecond| look_up(at(*millisecond))).count();
        assert_eq!(pause, 3, "each at once after a pause");
    }

    #[test]
    fn checks_at_the_same_time_share_one_answer() {
        let start = Instant::now();
        let [before, after] = [1, 2].map(|second| start + Duration::from_secs(second));
        let times = Times::default().after_request(before).after_answer(before);
        assert_eq!(times.may_look_up(start, after), Ok(false), "it has waited for this answer");
        assert_eq!(times.may_look_up(before, after), Ok(false));
        assert_eq!(times.may_look_up(after, after), Ok(true), "the key may be newer than the answer");
    }

    #[test]
    fn requests_that_auth_does_not_answer_are_not_more() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut times = Times::default();
        let mut look_up = |now: Instant| {
            let may = times.may_look_up(now, now);
            times = if may == Ok(true) { times.after_request(now) } else { times };
            may
        };
        let flood: Vec<_> = (1..=1_000).map(|millisecond| look_up(at(millisecond))).collect();
        assert_eq!(flood.iter().filter(|may| **may == Ok(true)).count(), 5, "requests of the first second");
        assert_eq!(flood.iter().filter(|may| **may == Err(Unanswered)).count(), 995, "the key may be a new one");
        let flood = (1_001..=61_000).filter(|millisecond| look_up(at(*millisecond)) == Ok(true)).count();
        assert_eq!(flood, 60, "one each second from then on");
        let answered = times.after_request(at(61_001)).after_answer(at(61_001));
        assert_eq!(answered.may_look_up(at(61_002), at(61_002)), Ok(false), "the keys are known again, and auth was asked just before");
    }
}
