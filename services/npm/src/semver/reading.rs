//! How ranges are read.

/// How a range is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// Accepts what npm accepts in the versions and requests of packages. Otherwise a range with one wrong word is no range.
    pub loose: bool,
    /// Pre-releases match as other versions do.
    pub prereleases: bool,
}

impl Reading {
    /// How npm reads the requests of packages.
    pub const REQUEST: Self = Self { loose: true, prereleases: false };
    /// How npm reads `engines`.
    pub const ENGINE: Self = Self { loose: false, prereleases: true };
    /// How npm reads the keys and values of `overrides`.
    pub const OVERRIDE: Self = Self { loose: false, prereleases: false };
}
