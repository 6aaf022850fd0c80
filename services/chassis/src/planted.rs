//! Bugs on purpose. A harness that has never found one proves nothing, so each of its rules has a bug that it must find: a
//! branch behind [`is`], switched on by `PLANTED=<name>` in the executable that the harness starts. Without the feature
//! `planted` the branch is not compiled.

/// Whether the bug of this name is switched on.
#[cfg(not(feature = "planted"))]
#[inline]
#[must_use]
pub const fn is(_name: &str) -> bool {
    false
}

/// Whether the bug of this name is switched on.
#[cfg(feature = "planted")]
#[must_use]
pub fn is(name: &str) -> bool {
    use std::sync::LazyLock;

    #[allow(clippy::disallowed_methods, reason = "not a setting: it exists in no executable that anybody runs")]
    static NAME: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("PLANTED").ok());

    NAME.as_deref() == Some(name)
}
