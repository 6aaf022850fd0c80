//! Names of JavaScript.

/// Whether a name can be exported without quotes. Reserved words can.
pub(super) fn is_identifier(name: &str) -> bool {
    oxc::syntax::identifier::is_identifier_name(name)
}
