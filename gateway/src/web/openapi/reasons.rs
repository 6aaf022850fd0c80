//! The reasons that each operation may be refused for. The comments of the contract explain them.

mod codes;

use proto::error::ErrorCode::{self, Internal};

use self::codes::CODES;

/// Reasons of the contract that no operation has. They are used between services, or by RPCs without an HTTP binding.
#[cfg(test)]
pub(super) const BETWEEN_ROLES: [&str; 17] = [
    "DEVICE_CODE_INVALID",
    "LOAD_TOO_LARGE",
    "CALLER_DENIED",
    "UNIMPLEMENTED",
    "SLOW_READER",
    "TURN_ENDED",
    "TURN_DIGEST_MISMATCH",
    // The pages of sign-ins at providers say them.
    "EMAIL_UNVERIFIED",
    "PROVIDER_NOT_FOUND",
    "PROVIDER_DENIED",
    "PROVIDER_REFUSED",
    "PROVIDER_SIGN_IN_TOO_OLD",
    "PROVIDER_SIGN_IN_TOO_WEAK",
    "PROVIDER_UNAVAILABLE",
    "FLOW_INVALID",
    "IDENTITY_TAKEN",
    "TOO_MANY_IDENTITIES",
];

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
const AUTHENTICATED: &[&str] = &[
    "TOKEN_MISSING",
    "TOKEN_INVALID",
    "SESSION_ENDED",
    "SESSION_AMBIGUOUS",
    "API_KEY_INVALID",
    "SCOPE_REQUIRED",
    "SECOND_FACTOR_MISSING",
    "PROJECTS_RESTRICTED",
];

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

/// Reasons of answers of passkeys.
const OF_ANSWERS: &[&str] = &["PASSKEYS_NOT_OFFERED", "CEREMONY_INVALID", "PASSKEY_INVALID"];

/// Further reasons of an operation, by its id.
const OWN: &[(&str, &[&[&str]])] = &[
    ("SignUp", &[&["WEAK_PASSWORD", "EMAIL_TAKEN", "SIGNUP_CLOSED", "INVITE_REQUIRED", "INVITE_INVALID"]]),
    ("SignIn", &[&["BAD_CREDENTIALS", "CHALLENGE_REQUIRED", "SECOND_FACTOR_REQUIRED"]]),
    ("VerifySignIn", &[&["BAD_CREDENTIALS", "BAD_SECOND_FACTOR", "SIGN_IN_EXPIRED"]]),
    ("VerifyEmail", &[AUTHENTICATED, &["LINK_INVALID", "BAD_CREDENTIALS", "SESSION_REQUIRED"]]),
    ("SendVerification", &[]),
    ("RequestPasswordReset", &[]),
    ("ConfirmPasswordReset", &[&["LINK_INVALID", "WEAK_PASSWORD"]]),
    ("ChangeEmail", &[&["SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED"]]),
    ("ConfirmEmailChange", &[&["SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED", "LINK_INVALID", "EMAIL_TAKEN"]]),
    ("SignOut", &[&["TOKEN_MISSING"]]),
    ("GetSession", &[]),
    ("CreateAccessToken", &[&["SECOND_FACTOR_MISSING", "TOKEN_REUSED"]]),
    ("ListSessions", &[]),
    ("RevokeSession", &[&["SESSION_NOT_FOUND", "SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED"]]),
    ("RevokeSessions", &[&["SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED"]]),
    ("ChangePassword", &[&["SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED", "BAD_CREDENTIALS", "WEAK_PASSWORD"]]),
    (
        "StepUp",
        &[&[
            "SESSION_REQUIRED",
            "IMPERSONATED",
            "STEP_UP_REQUIRED",
            "BAD_CREDENTIALS",
            "BAD_SECOND_FACTOR",
            "PASSKEYS_NOT_OFFERED",
            "CEREMONY_INVALID",
            "PASSKEY_INVALID",
        ]],
    ),
    ("GetFactors", &[&["SESSION_REQUIRED"]]),
    ("StartTotp", &[&["SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED", "FACTOR_EXISTS"]]),
    ("ConfirmTotp", &[&["SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED", "BAD_SECOND_FACTOR", "FACTOR_NOT_FOUND"]]),
    ("DeleteTotp", &[&["SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED", "FACTOR_NOT_FOUND"]]),
    ("CreateRecoveryCodes", &[&["SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED", "FACTOR_NOT_FOUND"]]),
    (
        "StartPasskeyCeremony",
        &[AUTHENTICATED, &["PASSKEYS_NOT_OFFERED", "PASSKEY_NOT_FOUND", "SIGN_IN_EXPIRED", "SESSION_REQUIRED", "STEP_UP_REQUIRED"]],
    ),
    ("CreatePasskey", &[OF_ANSWERS, &["SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED", "TOO_MANY_CREDENTIALS"]]),
    ("ListPasskeys", &[&["SESSION_REQUIRED"]]),
    ("RenamePasskey", &[&["PASSKEY_NOT_FOUND", "SESSION_REQUIRED", "IMPERSONATED"]]),
    ("DeletePasskey", &[&["PASSKEY_NOT_FOUND", "LAST_SIGN_IN", "SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED"]]),
    ("SignInWithPasskey", &[OF_ANSWERS, &["SIGN_IN_EXPIRED", "BAD_CREDENTIALS"]]),
    ("CreateRefreshToken", &[&["SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED", "TOO_MANY_CREDENTIALS"]]),
    (
        "CreateApiKey",
        &[&["SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED", "TOO_MANY_CREDENTIALS", "SERVICE_ACCOUNT_NOT_FOUND", "USER_DISABLED"]],
    ),
    ("ListApiKeys", &[&["SERVICE_ACCOUNT_NOT_FOUND"]]),
    ("DeleteApiKey", &[&["API_KEY_NOT_FOUND", "SERVICE_ACCOUNT_NOT_FOUND", "SESSION_REQUIRED", "IMPERSONATED"]]),
    ("CreateServiceAccount", &[&["SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED", "TOO_MANY_CREDENTIALS"]]),
    ("ListServiceAccounts", &[]),
    ("UpdateServiceAccount", &[&["SERVICE_ACCOUNT_NOT_FOUND", "SESSION_REQUIRED", "IMPERSONATED"]]),
    ("DeleteServiceAccount", &[&["SERVICE_ACCOUNT_NOT_FOUND", "SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED"]]),
    ("StartDeviceSignIn", &[]),
    ("ExchangeDeviceCode", &[]),
    ("GetAuthorizationServerMetadata", &[]),
    ("ListProviders", &[]),
    ("ListIdentities", &[]),
    ("UnlinkIdentity", &[&["IDENTITY_NOT_FOUND", "LAST_SIGN_IN", "SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED"]]),
    ("DeleteAccount", &[&["SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED"]]),
    ("ExportAccount", &[&["SESSION_REQUIRED", "STEP_UP_REQUIRED", "IMPERSONATED"]]),
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
    (
        "CreateProviderKey",
        &[&[
            "IMPERSONATED",
            "SESSION_REQUIRED",
            "STEP_UP_REQUIRED",
            "PROJECT_NOT_FOUND",
            "ROLE_REQUIRED",
            "PROVIDER_KEY_EXISTS",
            "PROVIDER_KEYS_DISABLED",
        ]],
    ),
    ("ListProviderKeys", &[&["PROJECT_NOT_FOUND", "ROLE_REQUIRED"]]),
    (
        "UpdateProviderKey",
        &[&[
            "IMPERSONATED",
            "SESSION_REQUIRED",
            "STEP_UP_REQUIRED",
            "PROVIDER_KEY_NOT_FOUND",
            "ROLE_REQUIRED",
            "KEY_REQUIRED",
            "PROVIDER_KEY_CHANGED",
            "PROVIDER_KEYS_DISABLED",
        ]],
    ),
    ("DeleteProviderKey", &[&["IMPERSONATED", "SESSION_REQUIRED", "PROVIDER_KEY_NOT_FOUND", "ROLE_REQUIRED"]]),
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

/// The further reasons of an operation.
#[cfg(test)]
pub(super) fn own(id: &str) -> impl Iterator<Item = &'static str> {
    OWN.iter().filter(move |(known, _)| *known == id).flat_map(|(_, lists)| lists.iter().copied().flatten().copied())
}
