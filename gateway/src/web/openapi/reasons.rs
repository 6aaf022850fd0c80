//! The reasons that each operation may be refused for. The comments of the contract explain them.

use proto::error::ErrorCode::{
    self, Conflict, Forbidden, Internal, InvalidArgument, NotFound, RateLimited, Timeout, Unauthenticated, Unavailable, Unimplemented,
};

/// The code of every reason of the document.
const CODES: [(ErrorCode, &[&str]); 11] = [
    (
        InvalidArgument,
        &[
            "INVALID_FIELD",
            "INVALID_JSON",
            "BODY_BROKEN",
            "TOO_LARGE",
            "UNSUPPORTED_MEDIA_TYPE",
            "URI_TOO_LONG",
            "HEADER_TOO_LARGE",
            "HOST_INVALID",
            "HOST_UNKNOWN",
            "METHOD_NOT_ALLOWED",
            "CONTINUATION_UNSUPPORTED",
            "TOOLS_UNSUPPORTED",
            "RESUME_UNSUPPORTED",
            "WEAK_PASSWORD",
            "LINK_INVALID",
            "INVALID_PATH",
            "FILE_TOO_LARGE",
            "FILE_NOT_TEXT",
            "TOO_MANY_FILES",
            "PROJECT_TOO_LARGE",
            "FOLDER_TOO_LARGE",
            "TOO_MANY_CHANGES",
            "ARCHIVE_INVALID",
            "ARCHIVE_ENTRY_REFUSED",
            "ARCHIVE_TOO_LARGE",
            "LENGTH_REQUIRED",
            "RANGE_NOT_SATISFIABLE",
            "PAGE_TOKEN_INVALID",
            "CURSOR_AHEAD",
            "SLUG_RESERVED",
            "BUILD_FAILED",
        ],
    ),
    (Unauthenticated, &["TOKEN_MISSING", "TOKEN_INVALID", "SESSION_ENDED", "SESSION_AMBIGUOUS", "BAD_CREDENTIALS", "TOKEN_REUSED"]),
    (
        Forbidden,
        &[
            "CROSS_ORIGIN",
            "ROLE_REQUIRED",
            "AUTHOR_REQUIRED",
            "PATH_LOCKED",
            "SIGNUP_CLOSED",
            "SESSION_REQUIRED",
            "IMPERSONATED",
            "PUBLISHER_REQUIRED",
            "OWN_TEMPLATE",
        ],
    ),
    (
        NotFound,
        &[
            "ROUTE_NOT_FOUND",
            "SESSION_NOT_FOUND",
            "PROJECT_NOT_FOUND",
            "REVISION_NOT_FOUND",
            "LABEL_NOT_FOUND",
            "LOCK_NOT_FOUND",
            "MESSAGE_NOT_FOUND",
            "TEMPLATE_NOT_FOUND",
            "REVIEW_NOT_FOUND",
            "FILE_NOT_FOUND",
            "CONFLICT_NOT_FOUND",
            "PREVIEW_NOT_FOUND",
            "SITE_NOT_FOUND",
            "DEPLOYMENT_NOT_FOUND",
            "TURN_NOT_FOUND",
            "AGENT_NOT_FOUND",
            "MODEL_NOT_FOUND",
        ],
    ),
    (
        Conflict,
        &[
            "ETAG_MISMATCH",
            "KEY_REUSED",
            "EMAIL_TAKEN",
            "FILE_EXISTS",
            "FILE_CHANGED",
            "STALE_REVISION",
            "FORK_TOO_DEEP",
            "MERGE_TOO_COMPLEX",
            "CONFLICT_RESOLVED",
            "NOTHING_TO_UNDO",
            "NOTHING_TO_REDO",
            "TURN_ACTIVE",
            "TURN_NOT_RUNNING",
            "TURN_OPEN",
            "TURN_REPLACED",
            "TOO_LATE",
            "CURSOR_EXPIRED",
            "SLUG_TAKEN",
            "COMPILER_FAILED",
        ],
    ),
    (
        RateLimited,
        &[
            "TREE_TOO_LARGE",
            "RATE_LIMITED",
            "SHARE_EXHAUSTED",
            "TOO_MANY_CREDENTIALS",
            "TOO_MANY_PROJECTS",
            "TOO_MANY_LABELS",
            "TOO_MANY_LOCKS",
            "TOO_MANY_TEMPLATES",
            "TOO_MANY_VERSIONS",
            "ACCOUNT_TOO_LARGE",
            "MESSAGE_TOO_LARGE",
        ],
    ),
    (Timeout, &["TIMEOUT", "COMPILER_TIMEOUT"]),
    // Its status differs from that of its code.
    (Timeout, &["BODY_TIMEOUT"]),
    (Unavailable, &["OVERLOADED", "UNAVAILABLE", "DRAINING", "WRITE_EXPIRED", "COMPILER_MISSING"]),
    (Internal, &["INTERNAL"]),
    (Unimplemented, &["SITES_DISABLED"]),
];

/// Reasons of the contract that no operation has. They are used between services, or by RPCs without an HTTP binding.
#[cfg(test)]
pub(super) const BETWEEN_ROLES: [&str; 6] =
    ["LOAD_TOO_LARGE", "CALLER_DENIED", "UNIMPLEMENTED", "SLOW_READER", "TURN_ENDED", "TURN_DIGEST_MISMATCH"];

/// Reasons of all requests.
const EVERY: &[&str] = &[
    "INVALID_FIELD",
    "HOST_INVALID",
    "HOST_UNKNOWN",
    "URI_TOO_LONG",
    "HEADER_TOO_LARGE",
    "ETAG_MISMATCH",
    "RATE_LIMITED",
    "SHARE_EXHAUSTED",
    "OVERLOADED",
    "UNAVAILABLE",
    "DRAINING",
    "TIMEOUT",
    "INTERNAL",
];
/// Reasons of requests that change something.
const CHANGING: &[&str] = &["CROSS_ORIGIN"];
/// Reasons of requests with a body.
const BODIES: &[&str] = &["INVALID_JSON", "BODY_BROKEN", "BODY_TIMEOUT", "TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"];
/// Reasons of paths with a parameter. An empty parameter, or one with too many segments, matches no route.
const PATHS: &[&str] = &["ROUTE_NOT_FOUND"];
/// Reasons of requests that need a person.
const AUTHENTICATED: &[&str] = &["TOKEN_MISSING", "TOKEN_INVALID", "SESSION_ENDED", "SESSION_AMBIGUOUS"];

/// Reasons of change sets.
const STORING: &[&str] = &[
    "INVALID_PATH",
    "FILE_TOO_LARGE",
    "TOO_MANY_FILES",
    "PROJECT_TOO_LARGE",
    "FOLDER_TOO_LARGE",
    "PROJECT_NOT_FOUND",
    "ROLE_REQUIRED",
    "STALE_REVISION",
    "KEY_REUSED",
    "ACCOUNT_TOO_LARGE",
    "MESSAGE_TOO_LARGE",
    "PATH_LOCKED",
];
/// Reasons of operations that start a turn.
const STARTING: &[&str] = &[
    "AGENT_NOT_FOUND",
    "MODEL_NOT_FOUND",
    "PROJECT_NOT_FOUND",
    "REVISION_NOT_FOUND",
    "TURN_ACTIVE",
    "TURN_REPLACED",
    "KEY_REUSED",
    "ROLE_REQUIRED",
    "TOO_MANY_PROJECTS",
];
/// Reasons of event streams.
const FOLLOWING: &[&str] = &["TURN_NOT_FOUND", "CURSOR_AHEAD", "CURSOR_EXPIRED"];

/// Further reasons of an operation, by its id.
const OWN: &[(&str, &[&[&str]])] = &[
    ("SignUp", &[&["WEAK_PASSWORD", "EMAIL_TAKEN", "SIGNUP_CLOSED"]]),
    ("SignIn", &[&["BAD_CREDENTIALS"]]),
    ("VerifyEmail", &[&["LINK_INVALID"]]),
    ("SendVerification", &[]),
    ("RequestPasswordReset", &[]),
    ("ConfirmPasswordReset", &[&["LINK_INVALID", "WEAK_PASSWORD"]]),
    ("SignOut", &[&["TOKEN_MISSING"]]),
    ("GetSession", &[]),
    ("CreateAccessToken", &[&["TOKEN_REUSED"]]),
    ("ListSessions", &[]),
    ("RevokeSession", &[&["SESSION_NOT_FOUND", "SESSION_REQUIRED", "IMPERSONATED"]]),
    ("RevokeSessions", &[&["SESSION_REQUIRED", "IMPERSONATED"]]),
    ("ChangePassword", &[&["SESSION_REQUIRED", "IMPERSONATED", "BAD_CREDENTIALS", "WEAK_PASSWORD"]]),
    ("CreateRefreshToken", &[&["SESSION_REQUIRED", "IMPERSONATED", "TOO_MANY_CREDENTIALS"]]),
    ("GetKeySet", &[]),
    ("CreateProject", &[&["TOO_MANY_PROJECTS", "KEY_REUSED"]]),
    ("ListProjects", &[&["PAGE_TOKEN_INVALID"]]),
    // `load` and `save` are other routes, not ids of projects.
    ("GetProject", &[&["PROJECT_NOT_FOUND", "METHOD_NOT_ALLOWED"]]),
    ("UpdateProject", &[&["PROJECT_NOT_FOUND", "ROLE_REQUIRED", "METHOD_NOT_ALLOWED"]]),
    ("DeleteProject", &[&["PROJECT_NOT_FOUND", "ROLE_REQUIRED", "METHOD_NOT_ALLOWED"]]),
    ("GetUsage", &[]),
    ("GetProjectUsage", &[&["PROJECT_NOT_FOUND"]]),
    ("UndeleteProject", &[&["PROJECT_NOT_FOUND", "ROLE_REQUIRED"]]),
    (
        "ForkProject",
        &[&["PROJECT_NOT_FOUND", "REVISION_NOT_FOUND", "TOO_MANY_PROJECTS", "KEY_REUSED", "FORK_TOO_DEEP", "MESSAGE_TOO_LARGE"]],
    ),
    ("MergeProject", &[STORING, &["REVISION_NOT_FOUND", "MERGE_TOO_COMPLEX"]]),
    ("ListForks", &[&["PROJECT_NOT_FOUND", "PAGE_TOKEN_INVALID"]]),
    ("SaveProject", &[STORING, SAVING]),
    ("SaveProjectInPath", &[STORING, SAVING]),
    ("LoadProject", &[&["PROJECT_NOT_FOUND", "REVISION_NOT_FOUND", "PAGE_TOKEN_INVALID"]]),
    ("ListFiles", &[&["PROJECT_NOT_FOUND", "REVISION_NOT_FOUND"]]),
    ("GetFile", &[&["PROJECT_NOT_FOUND", "REVISION_NOT_FOUND", "FILE_NOT_FOUND", "INVALID_PATH"]]),
    ("SearchFiles", &[&["PROJECT_NOT_FOUND", "REVISION_NOT_FOUND", "PAGE_TOKEN_INVALID"]]),
    ("ExportProject", &[&["PROJECT_NOT_FOUND", "REVISION_NOT_FOUND"]]),
    (
        "UploadFile",
        &[STORING, &["LENGTH_REQUIRED", "WRITE_EXPIRED", "BODY_BROKEN", "BODY_TIMEOUT", "UNSUPPORTED_MEDIA_TYPE", "REVISION_NOT_FOUND"]],
    ),
    ("DeleteFile", &[STORING, &["FILE_NOT_FOUND", "REVISION_NOT_FOUND"]]),
    ("DownloadFile", &[&["PROJECT_NOT_FOUND", "REVISION_NOT_FOUND", "FILE_NOT_FOUND", "INVALID_PATH", "RANGE_NOT_SATISFIABLE"]]),
    ("ReadFiles", &[&["PROJECT_NOT_FOUND", "REVISION_NOT_FOUND", "INVALID_PATH"]]),
    ("ListRevisions", &[&["PROJECT_NOT_FOUND", "INVALID_PATH", "PAGE_TOKEN_INVALID"]]),
    ("WatchProject", &[&["PROJECT_NOT_FOUND", "CURSOR_AHEAD"]]),
    ("GetRevision", &[&["PROJECT_NOT_FOUND", "REVISION_NOT_FOUND"]]),
    ("DiffRevisions", &[&["PROJECT_NOT_FOUND", "REVISION_NOT_FOUND", "TURN_NOT_FOUND", "INVALID_PATH", "PAGE_TOKEN_INVALID"]]),
    ("ListFileRevisions", &[&["PROJECT_NOT_FOUND", "REVISION_NOT_FOUND", "FILE_NOT_FOUND", "INVALID_PATH", "PAGE_TOKEN_INVALID"]]),
    (
        "BlameFile",
        &[
            &["PROJECT_NOT_FOUND", "REVISION_NOT_FOUND", "FILE_NOT_FOUND", "FILE_TOO_LARGE", "FILE_NOT_TEXT", "INVALID_PATH"],
            &["PAGE_TOKEN_INVALID"],
        ],
    ),
    ("RestoreRevision", &[STORING, &["REVISION_NOT_FOUND"]]),
    ("RevertRevision", &[STORING, &["REVISION_NOT_FOUND"]]),
    ("RevertRevisionOfTurn", &[STORING, &["REVISION_NOT_FOUND"]]),
    ("UndoRevision", &[STORING, &["NOTHING_TO_UNDO"]]),
    ("RedoRevision", &[STORING, &["NOTHING_TO_REDO"]]),
    ("ListLabels", &[&["PROJECT_NOT_FOUND", "PAGE_TOKEN_INVALID"]]),
    ("SetLabel", &[&["PROJECT_NOT_FOUND", "REVISION_NOT_FOUND", "ROLE_REQUIRED", "TOO_MANY_LABELS"]]),
    ("DeleteLabel", &[&["PROJECT_NOT_FOUND", "LABEL_NOT_FOUND", "ROLE_REQUIRED"]]),
    ("ListLocks", &[&["PROJECT_NOT_FOUND"]]),
    ("SetLock", &[&["PROJECT_NOT_FOUND", "ROLE_REQUIRED", "INVALID_PATH", "TOO_MANY_LOCKS"]]),
    ("DeleteLock", &[&["PROJECT_NOT_FOUND", "ROLE_REQUIRED", "INVALID_PATH", "LOCK_NOT_FOUND"]]),
    ("ListMessages", &[&["PROJECT_NOT_FOUND", "PAGE_TOKEN_INVALID"]]),
    ("ListConflicts", &[&["PROJECT_NOT_FOUND", "PAGE_TOKEN_INVALID"]]),
    ("SearchMessages", &[&["PROJECT_NOT_FOUND", "PAGE_TOKEN_INVALID"]]),
    ("UpdateMessage", &[&["PROJECT_NOT_FOUND", "MESSAGE_NOT_FOUND", "AUTHOR_REQUIRED", "ROLE_REQUIRED"]]),
    ("DeleteMessage", &[&["PROJECT_NOT_FOUND", "MESSAGE_NOT_FOUND", "AUTHOR_REQUIRED", "ROLE_REQUIRED", "TURN_OPEN"]]),
    ("SetReaction", &[&["PROJECT_NOT_FOUND", "MESSAGE_NOT_FOUND"]]),
    ("DeleteReaction", &[&["PROJECT_NOT_FOUND", "MESSAGE_NOT_FOUND"]]),
    ("GetConflict", &[&["PROJECT_NOT_FOUND", "CONFLICT_NOT_FOUND", "CONFLICT_RESOLVED"]]),
    ("ResolveConflict", &[STORING, &["CONFLICT_NOT_FOUND", "CONFLICT_RESOLVED"]]),
    ("CreatePreview", &[&["PROJECT_NOT_FOUND", "REVISION_NOT_FOUND", "TURN_NOT_FOUND", "TURN_NOT_RUNNING"]]),
    ("DeletePreview", &[&["PROJECT_NOT_FOUND", "PREVIEW_NOT_FOUND"]]),
    (
        "PublishTemplate",
        &[&[
            "PROJECT_NOT_FOUND",
            "REVISION_NOT_FOUND",
            "FILE_NOT_FOUND",
            "ROLE_REQUIRED",
            "TEMPLATE_NOT_FOUND",
            "PUBLISHER_REQUIRED",
            "TOO_MANY_TEMPLATES",
            "TOO_MANY_VERSIONS",
            "ACCOUNT_TOO_LARGE",
            "KEY_REUSED",
        ]],
    ),
    ("ListTemplates", &[&["PAGE_TOKEN_INVALID"]]),
    ("GetTemplate", &[&["TEMPLATE_NOT_FOUND"]]),
    ("GetTemplateFile", &[&["TEMPLATE_NOT_FOUND", "FILE_NOT_FOUND", "INVALID_PATH"]]),
    (
        "UseTemplate",
        &[&[
            "TEMPLATE_NOT_FOUND",
            "PROJECT_NOT_FOUND",
            "REVISION_NOT_FOUND",
            "FILE_TOO_LARGE",
            "TOO_MANY_FILES",
            "PROJECT_TOO_LARGE",
            "FOLDER_TOO_LARGE",
            "TOO_MANY_PROJECTS",
            "ACCOUNT_TOO_LARGE",
            "KEY_REUSED",
        ]],
    ),
    ("UnpublishTemplate", &[&["TEMPLATE_NOT_FOUND", "PUBLISHER_REQUIRED"]]),
    ("ListTemplateReviews", &[&["TEMPLATE_NOT_FOUND", "PAGE_TOKEN_INVALID"]]),
    ("RateTemplate", &[&["TEMPLATE_NOT_FOUND", "OWN_TEMPLATE"]]),
    ("DeleteTemplateReview", &[&["TEMPLATE_NOT_FOUND", "REVIEW_NOT_FOUND"]]),
    ("ReportTemplate", &[&["TEMPLATE_NOT_FOUND"]]),
    ("StartTurn", &[STARTING]),
    ("StartTurnAndFollow", &[STARTING]),
    ("ListTurns", &[&["PROJECT_NOT_FOUND"]]),
    ("GetTurn", &[&["TURN_NOT_FOUND"]]),
    ("StreamTurnEvents", &[FOLLOWING]),
    ("CancelTurn", &[&["TURN_NOT_FOUND", "TOO_LATE"]]),
    ("GetFindings", &[&["PROJECT_NOT_FOUND", "REVISION_NOT_FOUND"]]),
    ("ListStagedFiles", &[&["TURN_NOT_FOUND", "TURN_NOT_RUNNING"]]),
    ("GetStagedFile", &[&["TURN_NOT_FOUND", "TURN_NOT_RUNNING", "FILE_NOT_FOUND"]]),
    ("ListAgents", &[]),
    ("GetAgent", &[&["AGENT_NOT_FOUND"]]),
    ("SelectAgent", &[&["AGENT_NOT_FOUND"]]),
    ("GetTokenUsage", &[]),
    ("PlanTurn", &[&["AGENT_NOT_FOUND", "MODEL_NOT_FOUND", "PROJECT_NOT_FOUND", "REVISION_NOT_FOUND"]]),
    ("ImportProject", &[STORING, IMPORTING, &["TOO_MANY_PROJECTS", "METHOD_NOT_ALLOWED"]]),
    ("ImportIntoProject", &[STORING, IMPORTING]),
    (
        "PublishSite",
        &[
            STORING,
            PUBLISHING,
            &["COMPILER_MISSING", "COMPILER_FAILED", "COMPILER_TIMEOUT", "TREE_TOO_LARGE", "BUILD_FAILED", "SITES_DISABLED"],
        ],
    ),
    ("GetSite", &[&["PROJECT_NOT_FOUND", "SITE_NOT_FOUND"]]),
    ("UnpublishSite", &[&["PROJECT_NOT_FOUND", "SITE_NOT_FOUND", "ROLE_REQUIRED"]]),
    ("ListDeployments", &[&["PROJECT_NOT_FOUND", "SITE_NOT_FOUND", "PAGE_TOKEN_INVALID"]]),
    ("ActivateDeployment", &[&["PROJECT_NOT_FOUND", "SITE_NOT_FOUND", "DEPLOYMENT_NOT_FOUND", "ROLE_REQUIRED"]]),
    ("ExportDeployment", &[&["PROJECT_NOT_FOUND", "SITE_NOT_FOUND", "DEPLOYMENT_NOT_FOUND"]]),
    ("SendChatMessage", &[STARTING, &["TURN_NOT_FOUND", "CONTINUATION_UNSUPPORTED"]]),
    ("ResumeChat", &[&["PROJECT_NOT_FOUND"], FOLLOWING]),
    ("StopChat", &[&["PROJECT_NOT_FOUND", "TURN_NOT_FOUND", "TOO_LATE"]]),
    ("RunAgent", &[STARTING, &["TURN_NOT_FOUND", "TOOLS_UNSUPPORTED", "RESUME_UNSUPPORTED"]]),
];
/// Further reasons of publications.
const PUBLISHING: &[&str] = &["REVISION_NOT_FOUND", "FILE_NOT_FOUND", "SLUG_RESERVED", "SLUG_TAKEN", "WRITE_EXPIRED"];
/// Further reasons of imports.
const IMPORTING: &[&str] = &["ARCHIVE_INVALID", "ARCHIVE_ENTRY_REFUSED", "ARCHIVE_TOO_LARGE", "REVISION_NOT_FOUND"];
/// Further reasons of saves.
const SAVING: &[&str] = &["TOO_MANY_CHANGES", "REVISION_NOT_FOUND", "FILE_NOT_FOUND", "FILE_EXISTS", "FILE_CHANGED", "TOO_MANY_PROJECTS"];

/// The properties of an operation that its reasons depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape<'a> {
    pub(super) id: &'a str,
    pub(super) changes: bool,
    pub(super) has_body: bool,
    pub(super) has_variable: bool,
    pub(super) needs_person: bool,
}

/// All reasons of an operation, each once.
pub(super) fn reasons_of(shape: Shape<'_>) -> Vec<&'static str> {
    let own = OWN.iter().find(|(id, _)| *id == shape.id).map_or(&[][..], |(_, lists)| *lists);
    let parts = [(shape.changes, CHANGING), (shape.has_body, BODIES), (shape.has_variable, PATHS), (shape.needs_person, AUTHENTICATED)];
    let lists = parts.into_iter().filter_map(|(holds, list)| holds.then_some(list)).chain([EVERY]).chain(own.iter().copied());
    let mut reasons: Vec<_> = lists.flatten().copied().collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons
}

pub(super) fn code_of(reason: &str) -> ErrorCode {
    CODES.iter().find(|(_, reasons)| reasons.contains(&reason)).map_or(Internal, |(code, _)| *code)
}

/// Whether the table has an operation.
#[cfg(test)]
pub(super) fn knows(id: &str) -> bool {
    OWN.iter().any(|(known, _)| *known == id)
}

/// All reasons with a code.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    CODES.iter().flat_map(|(_, reasons)| reasons.iter().copied())
}

/// Whether a reason has a code.
#[cfg(test)]
pub(super) fn has_code(reason: &str) -> bool {
    CODES.iter().any(|(_, reasons)| reasons.contains(&reason))
}
