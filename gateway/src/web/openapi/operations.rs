//! What the document says of operations besides their bindings, by their ids or paths.

/// Paths whose POST answers 201.
pub(super) const CREATES: [&str; 5] =
    ["/api/turns", "/api/projects", "/api/projects/{project_id}/fork", "/api/templates", "/api/templates/{template_id}/use"];
/// Operations other than reads whose response has an ETag.
pub(super) const ANSWERS_ETAG: [&str; 12] = [
    "UpdateProject",
    "UndeleteProject",
    "SaveProject",
    "SaveProjectInPath",
    "ResolveConflict",
    "RestoreRevision",
    "RevertRevision",
    "RevertRevisionOfTurn",
    "UndoRevision",
    "RedoRevision",
    "UploadFile",
    "MergeProject",
];
/// RPCs that anybody may call.
pub(super) const OPEN: [&str; 11] = [
    "SignUp",
    "SignIn",
    "VerifySignIn",
    "StartPasskeyCeremony",
    "SignInWithPasskey",
    "SignOut",
    "GetKeySet",
    "VerifyEmail",
    "RequestPasswordReset",
    "ConfirmPasswordReset",
    "ListProviders",
];
/// RPCs whose work is done after the response.
pub(super) const ACCEPTED: [&str; 3] = ["SendVerification", "RequestPasswordReset", "ChangeEmail"];
/// RPCs whose response sets or removes the cookie of the session.
pub(super) const COOKIES: [&str; 10] = [
    "SignUp",
    "SignIn",
    "VerifySignIn",
    "SignInWithPasskey",
    "SignOut",
    "RevokeSessions",
    "ChangePassword",
    "StepUp",
    "ConfirmEmailChange",
    "DeleteAccount",
];
/// RPCs whose answer is an archive.
pub(super) const EXPORTS: [&str; 2] = ["ExportProject", "ExportDeployment"];
/// The RPC whose answer is a zip file of a person's data.
pub(super) const OWN_DATA: &str = "ExportAccount";
/// RPCs that take an idempotency key.
pub(super) const KEYED: &[&str] = &[
    "StartTurn",
    "SaveProject",
    "ResolveConflict",
    "CreateProject",
    "ForkProject",
    "MergeProject",
    "RestoreRevision",
    "RevertRevision",
    "UndoRevision",
    "RedoRevision",
    "UploadFile",
    "DeleteFile",
    "PublishTemplate",
    "UseTemplate",
];
/// The RPC whose answer is a file.
pub(super) const DOWNLOAD: &str = "DownloadFile";
/// The RPC whose answer has many files.
pub(super) const READ: &str = "ReadFiles";
/// The RPC whose answer is the events of a project.
pub(super) const WATCH: &str = "WatchProject";
/// The RPC to whose answer the gateway adds that of GetTokenUsage.
pub(super) const USAGE: &str = "GetUsage";
/// The RPC whose body is a file.
pub(super) const UPLOAD: &str = "UploadFile";
/// Second bindings of an RPC: the suffix of the id, and the description.
pub(super) const SECOND: [(&str, &str, &str); 3] = [
    (
        "/api/agent/stream",
        "AndFollow",
        "Starts a turn and follows its events in the same answer. A repeat with the same idempotency key and body follows the same turn and is \
         not counted; with another body it is KEY_REUSED. Counted by policy `agent`. A disconnect does not stop the turn. Resume at \
         `/api/turns/{turn_id}/events`; X-Backlot-Turn-Id has the id of the turn.",
    ),
    (
        "/api/projects/{project_id}/changes",
        "InPath",
        "Applies a change set to the project in the path, completely as one revision or not at all. Base revisions, merges, conditions, limits and \
         keys are those of `POST /api/projects/save`. Counted by policy `save`.",
    ),
    (
        "/api/projects/{project_id}/turns/{turn_id}/revert",
        "OfTurn",
        "Makes a new revision without the change of a turn. Outcomes, conditions and keys are those of \
         `POST /api/projects/{project_id}/revisions/{revision}/revert`. Counted by policy `save`.",
    ),
];
