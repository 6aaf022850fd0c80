//! An account is as its person knows it, and no change of it is half done: a link that was used has had its whole effect, and recovery codes
//! belong to a second factor.

use std::collections::BTreeMap;

use super::{Violation, Violations};
use crate::record::KnownAccount;

/// What auth has of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredAccount {
    pub email: String,
    pub is_verified: bool,
    pub has_password: bool,
    pub has_app: bool,
    pub passkeys: i64,
    pub recovery_codes: i64,
    /// Links that would give it another address.
    pub address_links: i64,
}

/// Checks the accounts of a round. `stored` has them by their ids.
#[must_use]
pub fn check(known: &[KnownAccount], stored: &BTreeMap<String, StoredAccount>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut violations = Violations { turn: None, found: &mut found };
    for known in known {
        let Some(stored) = stored.get(&known.user) else {
            violations.require(false, "an account stays", || format!("account {} is gone", known.user));
            continue;
        };
        let text = || format!("its person knows {known:?}, and auth has {stored:?}");
        violations.require(stored.email == known.email, "an account has the address that signs in", text);
        violations.require(stored.is_verified || !known.is_verified, "a used link proves the address", text);
        violations.require(stored.has_password, "an account keeps a password", text);
        let (has_passkey, has_codes) = (stored.passkeys > 0, stored.recovery_codes > 0);
        let has_factors = stored.has_app == known.has_app && has_passkey == known.has_passkey;
        violations.require(has_factors, "an account has the factors of its person", text);
        violations.require(has_codes == (stored.has_app || has_passkey), "recovery codes belong to a second factor", text);
        violations.require(stored.address_links == 0, "no link to another address is left", text);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(known: &KnownAccount, change: impl FnOnce(&mut StoredAccount)) -> Vec<&'static str> {
        let mut stored = StoredAccount {
            email: known.email.clone(),
            is_verified: known.is_verified,
            has_password: true,
            has_app: known.has_app,
            passkeys: known.has_passkey.into(),
            recovery_codes: if known.has_app || known.has_passkey { 9 } else { 0 },
            address_links: 0,
        };
        change(&mut stored);
        let stored = BTreeMap::from([("u".to_owned(), stored)]);
        check(std::slice::from_ref(known), &stored).into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn a_change_that_is_half_done_is_found() {
        let (user, email) = ("u".to_owned(), "new@example.com".to_owned());
        let plain = KnownAccount { user, email, is_verified: true, ..KnownAccount::default() };
        let with_app = KnownAccount { has_app: true, ..plain.clone() };
        let with_passkey = KnownAccount { has_passkey: true, ..plain.clone() };
        for known in [&plain, &with_app, &with_passkey, &KnownAccount { is_verified: false, ..plain.clone() }] {
            assert_eq!(rules(known, |_| {}), [""; 0], "{known:?}");
        }
        let codes = "recovery codes belong to a second factor";
        assert_eq!(rules(&plain, |stored| stored.email = "old@example.com".to_owned()), ["an account has the address that signs in"]);
        assert_eq!(rules(&plain, |stored| stored.is_verified = false), ["a used link proves the address"]);
        assert_eq!(rules(&plain, |stored| stored.has_password = false), ["an account keeps a password"]);
        assert_eq!(rules(&plain, |stored| stored.address_links = 1), ["no link to another address is left"]);
        assert_eq!(rules(&plain, |stored| stored.recovery_codes = 1), [codes]);
        assert_eq!(rules(&with_app, |stored| stored.recovery_codes = 0), [codes]);
        assert_eq!(rules(&with_passkey, |stored| stored.recovery_codes = 0), [codes]);
        let factors = ["an account has the factors of its person"];
        assert_eq!(rules(&with_app, |stored| (stored.has_app, stored.recovery_codes) = (false, 0)), factors);
        assert_eq!(rules(&with_passkey, |stored| (stored.passkeys, stored.recovery_codes) = (0, 0)), factors);
    }

    #[test]
    fn an_account_that_nobody_has_deleted_stays() {
        let known = KnownAccount { user: "gone".to_owned(), ..KnownAccount::default() };
        assert_eq!(rules(&known, |_| {}), ["an account stays"]);
    }
}
