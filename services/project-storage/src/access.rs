//! The access table: who may call each RPC. Public RPCs admit clients with an access token, the others only services.

use std::time::Duration;

use chassis::{
    identity::{
        Caller::{self, AgentStreaming, Direct, Gateway, Operator},
        User,
    },
    server::{
        Rule,
        Scope::{Internal, Read, Write},
        Size::{Large, OfUser, Ordinary, Stream},
        StreamSize,
    },
};
use proto::{auth::Plan, plan};

const PUBLIC: &[Caller] = &[Direct, Gateway];
/// Agent-streaming asks for the person of a request: whether the person may read a project, and for files that it checks.
const READERS: &[Caller] = &[Direct, Gateway, AgentStreaming];

fn save_bytes(user: &User) -> usize {
    plan::save_bytes(Plan::from_claims(&user.private_claims))
}

/// A content of 10 MiB, also in small messages, at 64 KiB a second.
const UPLOAD: StreamSize = StreamSize { message_bytes: 1024 * 1024 + 4096, messages: 16 * 1024, time: Duration::from_secs(180) };

/// An archive of 256 MiB, at 440 KiB a second.
const IMPORT: StreamSize = StreamSize { message_bytes: 1024 * 1024 + 4096, messages: 64 * 1024, time: Duration::from_secs(600) };

/// The files of a site, 10,000 at most, with the time of their build.
const PUBLISH: StreamSize = StreamSize { message_bytes: 1024 * 1024 + 4096, messages: 32 * 1024, time: Duration::from_secs(240) };

/// One row per RPC.
pub const RULES: &[Rule] = &[
    Rule { rpc: "CreateProject", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "ListProjects", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "GetProject", callers: READERS, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "UpdateProject", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "DeleteProject", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "UndeleteProject", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "GetUsage", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "GetProjectUsage", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "ForkProject", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "MergeProject", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "ListForks", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "SaveProject", callers: PUBLIC, user: true, scope: Write, size: OfUser(save_bytes) },
    Rule { rpc: "LoadProject", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "ListFiles", callers: READERS, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "GetFile", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "SearchFiles", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "ImportArchive", callers: PUBLIC, user: true, scope: Write, size: Stream(IMPORT) },
    Rule { rpc: "ExportProject", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "UploadFile", callers: PUBLIC, user: true, scope: Write, size: Stream(UPLOAD) },
    Rule { rpc: "DeleteFile", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "DownloadFile", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "ReadFiles", callers: READERS, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "ListRevisions", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "WatchProject", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "GetRevision", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "DiffRevisions", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "ListFileRevisions", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "BlameFile", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "ListLabels", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "SetLabel", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "DeleteLabel", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "RestoreRevision", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "RevertRevision", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "UndoRevision", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "RedoRevision", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "ListLocks", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "SetLock", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "DeleteLock", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "ListMessages", callers: READERS, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "SearchMessages", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "UpdateMessage", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "DeleteMessage", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "SetReaction", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "DeleteReaction", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "ListConflicts", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "GetConflict", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "ResolveConflict", callers: PUBLIC, user: true, scope: Write, size: OfUser(save_bytes) },
    Rule { rpc: "CreatePreview", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "DeletePreview", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    // Only the gateway has the compiler that builds the files.
    Rule { rpc: "PublishSite", callers: &[Gateway], user: true, scope: Internal, size: Stream(PUBLISH) },
    Rule { rpc: "GetSite", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "UnpublishSite", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "ListDeployments", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "ActivateDeployment", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "ExportDeployment", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    // Everybody may read a site.
    Rule { rpc: "ReadSiteFile", callers: &[Gateway], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "DownloadSiteFile", callers: &[Gateway], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "PublishTemplate", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "ListTemplates", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "GetTemplate", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "GetTemplateFile", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "UseTemplate", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "UnpublishTemplate", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "ListTemplateReviews", callers: PUBLIC, user: true, scope: Read, size: Ordinary },
    Rule { rpc: "RateTemplate", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "DeleteTemplateReview", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "ReportTemplate", callers: PUBLIC, user: true, scope: Write, size: Ordinary },
    Rule { rpc: "ModerateTemplate", callers: &[Operator], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "DismissTemplateReports", callers: &[Operator], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "ListTemplateReports", callers: &[Operator], user: false, scope: Internal, size: Ordinary },
    // The capability authorises the call.
    Rule { rpc: "DownloadPreviewFile", callers: &[Gateway], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "ReadPreviewFile", callers: &[Gateway], user: false, scope: Internal, size: Large },
    Rule { rpc: "GetPreviewTree", callers: &[Gateway], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "ReadPreviewContents", callers: &[Gateway], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "BeginTurn", callers: &[AgentStreaming], user: true, scope: Internal, size: Ordinary },
    // The turn's row authorises these calls.
    Rule { rpc: "GetTurnTree", callers: &[AgentStreaming], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "ReadTurnFiles", callers: &[AgentStreaming], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "ListTurnMessages", callers: &[AgentStreaming], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "CommitTurn", callers: &[AgentStreaming], user: false, scope: Internal, size: Large },
    Rule { rpc: "ListDeletions", callers: &[AgentStreaming], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "AcknowledgeDeletions", callers: &[AgentStreaming], user: false, scope: Internal, size: Ordinary },
    Rule { rpc: "EndTurn", callers: &[AgentStreaming], user: false, scope: Internal, size: Ordinary },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_matches_the_contract() {
        chassis::testing::assert_access_table("backlot.project_storage.v1.ProjectStorageService", RULES);
        assert!(RULES.iter().all(|rule| rule.user || !rule.callers.contains(&Direct)), "a public RPC without a user");
    }
}
