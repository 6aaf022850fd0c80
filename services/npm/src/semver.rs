//! Versions and ranges as npm reads them.
//!
//! npm reads versions and ranges of packages loosely: `v1.2.3`, `=1.2.3`, `01.2.3` and `1.2.3beta` are versions, and a word in a range that
//! is no comparator is ignored. A test compares thousands of pairs with npm's own answers.
//!
//! - [`Version`]: a version, and the order of versions. `identifier`: pre-release identifiers. [`Range`]: which versions match.
//!   `comparator`: one condition of a range. `partial`: versions with missing or wild parts. [`Reading`]: how ranges are read. `intersect`: whether two ranges have a version
//!   in common.

mod comparator;
mod identifier;
mod intersect;
mod partial;
mod range;
mod reading;

use std::{cmp::Ordering, fmt};

use self::identifier::Identifier;
pub use self::{range::Range, reading::Reading};

/// Longer versions and ranges are refused.
pub const MAX_LENGTH: usize = 256;
/// Ranges may be longer than versions: they list alternatives.
pub const MAX_RANGE_LENGTH: usize = 2_048;
/// The largest number of a version: what JavaScript counts exactly.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// A version. Build metadata is not kept, because it never matters for a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
    pre: Vec<Identifier>,
}

impl Version {
    pub(crate) const ZERO: Self = Self::of(0, 0, 0);

    pub(crate) const fn of(major: u64, minor: u64, patch: u64) -> Self {
        Self { major, minor, patch, pre: Vec::new() }
    }

    /// Reads a version. `None` if npm would refuse it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text, true)
    }

    /// Reads a version as registries publish it: without spaces and signs, so that it can be a part of an address.
    pub(crate) fn published(text: &str) -> Option<Self> {
        let is_plain = text.starts_with(|c: char| c.is_ascii_digit())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte));
        if is_plain { Self::parse(text) } else { None }
    }

    fn read(text: &str, loose: bool) -> Option<Self> {
        let text = text.trim();
        if text.len() > MAX_LENGTH {
            return None;
        }
        let (bare, build) = text.split_once('+').map_or((text, None), |(bare, build)| (bare, Some(build)));
        if build.is_some_and(|build| !build.split('.').all(identifier::is_identifier)) {
            return None;
        }
        let partial = partial::Partial::parse(bare, loose)?;
        if !loose && !partial.has_strict_prefix() {
            return None;
        }
        partial.version()
    }

    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        !self.pre.is_empty()
    }

    fn with_pre(mut self, pre: Vec<Identifier>) -> Self {
        self.pre = pre;
        self
    }

    /// The lowest version with these numbers: `-0`.
    fn lowest(self) -> Self {
        self.with_pre(vec![Identifier::Number(0)])
    }

    fn numbers(&self) -> (u64, u64, u64) {
        (self.major, self.minor, self.patch)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        // A pre-release is lower than its release.
        let release = |version: &Self| !version.is_prerelease();
        self.numbers().cmp(&other.numbers()).then_with(|| release(self).cmp(&release(other))).then_with(|| self.pre.cmp(&other.pre))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        for (at, identifier) in self.pre.iter().enumerate() {
            write!(f, "{}{identifier}", if at == 0 { '-' } else { '.' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_npm_does() {
        for (text, expected) in [
            ("1.2.3", Some("1.2.3")),
            ("v1.2.3", Some("1.2.3")),
            ("= 1.2.3 ", Some("1.2.3")),
            ("01.2.3", Some("1.2.3")),
            ("1.2.3beta", Some("1.2.3-beta")),
            ("1.2.3-", Some("1.2.3--")),
            ("1.2.3-rc.01+build.7", Some("1.2.3-rc.1")),
            ("1.2", None),
            ("1.2.3.4", None),
            ("1.2.x", None),
            ("1.2.3+", None),
            ("9007199254740992.0.0", None),
            ("latest", None),
            ("", None),
        ] {
            assert_eq!(Version::parse(text).map(|version| version.to_string()).as_deref(), expected, "{text}");
        }
        assert_eq!(Version::parse(&format!("1.2.3-{}", "a".repeat(300))), None);
        for (text, is_published) in [("1.2.3-rc.1+b", true), ("v1.2.3", false), (" 1.2.3", false), ("1.2.3 ", false), ("1.2", false)] {
            assert_eq!(Version::published(text).is_some(), is_published, "{text}");
        }
    }

    #[test]
    fn versions_have_the_order_of_the_specification() {
        let ordered = ["0.0.0-0", "0.0.0", "1.0.0-2", "1.0.0-10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta", "1.0.0", "1.0.1", "1.10.0"];
        let versions: Vec<_> = ordered.iter().map(|text| Version::parse(text).expect("a version")).collect();
        assert!(versions.is_sorted(), "{versions:?}");
    }
}
