//! Who may call which RPC, one row for each.

use std::time::Duration;

use chassis::{
    identity::Caller::{self, AgentStreaming, Gateway, Operator},
    server::{
        Rule,
        Scope::Internal,
        Size::{Large, Ordinary, Stream},
        StreamSize,
    },
};

const BUILDERS: &[Caller] = &[Gateway, AgentStreaming];

/// A tree of 64 MiB with many small files.
const BUILD: StreamSize = StreamSize { message_bytes: 1024 * 1024 + 4096, messages: 64 * 1024, time: Duration::from_secs(120) };

/// Packages of some GiB, each in parts.
const IMPORT: StreamSize = StreamSize { message_bytes: 1024 * 1024 + 4096, messages: 1024 * 1024, time: Duration::from_secs(4 * 3_600) };

/// One row per RPC.
pub const RULES: &[Rule] = &[
    Rule { rpc: "BuildPage", callers: BUILDERS, user: false, scope: Internal, size: Stream(BUILD) },
    Rule { rpc: "CheckTree", callers: BUILDERS, user: false, scope: Internal, size: Stream(BUILD) },
    Rule { rpc: "OutlineTree", callers: &[AgentStreaming], user: false, scope: Internal, size: Stream(BUILD) },
    Rule { rpc: "BuildSite", callers: &[Gateway], user: false, scope: Internal, size: Stream(BUILD) },
    Rule { rpc: "GetModule", callers: &[Gateway], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "AddPackages", callers: &[Operator], user: false, scope: Internal, size: Large },
    Rule { rpc: "ListPackages", callers: &[Operator], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "ListBundles", callers: &[Operator], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "ExportPackages", callers: &[Operator], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "ImportPackages", callers: &[Operator], user: false, scope: Internal, size: Stream(IMPORT) },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_the_contract() {
        chassis::testing::assert_access_table("backlot.compile.v1.CompileService", RULES);
    }
}
