//! Who may call what.

use chassis::{
    identity::Caller,
    server::{Rule, Size::Ordinary},
};

/// Every RPC is public and acts for a person.
pub const RULES: &[Rule] = &[
    Rule { rpc: "StartTurn", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "GetTurn", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "ListTurns", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "StreamTurnEvents", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "CancelTurn", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "ListAgents", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "GetAgent", callers: PUBLIC, user: true, size: Ordinary },
];
const PUBLIC: &[Caller] = &[Caller::Direct, Caller::Gateway];
