//! The deletion of an account ends, once. Then nothing has the id of the account, except for the audit log.

use std::collections::BTreeMap;

use super::{Violation, Violations};

/// What keeps the ids of deleted accounts.
const KEPT: &str = "auth.audit_events.";

/// What there is of a deleted account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// A service has not acknowledged the deletion.
    pub is_waiting: bool,
    /// How often the audit log has the end of the deletion.
    pub ends: i64,
    /// The columns that have its id, such as `auth.users.id`, and those that have the ids of its turns.
    pub left: Vec<String>,
}

/// Checks accounts by their ids.
#[must_use]
pub fn check(accounts: &BTreeMap<String, Account>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut violations = Violations { turn: None, found: &mut found };
    for (user, account) in accounts {
        violations.require(!account.is_waiting, "the deletion of an account ends", || format!("account {user} is not acknowledged"));
        if account.is_waiting {
            continue;
        }
        violations.require(account.ends == 1, "the deletion of an account ends", || {
            format!("the audit log has {} ends of the deletion of account {user}", account.ends)
        });
        let left: Vec<_> = account.left.iter().filter(|place| !place.starts_with(KEPT)).collect();
        violations.require(left.is_empty(), "a deleted account leaves nothing", || format!("account {user}: {left:?}"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(account: Account) -> Vec<&'static str> {
        check(&BTreeMap::from([("u".to_owned(), account)])).into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn a_deletion_that_does_not_end_or_leaves_something_is_found() {
        let left = |places: &[&str]| places.iter().map(|place| (*place).to_owned()).collect::<Vec<_>>();
        let ended = Account { is_waiting: false, ends: 1, left: left(&["auth.audit_events.user_id"]) };
        let (ends, leaves) = ("the deletion of an account ends", "a deleted account leaves nothing");
        assert_eq!(rules(ended.clone()), [""; 0]);
        for place in
            ["auth.users.id", "agent-streaming.turns.user_id", "project-storage.messages.user_id", "turn t in agent-streaming.turns.id"]
        {
            assert_eq!(rules(Account { left: left(&["auth.audit_events.user_id", place]), ..ended.clone() }), [leaves], "{place}");
        }
        let waiting = Account { is_waiting: true, ends: 0, left: left(&["auth.account_deletions.user_id"]) };
        assert_eq!(rules(waiting), [ends]);
        assert_eq!(rules(Account { ends: 0, ..ended.clone() }), [ends]);
        assert_eq!(rules(Account { ends: 2, ..ended }), [ends]);
    }
}
