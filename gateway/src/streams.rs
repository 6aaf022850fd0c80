//! How many event streams each person has open here. A stream is counted until its body is dropped.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use proto::{
    error::{ErrorCode, QuotaViolation},
    id::UserId,
};

use crate::error::{Failure, fault};

const POLICY: &str = "streams";

#[derive(Debug)]
pub(crate) struct Streams {
    limit: u32,
    open: Mutex<HashMap<UserId, u32>>,
}

impl Streams {
    pub(crate) fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self { limit, open: Mutex::default() })
    }

    /// Counts one more.
    ///
    /// # Errors
    /// RATE_LIMITED by the policy `streams`.
    pub(crate) fn open(self: &Arc<Self>, user: UserId) -> Result<OpenStream, Failure> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(user).or_default();
        if *count >= self.limit {
            return Err(self.refusal());
        }
        *count += 1;
        Ok(OpenStream { streams: Arc::clone(self), user })
    }

    fn refusal(&self) -> Failure {
        let text = format!("policy `{POLICY}` allows {} open event streams; close one", self.limit);
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
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_counted_per_person_until_they_close() {
        let streams = Streams::new(2);
        let (one, other) = (UserId::generate(), UserId::generate());
        let first = streams.open(one).unwrap();
        let _second = streams.open(one).unwrap();
        assert_eq!(streams.open(one).unwrap_err().0.metadata["policy"], "streams");
        let theirs = streams.open(other).unwrap();
        drop((first, theirs));
        let _third = streams.open(one).unwrap();
        assert_eq!(streams.open.lock().unwrap().len(), 1);
    }
}
