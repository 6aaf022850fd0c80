//! The rules of the log of deleted accounts: who follows it, and when a deletion is final.

use std::time::Duration;

use chassis::{fault_time, identity::Caller};
use proto::id::UserId;
use time::OffsetDateTime;

/// The services that keep data of people. Each acknowledges a deletion.
pub(crate) const FOLLOWERS: &[Caller] = &[Caller::ProjectStorage, Caller::AgentStreaming];
/// Those of them that keep keys of people.
pub(crate) const KEY_STORES: &[Caller] = &[Caller::AgentStreaming];
/// After this every access token of the account has expired (five minutes), and the requests that began with one have ended.
const FINAL_AFTER: Duration = Duration::from_secs(20 * 60);

/// An entry of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deletion {
    pub(crate) id: i64,
    pub(crate) user: UserId,
    pub(crate) created_at: OffsetDateTime,
    /// The account stays. Only the keys that were stored for it before go.
    pub(crate) only_keys: bool,
}

impl Deletion {
    /// Whether no service can get new data of the account.
    pub(crate) fn is_final(&self, now: OffsetDateTime) -> bool {
        self.created_at < final_before(now)
    }
}

/// Entries from before this time are final.
pub(crate) fn final_before(now: OffsetDateTime) -> OffsetDateTime {
    let after = fault_time::shortened("account-deletion-final", FINAL_AFTER);
    now.saturating_sub(time::Duration::seconds_f64(after.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_is_final_when_no_token_is_valid() {
        let at = OffsetDateTime::UNIX_EPOCH;
        let deletion = Deletion { id: 1, user: UserId::generate(), created_at: at, only_keys: false };
        assert!(!deletion.is_final(at) && !deletion.is_final(at + FINAL_AFTER));
        assert!(deletion.is_final(at + FINAL_AFTER + Duration::from_secs(1)));
        assert!(FINAL_AFTER > crate::token::LIFETIME * 2);
    }
}
