//! Versions of which parts are missing or wild: `1`, `1.x`, `1.2.*`, and complete versions.

use super::{
    MAX_NUMBER, Version,
    identifier::{Identifier, identifiers},
};

/// A part of a version. A missing part is wild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Wild,
    Number(u64),
    /// More than a version can have.
    TooLarge,
}

impl Part {
    pub(super) fn is_wild(self) -> bool {
        self == Self::Wild
    }
}

/// A version with parts that may be wild.
#[derive(Debug)]
pub(super) struct Partial<'a> {
    /// What stands before the first number: `v`, `=`, spaces.
    prefix: &'a str,
    pub(super) major: Part,
    pub(super) minor: Part,
    pub(super) patch: Part,
    /// Whether the third part is written.
    has_patch: bool,
    pub(super) pre: Vec<Identifier>,
}

impl<'a> Partial<'a> {
    /// Reads the whole text without build metadata.
    pub(super) fn parse(text: &'a str, loose: bool) -> Option<Self> {
        let start = text.trim_start_matches(|c: char| c == 'v' || c == '=' || c.is_whitespace());
        let prefix = &text[..text.len() - start.len()];
        let (major, rest) = part(start, loose)?;
        let mut partial = Self { prefix, major, minor: Part::Wild, patch: Part::Wild, has_patch: false, pre: Vec::new() };
        let Some(rest) = rest.strip_prefix('.') else { return rest.is_empty().then_some(partial) };
        let (minor, rest) = part(rest, loose)?;
        partial.minor = minor;
        let Some(rest) = rest.strip_prefix('.') else { return rest.is_empty().then_some(partial) };
        let (patch, rest) = part(rest, loose)?;
        (partial.patch, partial.has_patch) = (patch, true);
        if !rest.is_empty() {
            partial.pre = prerelease(rest, loose)?;
        }
        Some(partial)
    }

    /// Whether a strict reading accepts what stands before the version.
    pub(super) fn has_strict_prefix(&self) -> bool {
        self.prefix.is_empty() || self.prefix == "v"
    }

    /// Whether a number follows a wild part: `x.1`, `1.x.3`.
    pub(super) fn has_wrong_order(&self) -> bool {
        (self.major.is_wild() && !self.minor.is_wild()) || (self.minor.is_wild() && self.has_patch && !self.patch.is_wild())
    }

    pub(super) fn has_wild(&self) -> bool {
        self.major.is_wild() || self.minor.is_wild() || self.patch.is_wild()
    }

    /// The version, if no part is wild or too large.
    pub(super) fn version(&self) -> Option<Version> {
        match (self.major, self.minor, self.patch) {
            (Part::Number(major), Part::Number(minor), Part::Number(patch)) => {
                Some(Version::of(major, minor, patch).with_pre(self.pre.clone()))
            }
            _ => None,
        }
    }
}

fn part(text: &str, loose: bool) -> Option<(Part, &str)> {
    if let Some(rest) = text.strip_prefix(['x', 'X', '*']) {
        return Some((Part::Wild, rest));
    }
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let is_accepted = !digits.is_empty() && (loose || digits.len() == 1 || !digits.starts_with('0'));
    let number = digits.parse().ok().filter(|number| *number <= MAX_NUMBER);
    is_accepted.then_some((number.map_or(Part::TooLarge, Part::Number), rest))
}

/// Reads `-` and identifiers. In a loose reading the hyphen may be missing.
fn prerelease(text: &str, loose: bool) -> Option<Vec<Identifier>> {
    let after_hyphen = text.strip_prefix('-').and_then(|rest| identifiers(rest, loose));
    after_hyphen.or_else(|| if loose { identifiers(text, loose) } else { None })
}
