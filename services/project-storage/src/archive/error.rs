//! Why an archive is refused.

use std::{fmt, io};

use proto::path::shown;

/// Why an archive is refused. Nothing of it is imported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// It is no archive, is damaged, or has a form that is not supported.
    #[error("the archive {problem}{}", of_entry(entry.as_deref()))]
    Invalid { entry: Option<String>, problem: String },
    /// An entry that a project cannot have.
    #[error("the entry `{}` {problem}", shown(path))]
    Entry { path: String, problem: String },
    /// A limit of archives.
    #[error("the archive has more than {limit} {what}{}", of_entry(entry.as_deref()))]
    TooLarge { what: &'static str, limit: u64, entry: Option<String> },
    /// Nobody sends or stores the rest. The archive itself may be good.
    #[error("the archive was not read to its end")]
    Stopped,
}

fn of_entry(entry: Option<&str>) -> String {
    entry.map(|path| format!(" at its entry `{}`", shown(path))).unwrap_or_default()
}

/// The error of an input or a sink that was stopped from outside.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("stopped")]
pub(crate) struct Stopped;

/// The error of an input with more bytes than an archive may have.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("more than {0} bytes")]
pub(super) struct InputTooLong(pub(super) u64);

impl ArchiveError {
    pub(super) fn invalid(problem: impl fmt::Display) -> Self {
        Self::Invalid { entry: None, problem: problem.to_string() }
    }

    pub(super) fn entry(path: &str, problem: impl fmt::Display) -> Self {
        Self::Entry { path: path.to_owned(), problem: problem.to_string() }
    }

    /// The same with the entry at which it was noticed, unless it names one.
    pub(super) fn at(mut self, path: &str) -> Self {
        if let Self::Invalid { entry: entry @ None, .. } | Self::TooLarge { entry: entry @ None, .. } = &mut self {
            *entry = Some(path.to_owned());
        }
        self
    }
}

impl From<Stopped> for ArchiveError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        let mut cause = error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
        while let Some(inner) = cause {
            if inner.is::<Stopped>() {
                return Self::Stopped;
            }
            if let Some(InputTooLong(limit)) = inner.downcast_ref() {
                return Self::TooLarge { what: "bytes", limit: *limit, entry: None };
            }
            cause = match inner.downcast_ref::<io::Error>() {
                Some(wrapped) => wrapped.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static)),
                None => inner.source(),
            };
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::invalid("ends too early"),
            _ => Self::invalid("has damaged compressed data"),
        }
    }
}
