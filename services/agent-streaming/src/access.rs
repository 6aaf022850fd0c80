//! Who may call which RPC.

use chassis::{
    identity::Caller,
    server::{
        Rule,
        Scope::{Account, Internal, Read, Write},
        Size::Ordinary,
    },
};

/// Every public RPC needs an authenticated user.
pub const RULES: &[Rule] = &[
    Rule { rpc: "StartTurn", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "GetTurn", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "ListTurns", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "StreamTurnEvents", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "CancelTurn", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "ListAgents", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "GetFindings", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "ListStagedFiles", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "GetStagedFile", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    // The gateway asks project-storage whether the capability of a preview may show the project.
    Rule { rpc: "GetStagedTree", callers: &[Caller::Gateway], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "ReadStagedContents", callers: &[Caller::Gateway], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "GetAgent", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "SelectAgent", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "PlanTurn", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "GetTokenUsage", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "CreateProviderKey", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "ListProviderKeys", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "UpdateProviderKey", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "DeleteProviderKey", callers: PUBLIC, user: true, scope: Account, size: Ordinary },
    Rule { rpc: "ReplaySelection", callers: &[Caller::Operator], user: false, scope: Internal, size: Ordinary },
];
const PUBLIC: &[Caller] = &[Caller::Direct, Caller::Gateway];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_every_rpc_of_the_contract() {
        chassis::testing::assert_access_table("backlot.agent_streaming.v1.AgentStreamingService", RULES);
        assert!(RULES.iter().all(|rule| rule.user || !rule.callers.contains(&Caller::Direct)), "a public RPC does not need a user");
    }
}
