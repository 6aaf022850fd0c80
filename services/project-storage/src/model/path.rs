//! Paths of files, by the rule of the contract.

use std::{fmt, sync::Arc};

use proto::path::{self, BadPath};

/// The path of a file, relative to the project's root.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FilePath(Arc<str>);

impl FilePath {
    /// Parses a path. The text is not normalised, so a path that is read equals the path that was written.
    pub(crate) fn parse(text: &str) -> Result<Self, BadPath> {
        path::check(text)?;
        Ok(Self(text.into()))
    }

    /// Checks the rule for new files, which is stricter.
    pub(crate) fn check_new(&self) -> Result<(), BadPath> {
        path::check_new(&self.0)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_parsed_path_is_the_text(text in "\\PC{0,40}|[a./]{0,12}") {
            if let Ok(path) = FilePath::parse(&text) {
                prop_assert_eq!(path.as_str(), &text);
                prop_assert_eq!(FilePath::parse(path.as_str()), Ok(path.clone()));
                prop_assert!(text.split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
            }
        }

        #[test]
        fn a_new_path_is_also_a_path(text in "\\PC{0,40}|[aA.: /<>con1ul]{0,12}") {
            let parsed = FilePath::parse(&text);
            prop_assert_eq!(path::check_new(&text).is_ok(), parsed.is_ok_and(|path| path.check_new().is_ok()));
        }
    }
}
