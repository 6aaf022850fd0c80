//! The errors of the service, and how a client sees them.

mod paths;
mod site;

use std::time::Duration;

use chassis::{error::ServiceError, identity::Caller, postgres::StoreError};
use proto::{
    error::{ErrorCode, Fault, FieldViolation},
    id::TurnId,
    path::{BadPath, shown},
};

use crate::{
    archive::error::ArchiveError,
    git::{Corruption, Oid},
    merge::MergeMode,
};

use self::paths::{conflict_text, join_paths};
pub(crate) use self::site::SiteError;

/// The name of the service's folder, and the domain of its reasons.
pub(crate) const SERVICE: &str = Caller::ProjectStorage.name();
/// Characters that the metadata has of the path of an entry of an archive.
const MAX_ARCHIVE_PATH_CHARACTERS: usize = 255;
/// Characters that are shown of an invalid path.
const MAX_PATH_CHARACTERS: usize = 64;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{field}: {problem}")]
    Field { field: String, problem: String },
    #[error("`{}` is not a legal path here: {problem}", shown(path))]
    InvalidPath { field: String, path: String, problem: String },
    #[error("`{path}` has {size} bytes; a file may have {limit}")]
    FileTooLarge { field: String, path: String, size: u32, limit: u32 },
    #[error("`{path}` is not UTF-8 text")]
    FileNotText { path: String },
    #[error("`{path}` is one file too many; a project may have {limit}")]
    TooManyFiles { field: String, path: String, limit: u32 },
    #[error("with `{path}` the project has too many bytes; a project may have {limit}")]
    ProjectTooLarge { field: String, path: String, limit: u32 },
    #[error("`{path}` is one entry too many in one of its folders; a folder may have {limit}")]
    FolderTooLarge { field: String, path: String, limit: u32 },
    #[error("the save has {count} changes; a save may have {limit}")]
    TooManyChanges { count: usize, limit: usize },
    #[error("the account has as many projects as it may have, {limit}, deleted ones included; purge one first")]
    TooManyProjects { limit: u32 },
    #[error("the projects of the account, with their history, may store {limit} bytes, and this would be more; purge a project first")]
    AccountTooLarge { limit: u64 },
    #[error("the project has {limit} labels, which is as many as it may have; delete one first")]
    TooManyLabels { limit: u32 },
    #[error("the project has {limit} locks, which is as many as it may have; delete one first")]
    TooManyLocks { limit: u32 },
    #[error("no such lock in this project")]
    LockNotFound,
    #[error("`{path}` may not be changed: there is a lock on `{lock}`")]
    PathLocked { path: String, lock: String },
    #[error("the project is the fork of a fork, and so on, {limit} times, which is as deep as forks may be")]
    ForkTooDeep { limit: u32 },
    #[error("the two projects have more than {limit} common ancestors that a merge must compare")]
    MergeTooComplex { limit: usize },
    #[error("the account has published {limit} templates, which is as many as it may; unpublish one first")]
    TooManyTemplates { limit: u32 },
    #[error("the template has {limit} versions, which is as many as it may have; publish a new template")]
    TooManyVersions { limit: u32 },
    #[error("no such template")]
    TemplateNotFound,
    #[error("somebody else published the template")]
    PublisherRequired,
    #[error("the publisher of a template cannot rate it")]
    OwnTemplate,
    #[error("there is no review of this user")]
    ReviewNotFound,
    #[error("no such project")]
    ProjectNotFound,
    #[error("no such label in this project")]
    LabelNotFound,
    #[error("no such message in this project")]
    MessageNotFound,
    #[error("only the author may change this message")]
    AuthorRequired,
    #[error("a turn of the project is running and may read the message; wait until it has ended, or cancel it")]
    TurnOpen { turn: TurnId },
    #[error("no such revision in this project")]
    RevisionNotFound,
    #[error("there is no file `{path}`")]
    FileNotFound { field: String, path: String },
    #[error("`{path}` exists already")]
    FileExists { field: String, path: String },
    #[error("`{path}` has another ETag")]
    FileChanged { field: String, path: String, current: String },
    #[error("`{path}` does not meet the condition of the request")]
    FileMismatch { path: String, current: String },
    #[error("the project has changed since that revision{}", conflict_text(paths, *mode))]
    StaleRevision { base: String, head: String, paths: Vec<String>, mode: MergeMode },
    #[error("the project has another ETag than If-Match names")]
    EtagMismatch { current: String },
    #[error("the idempotency key was used with another request")]
    KeyReused,
    #[error("no such conflict")]
    ConflictNotFound,
    #[error("the conflict has already been resolved")]
    ConflictResolved { revision: Oid },
    #[error("you have changed nothing in this project that is not undone")]
    NothingToUndo,
    #[error("there is no undo of yours to redo, or you have changed the project since")]
    NothingToRedo,
    #[error("no such turn")]
    TurnNotFound,
    #[error("the turn has ended")]
    TurnEnded,
    #[error("the turn to replace is no longer in the conversation: another request replaced it, or it was withdrawn")]
    TurnReplaced { by: TurnId },
    #[error("the turn was committed with another change set")]
    DigestMismatch,
    #[error("the session of the access token has ended")]
    SessionEnded,
    #[error("no such preview")]
    PreviewNotFound,
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error("page_token {0}")]
    PageToken(#[from] chassis::page::BadPageToken),
    #[error("the role in this project does not allow it")]
    RoleRequired,
    #[error("too many requests save this project at the same time")]
    Busy,
    #[error("the files took too long, so they may have been removed again; send them once more")]
    WriteExpired,
    #[error("the files have more than {limit} bytes together; load them in pages with page_bytes")]
    LoadTooLarge { limit: u64 },
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("the database failed")]
    Store(#[from] StoreError),
    #[error("the database has damaged data")]
    Corruption(#[from] Corruption),
}

impl Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Field { .. }
            | Self::InvalidPath { .. }
            | Self::FileTooLarge { .. }
            | Self::FileNotText { .. }
            | Self::TooManyFiles { .. }
            | Self::ProjectTooLarge { .. }
            | Self::FolderTooLarge { .. }
            | Self::TooManyChanges { .. }
            | Self::LoadTooLarge { .. }
            | Self::Archive(_)
            | Self::PageToken(_) => ErrorCode::InvalidArgument,
            Self::ProjectNotFound
            | Self::TemplateNotFound
            | Self::ReviewNotFound
            | Self::RevisionNotFound
            | Self::LabelNotFound
            | Self::LockNotFound
            | Self::MessageNotFound
            | Self::FileNotFound { .. }
            | Self::ConflictNotFound
            | Self::TurnNotFound
            | Self::PreviewNotFound => ErrorCode::NotFound,
            Self::Site(error) => error.code(),
            Self::FileExists { .. }
            | Self::FileChanged { .. }
            | Self::StaleRevision { .. }
            | Self::EtagMismatch { .. }
            | Self::FileMismatch { .. }
            | Self::KeyReused
            | Self::ConflictResolved { .. }
            | Self::NothingToUndo
            | Self::NothingToRedo
            | Self::TurnEnded
            | Self::TurnOpen { .. }
            | Self::TurnReplaced { .. }
            | Self::DigestMismatch
            | Self::ForkTooDeep { .. }
            | Self::MergeTooComplex { .. } => ErrorCode::Conflict,
            Self::RoleRequired | Self::AuthorRequired | Self::PathLocked { .. } | Self::PublisherRequired | Self::OwnTemplate => {
                ErrorCode::Forbidden
            }
            Self::SessionEnded => ErrorCode::Unauthenticated,
            Self::TooManyProjects { .. }
            | Self::TooManyLabels { .. }
            | Self::TooManyLocks { .. }
            | Self::TooManyTemplates { .. }
            | Self::TooManyVersions { .. }
            | Self::AccountTooLarge { .. } => ErrorCode::RateLimited,
            Self::Busy | Self::WriteExpired => ErrorCode::Unavailable,
            Self::Fault(fault) => fault.code,
            Self::Store(failure) if failure.is_transient() => ErrorCode::Unavailable,
            Self::Store(_) | Self::Corruption(_) => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Field { .. } => "INVALID_FIELD",
            Self::InvalidPath { .. } => "INVALID_PATH",
            Self::FileTooLarge { .. } => "FILE_TOO_LARGE",
            Self::FileNotText { .. } => "FILE_NOT_TEXT",
            Self::TooManyFiles { .. } => "TOO_MANY_FILES",
            Self::ProjectTooLarge { .. } => "PROJECT_TOO_LARGE",
            Self::FolderTooLarge { .. } => "FOLDER_TOO_LARGE",
            Self::TooManyChanges { .. } => "TOO_MANY_CHANGES",
            Self::TooManyProjects { .. } => "TOO_MANY_PROJECTS",
            Self::TooManyLabels { .. } => "TOO_MANY_LABELS",
            Self::TooManyLocks { .. } => "TOO_MANY_LOCKS",
            Self::LockNotFound => "LOCK_NOT_FOUND",
            Self::PathLocked { .. } => "PATH_LOCKED",
            Self::AccountTooLarge { .. } => "ACCOUNT_TOO_LARGE",
            Self::TooManyTemplates { .. } => "TOO_MANY_TEMPLATES",
            Self::TooManyVersions { .. } => "TOO_MANY_VERSIONS",
            Self::TemplateNotFound => "TEMPLATE_NOT_FOUND",
            Self::PublisherRequired => "PUBLISHER_REQUIRED",
            Self::OwnTemplate => "OWN_TEMPLATE",
            Self::ReviewNotFound => "REVIEW_NOT_FOUND",
            Self::SessionEnded => "SESSION_ENDED",
            Self::ForkTooDeep { .. } => "FORK_TOO_DEEP",
            Self::MergeTooComplex { .. } => "MERGE_TOO_COMPLEX",
            Self::ProjectNotFound => "PROJECT_NOT_FOUND",
            Self::RevisionNotFound => "REVISION_NOT_FOUND",
            Self::LabelNotFound => "LABEL_NOT_FOUND",
            Self::MessageNotFound => "MESSAGE_NOT_FOUND",
            Self::AuthorRequired => "AUTHOR_REQUIRED",
            Self::TurnOpen { .. } => "TURN_OPEN",
            Self::FileNotFound { .. } => "FILE_NOT_FOUND",
            Self::FileExists { .. } => "FILE_EXISTS",
            Self::FileChanged { .. } => "FILE_CHANGED",
            Self::StaleRevision { .. } => "STALE_REVISION",
            Self::EtagMismatch { .. } | Self::FileMismatch { .. } => "ETAG_MISMATCH",
            Self::KeyReused => "KEY_REUSED",
            Self::ConflictNotFound => "CONFLICT_NOT_FOUND",
            Self::ConflictResolved { .. } => "CONFLICT_RESOLVED",
            Self::NothingToUndo => "NOTHING_TO_UNDO",
            Self::NothingToRedo => "NOTHING_TO_REDO",
            Self::TurnNotFound => "TURN_NOT_FOUND",
            Self::TurnEnded => "TURN_ENDED",
            Self::TurnReplaced { .. } => "TURN_REPLACED",
            Self::DigestMismatch => "TURN_DIGEST_MISMATCH",
            Self::PreviewNotFound => "PREVIEW_NOT_FOUND",
            Self::Site(error) => error.reason(),
            Self::PageToken(_) => "PAGE_TOKEN_INVALID",
            Self::RoleRequired => "ROLE_REQUIRED",
            Self::Busy => "OVERLOADED",
            Self::Archive(ArchiveError::Entry { .. }) => "ARCHIVE_ENTRY_REFUSED",
            Self::Archive(ArchiveError::TooLarge { .. }) => "ARCHIVE_TOO_LARGE",
            Self::Archive(ArchiveError::Invalid { .. }) => "ARCHIVE_INVALID",
            Self::Archive(ArchiveError::Stopped) => "BODY_BROKEN",
            Self::WriteExpired => "WRITE_EXPIRED",
            Self::LoadTooLarge { .. } => "LOAD_TOO_LARGE",
            Self::Fault(fault) => &fault.reason,
            Self::Store(failure) if failure.is_transient() => "UNAVAILABLE",
            Self::Store(_) | Self::Corruption(_) => "INTERNAL",
        }
    }

    /// The invalid field of the request, and what is wrong with it.
    fn violation(&self) -> Option<FieldViolation> {
        let field = match self {
            Self::Field { field, problem } => return Some(FieldViolation { field: field.clone(), description: problem.clone() }),
            Self::InvalidPath { field, .. }
            | Self::FileTooLarge { field, .. }
            | Self::TooManyFiles { field, .. }
            | Self::ProjectTooLarge { field, .. }
            | Self::FolderTooLarge { field, .. }
            | Self::FileExists { field, .. }
            | Self::FileNotFound { field, .. }
            | Self::FileChanged { field, .. } => field.clone(),
            Self::TooManyChanges { .. } => "changes".to_owned(),
            Self::LoadTooLarge { .. } => "page_bytes".to_owned(),
            Self::PageToken(_) => "page_token".to_owned(),
            Self::Site(error) if error.slug().is_some() => "slug".to_owned(),
            _ => return None,
        };
        // The path of a read or of a preview has no field.
        (!field.is_empty()).then(|| FieldViolation { field, description: self.to_string() })
    }

    fn metadata(&self, fault: Fault) -> Fault {
        match self {
            Self::FileTooLarge { path, limit, .. }
            | Self::TooManyFiles { path, limit, .. }
            | Self::ProjectTooLarge { path, limit, .. }
            | Self::FolderTooLarge { path, limit, .. } => fault.with("path", path).with("limit", limit.to_string()),
            Self::Site(error) => match error.slug() {
                Some(slug) => fault.with("slug", slug),
                None => fault,
            },
            Self::PathLocked { path, lock } => fault.with("path", path).with("lock", lock),
            Self::Archive(refused) => archive_metadata(refused, fault),
            Self::TooManyProjects { limit }
            | Self::TooManyLabels { limit }
            | Self::TooManyLocks { limit }
            | Self::TooManyTemplates { limit }
            | Self::TooManyVersions { limit }
            | Self::ForkTooDeep { limit } => fault.with("limit", limit.to_string()),
            Self::AccountTooLarge { limit } | Self::LoadTooLarge { limit } => fault.with("limit", limit.to_string()),
            Self::TooManyChanges { limit, .. } | Self::MergeTooComplex { limit } => fault.with("limit", limit.to_string()),
            Self::InvalidPath { path, .. }
            | Self::FileNotFound { path, .. }
            | Self::FileNotText { path }
            | Self::FileExists { path, .. } => fault.with("path", path),
            Self::FileChanged { path, current, .. } | Self::FileMismatch { path, current } => {
                fault.with("path", path).with("current", current)
            }
            Self::StaleRevision { base, head, paths, .. } => {
                fault.with("base", base).with("head", head).with("paths", join_paths(paths)).with("path_count", paths.len().to_string())
            }
            Self::EtagMismatch { current } => fault.with("current", current),
            Self::ConflictResolved { revision } => fault.with("revision", revision.to_string()),
            Self::TurnOpen { turn } => fault.with("turn", turn.to_string()),
            Self::TurnReplaced { by } => fault.with("replaced_by", by.to_string()),
            _ => fault,
        }
    }

    /// The same error of a request with one change, whose field has this name.
    pub(crate) fn in_field(mut self, name: &str) -> Self {
        if let Self::InvalidPath { field, .. }
        | Self::FileTooLarge { field, .. }
        | Self::TooManyFiles { field, .. }
        | Self::ProjectTooLarge { field, .. }
        | Self::FolderTooLarge { field, .. }
        | Self::FileExists { field, .. }
        | Self::FileNotFound { field, .. }
        | Self::FileChanged { field, .. } = &mut self
        {
            name.clone_into(field);
        }
        self
    }

    /// A path that is not allowed. A long path is cut.
    pub(crate) fn invalid_path(field: String, path: &str, problem: &BadPath) -> Self {
        Self::InvalidPath { field, path: path.chars().take(MAX_PATH_CHARACTERS).collect(), problem: problem.to_string() }
    }

    /// The head is not `base`, and these paths cannot be merged in the mode.
    pub(crate) fn stale(base: Option<Oid>, head: Option<Oid>, paths: Vec<String>, mode: MergeMode) -> Self {
        let etag = |oid: Option<Oid>| oid.map(|oid| oid.etag()).unwrap_or_default();
        Self::StaleRevision { base: etag(base), head: etag(head), paths, mode }
    }
}

/// The entry and the limit of a refused archive. A long path is cut.
fn archive_metadata(refused: &ArchiveError, fault: Fault) -> Fault {
    let path = |path: &str| path.chars().take(MAX_ARCHIVE_PATH_CHARACTERS).collect::<String>();
    let fault = match refused {
        ArchiveError::TooLarge { limit, .. } => fault.with("limit", limit.to_string()),
        _ => fault,
    };
    match refused {
        ArchiveError::Entry { path: entry, .. }
        | ArchiveError::Invalid { entry: Some(entry), .. }
        | ArchiveError::TooLarge { entry: Some(entry), .. } => fault.with("path", path(entry)),
        _ => fault,
    }
}

impl ServiceError for Error {
    fn fault(&self) -> Fault {
        if let Self::Fault(fault) = self {
            return fault.clone();
        }
        let mut fault = Fault::new(SERVICE, self.code(), self.reason(), self.to_string());
        fault.violations.extend(self.violation());
        if self.code() == ErrorCode::Unavailable {
            fault.retry_after = Some(Duration::from_secs(1));
        }
        self.metadata(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_paths_is_cut() {
        let paths: Vec<String> = (0..100).map(|n| format!("{n:0255}")).collect();
        let fault = Error::stale(None, None, paths, MergeMode::Lines).fault();
        assert_eq!((fault.metadata["paths"].lines().count(), fault.metadata["path_count"].as_str()), (8, "100"));
    }

    #[test]
    fn a_conflict_names_its_paths_and_whether_a_merge_was_tried() {
        let changed = "the project has changed since that revision";
        let rows = [
            (MergeMode::Paths, 0, String::new()),
            (MergeMode::Paths, 1, ", and both sides changed `0.js`".to_owned()),
            (MergeMode::Lines, 2, "; a merge was tried, but the changes of both sides overlap in `0.js`, `1.js`".to_owned()),
            (
                MergeMode::Lines,
                7,
                "; a merge was tried, but the changes of both sides overlap in `0.js`, `1.js`, `2.js`, `3.js`, `4.js` and 2 more"
                    .to_owned(),
            ),
        ];
        for (mode, count, rest) in rows {
            let paths = (0..count).map(|n| format!("{n}.js")).collect();
            assert_eq!(Error::stale(None, None, paths, mode).fault().message, format!("{changed}{rest}"));
        }
    }

    #[test]
    fn an_exceeded_limit_names_field_file_and_limit() {
        let error = Error::FileTooLarge { field: "changes[3].write".into(), path: "a.js".into(), size: 51_201, limit: 51_200 };
        let fault = error.fault();
        assert_eq!(
            (fault.code, fault.reason.as_str(), fault.domain.as_str()),
            (ErrorCode::InvalidArgument, "FILE_TOO_LARGE", "project-storage.backlot.dev")
        );
        assert_eq!(fault.violations[0].field, "changes[3].write");
        assert!(fault.violations[0].description.contains("`a.js` has 51201 bytes; a file may have 51200"));
    }
}
