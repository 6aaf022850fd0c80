//! What a person should know, although the project resolves.

use serde::Serialize;

use crate::error::shown;

/// What a finding is about. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// A dependency that does not come from the registry: git, a file, an address, a workspace. It is left out.
    UnsupportedSource,
    /// A dependency whose name no package can have. It is left out.
    InvalidName,
    /// The lock file does not fit `package.json`. The package is resolved anew.
    LockDiffers,
    /// An entry of the lock file that is not used.
    LockEntryIgnored,
    /// The package needs compiled code of an operating system.
    NativeCode,
    /// The package needs modules of Node.js.
    NodeOnly,
    /// The package does not support the platform.
    WrongPlatform,
    /// An optional package that cannot be installed. It is left out.
    OptionalSkipped,
    /// A package that does not fit the peer dependency of another one.
    PeerConflict,
    /// The author has withdrawn the version.
    Deprecated,
}

/// Something that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub code: Code,
    /// The name of the package.
    pub package: String,
    /// One sentence.
    pub message: String,
    /// What to use or to write instead.
    pub instead: Option<String>,
}

impl Finding {
    pub(crate) fn new(code: Code, package: &str, message: &str) -> Self {
        Self { code, package: shown(package), message: message.to_owned(), instead: None }
    }

    pub(crate) fn instead(mut self, instead: impl Into<String>) -> Self {
        self.instead = Some(instead.into());
        self
    }
}
