//! Who may call which RPC, one row for each. An RPC has the caller `Direct` if and only if it carries `google.api.http`.

use chassis::{
    identity::Caller::{self, AgentStreaming, Direct, Gateway, Operator, ProjectStorage, RateLimit},
    server::{
        Rule,
        Scope::{Account, Internal, Open},
        Size::Ordinary,
    },
};

const PUBLIC: &[Caller] = &[Direct, Gateway];

pub const RULES: &[Rule] = &[
    // An operator creates accounts where sign-up is closed.
    Rule { rpc: "SignUp", callers: &[Direct, Gateway, Operator], user: false, scope: Open, size: Ordinary },
    Rule { rpc: "SignIn", callers: PUBLIC, user: false, scope: Open, size: Ordinary },
    Rule { rpc: "SignOut", callers: PUBLIC, user: false, scope: Account, size: Ordinary },
    Rule { rpc: "GetSession", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "ListSessions", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "RevokeSession", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "RevokeSessions", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "ChangePassword", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "CreateRefreshToken", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "RecordAccessTokenUse", callers: &[Gateway], user: true, scope: Internal, size: Ordinary },
    Rule { rpc: "CreateAccessToken", callers: PUBLIC, user: false, scope: Account, size: Ordinary },
    Rule { rpc: "VerifyEmail", callers: PUBLIC, user: false, scope: Open, size: Ordinary },
    Rule { rpc: "SendVerification", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "RequestPasswordReset", callers: PUBLIC, user: false, scope: Open, size: Ordinary },
    Rule { rpc: "ConfirmPasswordReset", callers: PUBLIC, user: false, scope: Open, size: Ordinary },
    Rule {
        rpc: "GetKeySet",
        callers: &[Direct, Gateway, AgentStreaming, ProjectStorage, RateLimit, Operator],
        user: false,
        scope: Open,
        size: Ordinary,
    },
    Rule { rpc: "WatchRevocations", callers: &[Gateway, ProjectStorage], user: false, scope: Internal, size: Ordinary },
    of_operators("CreateUser"),
    of_operators("ListUsers"),
    of_operators("FindUser"),
    of_operators("SetUserDisabled"),
    of_operators("SetUserPlan"),
    of_operators("ListUserSessions"),
    of_operators("EndUserSessions"),
    of_operators("ImpersonateUser"),
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
        let is_of_operators = |rule: &Rule| rule.callers == [Operator];
        assert!(RULES.iter().all(|rule| rule.callers.contains(&Gateway) || is_of_operators(rule)), "the gateway calls every other RPC");
    }
}
