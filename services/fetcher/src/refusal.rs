//! Errors of `npm` as messages.

use npm::Error;

use crate::message::{Kind, Refusal};

/// The units of [`Error::TooLarge`].
const UNITS: [&str; 14] = [
    "bytes",
    "bytes in its document",
    "bytes in memory",
    "bytes of memory for packuments",
    "bytes of packuments",
    "different dependencies",
    "entries",
    "levels",
    "nodes",
    "packages",
    "packuments",
    "peers of peers",
    "rules",
    "steps",
];
/// The unit that is not among them.
const OTHER_UNIT: &str = "versions";

/// The message of an error.
#[must_use]
pub fn encode(error: Error) -> Refusal {
    let mut limit = 0;
    let (kind, texts) = match error {
        Error::Syntax { file, problem } => (Kind::Syntax, vec![file, problem]),
        Error::Field { file, field, value, problem } => (Kind::Field, vec![file, field, value, problem]),
        Error::TooLarge { subject, limit: of, unit } => {
            limit = of;
            (Kind::TooLarge, vec![subject, unit.to_owned()])
        }
        Error::NoPackage { package, by } => (Kind::NoPackage, vec![package, by]),
        Error::NoVersion { package, wanted, by } => (Kind::NoVersion, vec![package, wanted, by]),
        Error::PeerConflict { package, wanted, by, present } => (Kind::PeerConflict, vec![package, wanted, by, present]),
        Error::OverrideConflict { package, wanted } => (Kind::OverrideConflict, vec![package, wanted]),
        Error::Registry { package, problem } => (Kind::Registry, vec![package, problem]),
        Error::Integrity { package, problem } => (Kind::Integrity, vec![package, problem]),
        Error::Archive { package, entry, problem } => (Kind::Archive, [package, problem].into_iter().chain(entry).collect()),
    };
    Refusal { kind: kind.into(), texts, limit }
}

/// The error of a message. A text that is missing is empty.
#[must_use]
pub fn decode(refusal: Refusal) -> Error {
    let (kind, limit) = (refusal.kind(), refusal.limit);
    let mut rest = refusal.texts.into_iter();
    let mut next = || rest.next().unwrap_or_default();
    match kind {
        Kind::Syntax => Error::Syntax { file: next(), problem: next() },
        Kind::Field => Error::Field { file: next(), field: next(), value: next(), problem: next() },
        Kind::TooLarge => Error::TooLarge { subject: next(), limit, unit: unit(&next()) },
        Kind::NoPackage => Error::NoPackage { package: next(), by: next() },
        Kind::NoVersion => Error::NoVersion { package: next(), wanted: next(), by: next() },
        Kind::PeerConflict => Error::PeerConflict { package: next(), wanted: next(), by: next(), present: next() },
        Kind::OverrideConflict => Error::OverrideConflict { package: next(), wanted: next() },
        Kind::Registry => Error::Registry { package: next(), problem: next() },
        Kind::Integrity => Error::Integrity { package: next(), problem: next() },
        Kind::Archive => {
            let (package, problem) = (next(), next());
            Error::Archive { package, entry: rest.next(), problem }
        }
    }
}

fn unit(text: &str) -> &'static str {
    UNITS.iter().find(|unit| **unit == text).copied().unwrap_or(OTHER_UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_arrives_as_it_was() {
        let text = |text: &str| text.to_owned();
        for error in [
            Error::Syntax { file: text("a"), problem: text("b") },
            Error::Field { file: text("a"), field: text("b"), value: text("c"), problem: text("d") },
            Error::TooLarge { subject: text("a"), limit: 7, unit: "steps" },
            Error::TooLarge { subject: text("a"), limit: 7, unit: OTHER_UNIT },
            Error::NoPackage { package: text("a"), by: text("") },
            Error::NoVersion { package: text("a"), wanted: text("b"), by: text("c") },
            Error::PeerConflict { package: text("a"), wanted: text("b"), by: text("c"), present: text("d") },
            Error::OverrideConflict { package: text("a"), wanted: text("b") },
            Error::Registry { package: text("a"), problem: text("b") },
            Error::Integrity { package: text("a"), problem: text("b") },
            Error::Archive { package: text("a"), entry: None, problem: text("b") },
            Error::Archive { package: text("a"), entry: Some(text("c")), problem: text("b") },
        ] {
            assert_eq!(decode(encode(error.clone())), error);
        }
    }
}
