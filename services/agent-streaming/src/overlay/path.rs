//! What a path may be, in the words of the contract.

use unicode_normalization::is_nfc;

const MAX_CHARACTERS: usize = 255;

/// Relative, `/`-separated, NFC, 1 to 255 characters, no part that a file system or git reads in its own way.
///
/// # Errors
/// What is wrong, to follow the path's name in a sentence.
pub fn check(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("is empty");
    }
    if path.len() > MAX_CHARACTERS * 4 || path.chars().count() > MAX_CHARACTERS {
        return Err("is longer than 255 characters");
    }
    if path.contains('\\') {
        return Err("has a backslash; parts are separated by /");
    }
    if path.chars().any(char::is_control) {
        return Err("has a control character");
    }
    if path.starts_with('/') {
        return Err("begins with /; paths are relative to the project, such as src/app.js");
    }
    if !is_nfc(path) {
        return Err("is not in Unicode form NFC");
    }
    path.split('/').try_for_each(|part| match part {
        "" => Err("has an empty part"),
        "." | ".." => Err("has a part . or .."),
        _ if proto::path::is_git_folder(part) => Err("has a part .git"),
        _ => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let long = "é".repeat(255);
        for good in ["a", "src/App.tsx", ".gitignore", "a b/c", "日本/語.txt", "...", "a..b", ".github/x", "git", &long] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let too_long = "a".repeat(256);
        for bad in [
            "",
            &too_long,
            "/etc/passwd",
            "a//b",
            "a/",
            "..",
            "a/../b",
            "./a",
            ".git/config",
            "a/.GIT",
            "git~1/config",
            ".git. ",
            "a\\b",
            "a\0b",
            "a\nb",
            "a\u{85}b",
            "e\u{301}",
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
