//! Who may call which RPC, one row for each. An RPC has the caller `Direct` if and only if it carries `google.api.http`.

use chassis::{
    identity::Caller::{self, AgentStreaming, Direct, Gateway, Operator, ProjectStorage, RateLimit},
    server::{
        Rule,
        Scope::{Account, AccountWithoutFactor, Internal, Open},
        Size::Ordinary,
    },
};

use crate::deletion::FOLLOWERS;

const PUBLIC: &[Caller] = &[Direct, Gateway];

pub const RULES: &[Rule] = &[
    // An operator creates accounts where sign-up is closed.
    Rule { rpc: "SignUp", callers: &[Direct, Gateway, Operator], user: false, scope: Open, size: Ordinary },
    Rule { rpc: "SignIn", callers: PUBLIC, user: false, scope: Open, size: Ordinary },
    Rule { rpc: "VerifySignIn", callers: PUBLIC, user: false, scope: Open, size: Ordinary },
    Rule { rpc: "SignOut", callers: PUBLIC, user: false, scope: AccountWithoutFactor, size: Ordinary },
    Rule { rpc: "GetSession", callers: PUBLIC, user: true, scope: AccountWithoutFactor, size: Ordinary },
    Rule { rpc: "ListSessions", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "RevokeSession", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "RevokeSessions", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "ChangePassword", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "StepUp", callers: PUBLIC, user: true, scope: AccountWithoutFactor, size: Ordinary },
    Rule { rpc: "GetFactors", callers: PUBLIC, user: true, scope: AccountWithoutFactor, size: Ordinary },
    Rule { rpc: "StartTotp", callers: PUBLIC, user: true, scope: AccountWithoutFactor, size: Ordinary },
    Rule { rpc: "ConfirmTotp", callers: PUBLIC, user: true, scope: AccountWithoutFactor, size: Ordinary },
    Rule { rpc: "DeleteTotp", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "CreateRecoveryCodes", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    // Its purpose decides whether it needs a person.
    Rule { rpc: "StartPasskeyCeremony", callers: PUBLIC, user: false, scope: AccountWithoutFactor, size: Ordinary },
    Rule { rpc: "CreatePasskey", callers: PUBLIC, user: true, scope: AccountWithoutFactor, size: Ordinary },
    Rule { rpc: "ListPasskeys", callers: PUBLIC, user: true, scope: AccountWithoutFactor, size: Ordinary },
    Rule { rpc: "RenamePasskey", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "DeletePasskey", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "SignInWithPasskey", callers: PUBLIC, user: false, scope: Open, size: Ordinary },
    Rule { rpc: "CreateRefreshToken", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "CreateApiKey", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "ListApiKeys", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "DeleteApiKey", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "CreateServiceAccount", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "ListServiceAccounts", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "UpdateServiceAccount", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "DeleteServiceAccount", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "StartDeviceSignIn", callers: &[Gateway], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "GetDeviceSignIn", callers: &[Gateway], user: true, scope: Internal, size: Ordinary },
    Rule { rpc: "DecideDeviceSignIn", callers: &[Gateway], user: true, scope: Internal, size: Ordinary },
    Rule { rpc: "ExchangeDeviceCode", callers: &[Gateway], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "RecordAccessTokenUse", callers: &[Gateway], user: true, scope: Internal, size: Ordinary },
    Rule { rpc: "CreateAccessToken", callers: PUBLIC, user: false, scope: AccountWithoutFactor, size: Ordinary },
    // Its token decides whether it needs a person.
    Rule { rpc: "VerifyEmail", callers: PUBLIC, user: false, scope: Open, size: Ordinary },
    Rule { rpc: "SendVerification", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "RequestPasswordReset", callers: PUBLIC, user: false, scope: Open, size: Ordinary },
    Rule { rpc: "ConfirmPasswordReset", callers: PUBLIC, user: false, scope: Open, size: Ordinary },
    // The gateway has the pages.
    Rule { rpc: "GetLink", callers: &[Gateway], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "RemoveNewFactor", callers: &[Gateway], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "ChangeEmail", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    // The gateway has the page.
    Rule { rpc: "GetEmailChange", callers: &[Gateway], user: true, scope: Internal, size: Ordinary },
    Rule { rpc: "ConfirmEmailChange", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "ListProviders", callers: PUBLIC, user: false, scope: Open, size: Ordinary },
    // The gateway has the cookie of the browser, and the pages.
    Rule { rpc: "StartProviderSignIn", callers: &[Gateway], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "FinishProviderSignIn", callers: &[Gateway], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "ListIdentities", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "UnlinkIdentity", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "DeleteAccount", callers: PUBLIC, user: true, scope: AccountWithoutFactor, size: Ordinary },
    Rule { rpc: "ExportAccount", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "ListAccountDeletions", callers: FOLLOWERS, user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "AcknowledgeAccountDeletions", callers: FOLLOWERS, user: false, scope: Internal, size: Ordinary },
    Rule {
        rpc: "GetKeySet",
        callers: &[Direct, Gateway, AgentStreaming, ProjectStorage, RateLimit, Operator],
        user: false,
        scope: Open,
        size: Ordinary,
    },
    Rule { rpc: "WatchRevocations", callers: &[Gateway, AgentStreaming, ProjectStorage], user: false, scope: Internal, size: Ordinary },
    of_operators("CreateUser"),
    of_operators("ListUsers"),
    of_operators("FindUser"),
    of_operators("SetUserDisabled"),
    of_operators("SetUserPlan"),
    of_operators("DeleteUser"),
    of_operators("ListUserSessions"),
    of_operators("EndUserSessions"),
    of_operators("ResetSecondFactor"),
    of_operators("ImpersonateUser"),
    of_operators("CreateInvite"),
    of_operators("ListInvites"),
    of_operators("RevokeInvite"),
    of_operators("ReplaceSigningKey"),
    of_operators("ListAuditEvents"),
];

/// A row of AdminService.
const fn of_operators(rpc: &'static str) -> Rule {
    Rule { rpc, callers: &[Operator], user: false, scope: Internal, size: Ordinary }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_the_contract() {
        chassis::testing::assert_access_tables(&["backlot.auth.v1.AuthService", "backlot.auth.v1.AdminService"], RULES);
        let is_of_others = |rule: &Rule| rule.callers == [Operator] || rule.callers == FOLLOWERS;
        assert!(RULES.iter().all(|rule| rule.callers.contains(&Gateway) || is_of_others(rule)), "the gateway calls every other RPC");
    }

    #[test]
    fn who_lacks_a_required_factor_may_add_one_or_leave() {
        let allowed: Vec<_> = RULES.iter().filter(|rule| rule.scope == AccountWithoutFactor).map(|rule| rule.rpc).collect();
        let expected = [
            "SignOut",
            "GetSession",
            "StepUp",
            "GetFactors",
            "StartTotp",
            "ConfirmTotp",
            "StartPasskeyCeremony",
            "CreatePasskey",
            "ListPasskeys",
            "CreateAccessToken",
            "DeleteAccount",
        ];
        assert_eq!(allowed, expected);
    }
}
