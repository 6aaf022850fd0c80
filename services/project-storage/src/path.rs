//! What a legal path is: one that every file system and every git client can hold, in exactly one spelling.

use std::{fmt, sync::Arc};

use unicode_normalization::is_nfc;

const MAX_CHARACTERS: usize = 255;

/// A legal path of a file, relative to the project's root.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath(Arc<str>);

/// Why a text is not a legal path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    #[error("must be 1 to 255 characters")]
    Length,
    #[error("must be in Unicode form NFC")]
    NotNfc,
    #[error("must not hold a backslash or a control character")]
    Character,
    #[error("must be relative, without empty parts")]
    EmptyPart,
    #[error("must not have a part `.` or `..`")]
    DotPart,
    #[error("must not have a part `.git`")]
    GitPart,
}

impl FilePath {
    /// Takes a text that already is a legal path; nothing is normalised, so that a path read equals the path written.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        // Bytes first: no need to count the characters of a text of megabytes.
        if text.is_empty() || text.len() > MAX_CHARACTERS * 4 || text.chars().count() > MAX_CHARACTERS {
            return Err(BadPath::Length);
        }
        if text.chars().any(|c| c == '\\' || c.is_control()) {
            return Err(BadPath::Character);
        }
        if !is_nfc(text) {
            return Err(BadPath::NotNfc);
        }
        text.split('/').try_for_each(part)?;
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn part(part: &str) -> Result<(), BadPath> {
    match part {
        "" => Err(BadPath::EmptyPart),
        "." | ".." => Err(BadPath::DotPart),
        _ if proto::path::is_git_folder(part) => Err(BadPath::GitPart),
        _ => Ok(()),
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

    #[test]
    fn table() {
        let long = "é".repeat(255);
        for good in
            ["a", "src/App.tsx", ".gitignore", "a b/c", "日本/語.txt", "...", "a..b", ".github/x", "git", "git~10", ".git_x", "a:b", &long]
        {
            assert_eq!(FilePath::parse(good).map(|p| p.to_string()), Ok(good.to_owned()));
        }
        let too_long = "a".repeat(256);
        for (bad, why) in [
            ("", BadPath::Length),
            (too_long.as_str(), BadPath::Length),
            ("/etc/passwd", BadPath::EmptyPart),
            ("a//b", BadPath::EmptyPart),
            ("a/", BadPath::EmptyPart),
            ("..", BadPath::DotPart),
            ("a/../b", BadPath::DotPart),
            ("./a", BadPath::DotPart),
            (".git/config", BadPath::GitPart),
            ("a/.GIT", BadPath::GitPart),
            (".git /config", BadPath::GitPart),
            (".Git. ./config", BadPath::GitPart),
            ("GIT~1/config", BadPath::GitPart),
            (".git::$INDEX_ALLOCATION/config", BadPath::GitPart),
            ("a/.g\u{200c}it/config", BadPath::GitPart),
            ("a\\b", BadPath::Character),
            ("a\0b", BadPath::Character),
            ("a\nb", BadPath::Character),
            ("a\u{85}b", BadPath::Character),
            ("e\u{301}", BadPath::NotNfc),
        ] {
            assert_eq!(FilePath::parse(bad), Err(why), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_legal_path_stays_itself(text in "\\PC{0,40}|[a./]{0,12}") {
            if let Ok(path) = FilePath::parse(&text) {
                prop_assert_eq!(path.as_str(), &text);
                prop_assert_eq!(FilePath::parse(path.as_str()), Ok(path.clone()));
                prop_assert!(text.split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
            }
        }
    }
}
