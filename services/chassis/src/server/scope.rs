//! Which scope of a grant an RPC needs, and which RPCs a session without a required second factor may call.

use proto::error::{ErrorCode, Fault};

use super::{Rule, Scope};
use crate::identity::{Caller, Grant};

/// The name of the scope that an RPC needs and a grant does not have. `account` cannot be granted.
pub(crate) fn missing(rule: &Rule, grant: &Grant) -> Option<&'static str> {
    match rule.scope {
        Scope::Open | Scope::Read => None,
        Scope::Account | Scope::AccountWithoutFactor => Some("account"),
        // An internal RPC on behalf of a person changes something.
        Scope::Internal if !rule.user => None,
        Scope::Write | Scope::Internal => (!grant.can_write).then_some("write"),
    }
}

/// The refusal of a grant without this scope.
pub(crate) fn refusal(service: Caller, scope: &str) -> Fault {
    let text = match scope {
        "account" => "a key cannot use the account of its owner; sign in".to_owned(),
        scope => format!("this needs a key with the scope `{scope}`"),
    };
    Fault::new(service.name(), ErrorCode::Forbidden, "SCOPE_REQUIRED", text).with("scope", scope)
}

/// Whether a session may call the RPC whose person has to add a second factor first. The gateway also sends the token of its cookie with internal
/// RPCs that need no person, such as the end of a sign-in at a provider; what they do for a person is refused where they do it.
pub(crate) const fn allows_without_factor(rule: &Rule) -> bool {
    match rule.scope {
        Scope::Open | Scope::AccountWithoutFactor => true,
        Scope::Internal => !rule.user,
        Scope::Account | Scope::Read | Scope::Write => false,
    }
}

/// The refusal of such a session.
pub(crate) fn factor_missing(service: Caller) -> Fault {
    let text = "this installation requires a second factor; add an authenticator app (POST /api/auth/totp, StartTotp) or a passkey first";
    Fault::new(service.name(), ErrorCode::Forbidden, "SECOND_FACTOR_MISSING", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Size;

    #[test]
    fn a_grant_never_has_the_scope_of_the_account() {
        let rule = |scope, user| Rule { rpc: "X", callers: &[], user, scope, size: Size::Ordinary };
        for (scope, user, reader, writer) in [
            (Scope::Open, false, None, None),
            (Scope::Read, true, None, None),
            (Scope::Write, true, Some("write"), None),
            (Scope::Account, true, Some("account"), Some("account")),
            (Scope::Account, false, Some("account"), Some("account")),
            (Scope::AccountWithoutFactor, true, Some("account"), Some("account")),
            (Scope::Internal, true, Some("write"), None),
            (Scope::Internal, false, None, None),
        ] {
            let missing = |can_write| missing(&rule(scope, user), &Grant { can_write, projects: None });
            assert_eq!((missing(false), missing(true)), (reader, writer), "{scope:?} {user}");
        }
    }

    #[test]
    fn a_session_without_a_required_factor_may_call_what_adds_one_and_what_is_open() {
        for (scope, without_person, with_person) in [
            (Scope::Open, true, true),
            (Scope::AccountWithoutFactor, true, true),
            (Scope::Account, false, false),
            (Scope::Read, false, false),
            (Scope::Write, false, false),
            (Scope::Internal, true, false),
        ] {
            for (user, is_allowed) in [(false, without_person), (true, with_person)] {
                let rule = Rule { rpc: "X", callers: &[], user, scope, size: Size::Ordinary };
                assert_eq!(allows_without_factor(&rule), is_allowed, "{scope:?} {user}");
            }
        }
        assert_eq!(factor_missing(Caller::Auth).code, ErrorCode::Forbidden);
    }
}
