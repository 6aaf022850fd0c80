//! The errors of this service, and what a client sees of them.

use std::{io, path::PathBuf, time::Duration};

use chassis::{error::ServiceError, identity::Caller, share::Exhausted};
use compiler_client::worker;
use proto::error::{ErrorCode, Fault};

use crate::store::StoreError;

/// The name in the domain of the errors.
pub(crate) const SERVICE: &str = Caller::Compile.name();

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A request that is refused, with the fault that says why.
    #[error("{}", .0.message)]
    Refused(Box<Fault>),
    #[error("{0}")]
    UnexpectedMessage(&'static str),
    #[error("the tree has more than {limit} {what}")]
    TreeTooLarge { what: &'static str, limit: usize },
    #[error("the compiler {} cannot be started: {cause}; set BACKLOT_COMPILER to the path of backlot-compiler", path.display())]
    CompilerMissing { path: PathBuf, cause: io::Error },
    /// Its bundles of tools have another form.
    #[error("backlot-compiler is of an earlier release; install the one of this release, or wait until make run has built it")]
    CompilerOutdated,
    #[error("backlot-compiler was replaced during the build; try again")]
    CompilerReplaced,
    #[error("{0}")]
    Compiler(worker::Error),
    #[error("the page was not complete after the compiler had asked for more files {0} times")]
    TooManyRounds(usize),
    #[error("the build took longer than {0:?}")]
    Timeout(Duration),
    #[error("there is no module with this name; build its page again")]
    ModuleNotFound,
    #[error("the stored bytecode of a tool is not what its address says: {0}")]
    BytecodeChanged(String),
    /// A package that cannot be kept.
    #[error("{error}{help}")]
    Package {
        error: npm::Error,
        /// What an operator can do, after a semicolon. Empty if the error says it.
        help: &'static str,
    },
    #[error("{package}: {problem}")]
    PackageDamaged { package: String, problem: &'static str },
    #[error("the kept packages would have more than {limit} bytes; set BACKLOT_COMPILE_VENDOR_MIB")]
    VendorFull { limit: u64 },
    #[error("the database failed")]
    Store(#[from] StoreError),
    #[error("a stored row cannot be decoded")]
    Row(#[from] prost::DecodeError),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Refused(Box::new(fault))
    }
}

impl From<npm::Error> for Error {
    fn from(error: npm::Error) -> Self {
        Self::Package { error, help: "" }
    }
}

impl Error {
    /// Too much is held of a quantity.
    pub(crate) fn exhausted(exhausted: Exhausted, what: &str) -> Self {
        exhausted.fault(SERVICE, what).into()
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(fault) => fault.code,
            Self::UnexpectedMessage(_) => ErrorCode::InvalidArgument,
            Self::TreeTooLarge { .. } | Self::Compiler(worker::Error::RequestTooLarge { .. }) => ErrorCode::RateLimited,
            Self::CompilerMissing { .. } | Self::CompilerOutdated | Self::CompilerReplaced => ErrorCode::Unavailable,
            Self::Compiler(worker::Error::Timeout { .. }) | Self::Timeout(_) => ErrorCode::Timeout,
            Self::Compiler(_) | Self::TooManyRounds(_) => ErrorCode::Conflict,
            Self::ModuleNotFound => ErrorCode::NotFound,
            Self::Package { error, .. } => package(error).0,
            Self::PackageDamaged { .. } => ErrorCode::Conflict,
            Self::VendorFull { .. } => ErrorCode::RateLimited,
            Self::Store(e) if e.is_transient() => ErrorCode::Unavailable,
            Self::Store(_) | Self::Row(_) | Self::BytecodeChanged(_) => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Refused(fault) => &fault.reason,
            Self::UnexpectedMessage(_) => "UNEXPECTED_MESSAGE",
            Self::TreeTooLarge { .. } | Self::Compiler(worker::Error::RequestTooLarge { .. }) => "TREE_TOO_LARGE",
            Self::CompilerMissing { .. } | Self::CompilerOutdated => "COMPILER_MISSING",
            Self::CompilerReplaced => "UNAVAILABLE",
            Self::Compiler(worker::Error::Timeout { .. }) => "COMPILER_TIMEOUT",
            Self::Timeout(_) => "TIMEOUT",
            Self::Compiler(_) | Self::TooManyRounds(_) => "COMPILER_FAILED",
            Self::ModuleNotFound => "MODULE_NOT_FOUND",
            Self::Package { error, .. } => package(error).1,
            Self::PackageDamaged { .. } => "PACKAGE_DAMAGED",
            Self::VendorFull { .. } => "VENDOR_FULL",
            Self::Store(e) if e.is_transient() => "UNAVAILABLE",
            Self::Store(_) | Self::Row(_) | Self::BytecodeChanged(_) => "INTERNAL",
        }
    }
}

impl ServiceError for Error {
    fn fault(&self) -> Fault {
        if let Self::Refused(fault) = self {
            return (**fault).clone();
        }
        let fault = Fault::new(SERVICE, self.code(), self.reason(), self.to_string());
        let fault = match self {
            Self::Compiler(error) => match file(error) {
                Some(file) => fault.with("file", file),
                None => fault,
            },
            Self::TreeTooLarge { limit, .. } => fault.with("limit", limit.to_string()),
            Self::VendorFull { limit } => fault.with("limit", limit.to_string()),
            _ => fault,
        };
        if self.code() == ErrorCode::Unavailable { fault.retry_after(Duration::from_secs(1)) } else { fault }
    }
}

/// The code and the reason of a package that cannot be kept.
fn package(error: &npm::Error) -> (ErrorCode, &'static str) {
    use npm::Error::{Archive, Field, Integrity, NoPackage, NoVersion, OverrideConflict, PeerConflict, Registry, Syntax, TooLarge};
    match error {
        Syntax { .. } | Field { .. } => (ErrorCode::InvalidArgument, "INVALID_FIELD"),
        NoPackage { .. } | NoVersion { .. } => (ErrorCode::NotFound, "PACKAGE_NOT_FOUND"),
        PeerConflict { .. } | OverrideConflict { .. } => (ErrorCode::Conflict, "PACKAGE_CONFLICT"),
        Integrity { .. } | Archive { .. } => (ErrorCode::Conflict, "PACKAGE_DAMAGED"),
        TooLarge { .. } => (ErrorCode::RateLimited, "PACKAGES_TOO_LARGE"),
        Registry { .. } => (ErrorCode::Unavailable, "REGISTRY_UNAVAILABLE"),
    }
}

/// The file that the worker read when it ended.
pub(crate) fn file(error: &worker::Error) -> Option<&str> {
    match error {
        worker::Error::Timeout { file, .. }
        | worker::Error::OutOfMemory { file }
        | worker::Error::StackOverflow { file }
        | worker::Error::Crash { file, .. } => file.as_deref(),
        _ => None,
    }
}
