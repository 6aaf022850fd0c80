//! Seeded bugs: wrong variants of code that the chaos harness must find. Each rule of the harness has one. `PLANTED=<name>` switches one
//! on in the executable that the harness starts. They are compiled only with the feature `seeded-bugs`.
//!
//! Product code has one line per bug: a condition with [`is`], or the macro [`seeded_bug!`](crate::seeded_bug!) around a call into the
//! crate's module of wrong variants.

/// A statement that is compiled only with the feature `seeded-bugs` of the crate that uses it:
///
/// - `return if condition` returns `()` if the condition holds,
/// - `return value` returns `Ok(value)` if the optional value is `Some`,
/// - `let name = value` shadows a variable,
/// - anything else is an expression.
#[macro_export]
macro_rules! seeded_bug {
    (return if $condition:expr) => {
        #[cfg(feature = "seeded-bugs")]
        if $condition {
            return;
        }
    };
    (return $value:expr) => {
        #[cfg(feature = "seeded-bugs")]
        if let Some(value) = $value {
            return Ok(value);
        }
    };
    (let $name:ident = $value:expr) => {
        #[cfg(feature = "seeded-bugs")]
        let $name = $value;
    };
    ($value:expr) => {
        #[cfg(feature = "seeded-bugs")]
        $value;
    };
}

/// Whether the bug of this name is switched on.
#[cfg(not(feature = "seeded-bugs"))]
#[inline]
#[must_use]
pub const fn is(_name: &str) -> bool {
    false
}

/// Whether the bug of this name is switched on.
#[cfg(feature = "seeded-bugs")]
#[must_use]
pub fn is(name: &str) -> bool {
    use std::sync::LazyLock;

    #[allow(clippy::disallowed_methods, reason = "not a setting: only the chaos harness's build reads it")]
    static NAME: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("PLANTED").ok());

    NAME.as_deref() == Some(name)
}
