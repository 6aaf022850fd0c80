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
/// The least time between two requests because of unknown key ids.
const LOOK_UP_AFTER: Duration = Duration::from_secs(1);

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
}

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
            let answered = timeout(PATIENCE, self.fetch_if(|times| times.are_due(Instant::now()))).await;
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

    /// Reads the keys because one is not known.
    ///
    /// # Errors
    /// UNAVAILABLE if auth does not answer.
    pub(super) async fn look_up(&self) -> Result<(), Fault> {
        self.fetch_if(|times| times.fetched.is_none_or(|at| at.elapsed() >= LOOK_UP_AFTER)).await
    }

    /// Reads the keys, unless a concurrent check has read them.
    async fn fetch_if(&self, is_needed: impl Fn(Times) -> bool) -> Result<(), Fault> {
        let _one = self.request.lock().await;
        let times = *self.times();
        if !is_needed(times) {
            return Ok(());
        }
        let asked = Instant::now();
        let request = Context::background().request(GetKeySetRequest {});
        let answer = AuthServiceClient::new(self.channel.clone()).get_key_set(request).await;
        let set = answer.map_err(|status| self.unavailable(status.message()))?.into_inner();
        self.published.send_replace(set.keys);
        *self.times() = Times { fetched: Some(asked), failed: None };
        Ok(())
    }

    /// Lets the known keys be older than they are.
    #[cfg(feature = "testing")]
    pub(super) fn age(&self, by: Duration) {
        let mut times = self.times();
        let earlier = |at: Option<Instant>| at.and_then(|at| at.checked_sub(by));
        *times = Times { fetched: earlier(times.fetched), failed: earlier(times.failed) };
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
        let fetched = Times { fetched: Some(start), failed: None };
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
}
