//! Who may call which RPC, one row for each.

use chassis::{
    identity::Caller::{AgentStreaming, Auth, Gateway, Operator, ProjectStorage},
    server::{Rule, Scope::Internal, Size::Ordinary},
};

pub const RULES: &[Rule] = &[
    Rule {
        rpc: "Check",
        callers: &[Gateway, Auth, AgentStreaming, ProjectStorage, Operator],
        user: false,
        scope: Internal,
        size: Ordinary,
    },
    Rule { rpc: "ListPolicies", callers: &[Gateway, Operator], user: false, scope: Internal, size: Ordinary },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_the_contract() {
        chassis::testing::assert_access_table("backlot.rate_limit.v1.RateLimitService", RULES);
    }
}
