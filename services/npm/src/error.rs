//! Why something is refused.

use std::fmt;

/// The most characters of a value that an error shows.
const SHOWN_CHARACTERS: usize = 80;

/// Why a file, a resolution or a package is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A file is not in its format.
    #[error("{file}: {problem}")]
    Syntax { file: String, problem: String },
    /// A field of a file has a value that it cannot have. `value` is shortened.
    #[error("{file}: {field}: {value} {problem}")]
    Field { file: String, field: String, value: String, problem: String },
    /// A limit of [`crate::Limits`].
    #[error("{subject} has more than {limit} {unit}")]
    TooLarge { subject: String, limit: u64, unit: &'static str },
    /// The registry has no such package.
    #[error("{package}: the registry has no such package{}", wanted_by(.by))]
    NoPackage { package: String, by: String },
    /// The package has no version that matches.
    #[error("{package}: no version matches {wanted:?}{}", wanted_by(.by))]
    NoVersion { package: String, wanted: String, by: String },
    /// Two packages need different versions of a peer dependency. npm refuses it with ERESOLVE.
    #[error("{by} needs {package} {wanted:?} as a peer, but the project has {present}")]
    PeerConflict { package: String, wanted: String, by: String, present: String },
    /// `overrides` has a rule for a dependency of the project itself, with another value. npm refuses it with EOVERRIDE.
    #[error("package.json: overrides.{package}: conflicts with the project's own dependency {wanted:?}")]
    OverrideConflict { package: String, wanted: String },
    /// The registry did not answer.
    #[error("{package}: the registry fails: {problem}")]
    Registry { package: String, problem: String },
    /// The bytes of a tarball are not those that were published.
    #[error("{package}: {problem}")]
    Integrity { package: String, problem: String },
    /// A tarball is damaged, or has an entry that a package cannot have.
    #[error("{package}: the tarball {problem}{}", at_entry(.entry.as_deref()))]
    Archive { package: String, entry: Option<String>, problem: String },
}

fn wanted_by(by: &str) -> String {
    if by.is_empty() { String::new() } else { format!(", wanted by {by}") }
}

fn at_entry(entry: Option<&str>) -> String {
    entry.map(|entry| format!(" at its entry `{entry}`")).unwrap_or_default()
}

impl Error {
    pub(crate) fn syntax(file: &str, problem: impl fmt::Display) -> Self {
        Self::Syntax { file: shown(file), problem: shown(&problem.to_string()) }
    }

    pub(crate) fn field(file: &str, field: &str, value: impl fmt::Display, problem: &str) -> Self {
        Self::Field { file: shown(file), field: shown(field), value: shown(&value.to_string()), problem: problem.to_owned() }
    }

    pub(crate) fn too_large(subject: &str, limit: u64, unit: &'static str) -> Self {
        Self::TooLarge { subject: shown(subject), limit, unit }
    }
}

/// A text of a stranger, shortened and without control characters.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARACTERS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(SHOWN_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}
