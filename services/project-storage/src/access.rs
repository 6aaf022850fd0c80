//! Who may call what. An RPC of the public HTTP surface admits clients with an access token; the rest is between services.

use chassis::{
    identity::Caller::{self, AgentStreaming, Direct, Gateway},
    server::{
        Rule,
        Size::{Large, OfPlan, Ordinary},
    },
};
use proto::plan::save_bytes;

const PUBLIC: &[Caller] = &[Direct, Gateway];

/// One row per RPC.
pub const ACCESS: &[Rule] = &[
    Rule { rpc: "CreateProject", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "ListProjects", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "GetProject", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "UpdateProject", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "DeleteProject", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "SaveProject", callers: PUBLIC, user: true, size: OfPlan(save_bytes) },
    Rule { rpc: "LoadProject", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "ListFiles", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "GetFile", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "ListRevisions", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "ListMessages", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "GetConflict", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "ResolveConflict", callers: PUBLIC, user: true, size: OfPlan(save_bytes) },
    Rule { rpc: "CreatePreview", callers: PUBLIC, user: true, size: Ordinary },
    Rule { rpc: "DeletePreview", callers: PUBLIC, user: true, size: Ordinary },
    // The capability is the right.
    Rule { rpc: "ReadPreviewFile", callers: &[Gateway], user: false, size: Ordinary },
    Rule { rpc: "BeginTurn", callers: &[AgentStreaming], user: true, size: Ordinary },
    // The turn's row is the right.
    Rule { rpc: "GetTurnTree", callers: &[AgentStreaming], user: false, size: Ordinary },
    Rule { rpc: "ReadTurnFiles", callers: &[AgentStreaming], user: false, size: Ordinary },
    Rule { rpc: "ListTurnMessages", callers: &[AgentStreaming], user: false, size: Ordinary },
    Rule { rpc: "CommitTurn", callers: &[AgentStreaming], user: false, size: Large },
    Rule { rpc: "EndTurn", callers: &[AgentStreaming], user: false, size: Ordinary },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost_reflect::DescriptorPool;

    use super::*;

    #[test]
    fn every_rpc_has_one_row_and_only_annotated_ones_are_open() {
        let pool = DescriptorPool::decode(proto::DESCRIPTORS).expect("descriptors");
        let service = pool.get_service_by_name("backlot.project_storage.v1.ProjectStorageService").expect("service");
        let http = pool.get_extension_by_name("google.api.http").expect("extension");
        let expected: BTreeMap<_, _> =
            service.methods().map(|method| (method.name().to_owned(), method.options().has_extension(&http))).collect();
        let rows: BTreeMap<_, _> = ACCESS.iter().map(|rule| (rule.rpc.to_owned(), rule.callers.contains(&Direct))).collect();
        assert_eq!(rows, expected);
        assert_eq!(ACCESS.len(), rows.len(), "a row too many");
        assert!(ACCESS.iter().all(|rule| rule.user || !rule.callers.contains(&Direct)), "an open RPC without a person");
    }
}
