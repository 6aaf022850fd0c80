//! One condition of a range, and how the short forms (`^`, `~`, wild parts, hyphens) become conditions.

use std::fmt;

use super::{
    Version,
    partial::{Part, Partial},
    reading::Reading,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A condition. Without a version it accepts all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Comparator {
    Any,
    Of(Operator, Version),
}

/// The conditions of a short form.
pub(super) type Conditions = Vec<Comparator>;

/// A number is larger than a version can have.
#[derive(Debug)]
pub(super) struct TooLarge;

use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};

impl Comparator {
    pub(super) fn accepts(&self, version: &Version) -> bool {
        match self {
            Self::Any => true,
            Self::Of(Equal, limit) => version == limit,
            Self::Of(Less, limit) => version < limit,
            Self::Of(LessOrEqual, limit) => version <= limit,
            Self::Of(Greater, limit) => version > limit,
            Self::Of(GreaterOrEqual, limit) => version >= limit,
        }
    }

    /// What no version fulfils: `<0.0.0-0`.
    pub(super) fn nothing() -> Self {
        Self::Of(Less, Version::ZERO.lowest())
    }

    /// `>=0.0.0` is the same as no condition, so that its pre-releases count as for `*`.
    pub(super) fn normalised(self, reading: Reading) -> Self {
        let lowest = if reading.prereleases { Version::ZERO.lowest() } else { Version::ZERO };
        if self == Self::Of(GreaterOrEqual, lowest) { Self::Any } else { self }
    }
}

impl fmt::Display for Comparator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Of(operator, version) = self else { return Ok(()) };
        let sign = match operator {
            Equal => "",
            Less => "<",
            LessOrEqual => "<=",
            Greater => ">",
            GreaterOrEqual => ">=",
        };
        write!(f, "{sign}{version}")
    }
}

fn number(part: Part) -> Result<u64, TooLarge> {
    match part {
        Part::Wild => Ok(0),
        Part::Number(number) => Ok(number),
        Part::TooLarge => Err(TooLarge),
    }
}

fn after(number: u64) -> Result<u64, TooLarge> {
    if number < super::MAX_NUMBER { Ok(number + 1) } else { Err(TooLarge) }
}

/// The numbers of a partial version, with 0 for wild parts.
fn lower(partial: &Partial<'_>) -> Result<Version, TooLarge> {
    let minor = if partial.major.is_wild() { 0 } else { number(partial.minor)? };
    let patch = if partial.minor.is_wild() { 0 } else { number(partial.patch)? };
    Ok(Version::of(number(partial.major)?, minor, patch))
}

/// The first version above all that begin with the numbers: `1` → `2.0.0`, `1.2` → `1.3.0`.
fn upper(partial: &Partial<'_>) -> Result<Version, TooLarge> {
    let major = number(partial.major)?;
    if partial.minor.is_wild() { Ok(Version::of(after(major)?, 0, 0)) } else { Ok(Version::of(major, after(number(partial.minor)?)?, 0)) }
}

fn at_least(version: Version, is_wild: bool, reading: Reading) -> Comparator {
    Comparator::Of(GreaterOrEqual, if is_wild && reading.prereleases { version.lowest() } else { version })
}

fn below(version: Version) -> Comparator {
    Comparator::Of(Less, version.lowest())
}

fn first(partial: &Partial<'_>, reading: Reading) -> Result<Comparator, TooLarge> {
    let (version, is_wild) = (lower(partial)?, partial.has_wild());
    Ok(at_least(if is_wild { version } else { version.with_pre(partial.pre.clone()) }, is_wild, reading))
}

/// `~1.2.3`: at least this version, and the same minor version, or the same major version if no minor version is written.
pub(super) fn tilde(partial: &Partial<'_>, reading: Reading) -> Result<Conditions, TooLarge> {
    if partial.major.is_wild() {
        return Ok(vec![Comparator::Any]);
    }
    Ok(vec![first(partial, reading)?, below(upper(partial)?)])
}

/// `^1.2.3`: at least this version, and the same first number that is not 0.
pub(super) fn caret(partial: &Partial<'_>, reading: Reading) -> Result<Conditions, TooLarge> {
    if partial.major.is_wild() {
        return Ok(vec![Comparator::Any]);
    }
    let (major, minor) = (number(partial.major)?, number(partial.minor)?);
    let end = if major > 0 || partial.minor.is_wild() {
        Version::of(after(major)?, 0, 0)
    } else if minor > 0 || partial.patch.is_wild() {
        Version::of(0, after(minor)?, 0)
    } else {
        Version::of(0, 0, after(number(partial.patch)?)?)
    };
    Ok(vec![first(partial, reading)?, below(end)])
}

/// The conditions of `1.2 - 2` as words: from the first to the last version, both included. A complete version stays as it is written, so
/// that it is read like one without a hyphen.
pub(super) fn hyphen(
    (from_text, from): (&str, &Partial<'_>),
    (to_text, to): (&str, &Partial<'_>),
    reading: Reading,
) -> Result<String, TooLarge> {
    let start = if from.major.is_wild() {
        String::new()
    } else if from.has_wild() {
        at_least(lower(from)?, true, reading).to_string()
    } else {
        format!(">={from_text}{}", if reading.prereleases && from.pre.is_empty() { "-0" } else { "" })
    };
    let end = if to.major.is_wild() {
        String::new()
    } else if to.has_wild() {
        below(upper(to)?).to_string()
    } else if !to.pre.is_empty() {
        Comparator::Of(LessOrEqual, lower(to)?.with_pre(to.pre.clone())).to_string()
    } else if reading.prereleases {
        let last = lower(to)?;
        below(Version::of(last.major, last.minor, after(last.patch)?)).to_string()
    } else {
        format!("<={to_text}")
    };
    Ok(format!("{start} {end}").trim().to_owned())
}

/// A version with wild parts after an operator, or without one.
pub(super) fn wild(operator: Option<Operator>, partial: &Partial<'_>, reading: Reading) -> Result<Conditions, TooLarge> {
    if partial.major.is_wild() {
        let is_nothing = matches!(operator, Some(Less | Greater));
        return Ok(vec![if is_nothing { Comparator::nothing() } else { Comparator::Any }]);
    }
    let start = lower(partial)?;
    Ok(match operator {
        None | Some(Equal) => vec![at_least(start, true, reading), below(upper(partial)?)],
        // What is above all of `1.x` begins with 2.0.0.
        Some(Greater) => vec![at_least(upper(partial)?, true, reading)],
        Some(GreaterOrEqual) => vec![at_least(start, true, reading)],
        Some(Less) => vec![below(start)],
        Some(LessOrEqual) => vec![below(upper(partial)?)],
    })
}

/// Splits an operator from the beginning of a text.
pub(super) fn operator(text: &str) -> (Option<Operator>, &str) {
    let table = [("<=", LessOrEqual), (">=", GreaterOrEqual), ("<", Less), (">", Greater), ("=", Equal)];
    let found = table.into_iter().find_map(|(sign, operator)| text.strip_prefix(sign).map(|rest| (Some(operator), rest)));
    found.unwrap_or((None, text))
}
