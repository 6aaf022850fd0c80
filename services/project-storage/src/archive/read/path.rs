//! The paths of entries.

use proto::path::{self, BadPath};

use crate::archive::error::ArchiveError;

/// Bytes of a path as an archive has it. A legal path is shorter, but its top folder may be removed.
pub(super) const MAX_RAW_BYTES: usize = 4096;

/// A path that names a place below the top of the archive. Whether a project can have it is checked later.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EntryPath {
    /// In Unicode form NFC, without a slash at the end. Empty for the top itself.
    pub(super) path: String,
    /// It ended with a slash, so it names a folder.
    pub(super) is_folder: bool,
}

/// Reads the path of an entry.
///
/// # Errors
/// A path that could name another place than it seems to.
pub(super) fn parse(raw: &[u8], depth: usize) -> Result<EntryPath, ArchiveError> {
    let lossy = || String::from_utf8_lossy(&raw[..raw.len().min(MAX_RAW_BYTES)]).into_owned();
    let refused = |problem: &str| Err(ArchiveError::entry(&lossy(), problem));
    if raw.len() > MAX_RAW_BYTES {
        return refused("has a path that is too long");
    }
    let Ok(text) = std::str::from_utf8(raw) else { return refused("has a path that is not UTF-8") };
    let text = path::normalized(text);
    if text.contains('\\') {
        return refused("has a backslash in its path");
    }
    if text.chars().any(char::is_control) {
        return refused("has a control character in its path");
    }
    if text.starts_with('/') || text.as_bytes().get(1) == Some(&b':') && text.as_bytes()[0].is_ascii_alphabetic() {
        return refused("has an absolute path");
    }
    let is_folder = text.ends_with('/') || text == ".";
    // Tar writes `./a` for the files of the present folder.
    let mut rest = text.strip_suffix('/').unwrap_or(&text);
    while let Some(inner) = rest.strip_prefix("./") {
        rest = inner;
    }
    let rest = if rest == "." { "" } else { rest };
    if rest.is_empty() {
        return if is_folder { Ok(EntryPath { path: String::new(), is_folder }) } else { refused("has no path") };
    }
    if rest.split('/').any(|part| part == "..") {
        return refused("has a path that leaves the archive");
    }
    if rest.split('/').any(|part| part.is_empty() || part == ".") {
        return refused("has a path with an empty part");
    }
    if rest.split('/').count() > depth {
        return Err(ArchiveError::TooLarge { what: "folders inside each other", limit: depth as u64, entry: Some(rest.to_owned()) });
    }
    Ok(EntryPath { path: rest.to_owned(), is_folder })
}

/// Checks that a project can have a file at a path.
pub(super) fn check(path: &str) -> Result<(), ArchiveError> {
    path::check_new(path).map_err(|problem: BadPath| ArchiveError::entry(path, format!("has a path that is not legal here: {problem}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(raw: &[u8]) -> Result<(String, bool), String> {
        parse(raw, 8).map(|parsed| (parsed.path, parsed.is_folder)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_path_stays_below_the_top() {
        for (raw, path, is_folder) in [
            ("a", "a", false),
            ("a/b.txt", "a/b.txt", false),
            ("./a", "a", false),
            ("././a/", "a", true),
            ("./", "", true),
            (".", "", true),
            ("a/", "a", true),
            ("..a/b..", "..a/b..", false),
            ("e\u{301}.txt", "é.txt", false),
        ] {
            assert_eq!(parsed(raw.as_bytes()), Ok((path.to_owned(), is_folder)), "{raw}");
        }
        for (raw, problem) in [
            (&b"/etc/passwd"[..], "absolute"),
            (b"C:/x", "absolute"),
            (b"c:x", "absolute"),
            (b"../x", "leaves"),
            (b"a/../../x", "leaves"),
            (b"a/..", "leaves"),
            (b"./../x", "leaves"),
            (b"a\\b", "backslash"),
            (b"a\0b", "control"),
            (b"a\nb", "control"),
            (b"a//b", "empty part"),
            (b"a/./b", "empty part"),
            (b"", "no path"),
            (b"a\xff", "not UTF-8"),
            (b"1/2/3/4/5/6/7/8/9", "folders inside each other"),
        ] {
            let error = parsed(raw).expect_err("refused");
            assert!(error.contains(problem), "{raw:?}: {error}");
        }
        assert!(parsed(&[b'a'; MAX_RAW_BYTES + 1]).is_err());
    }

    proptest! {
        #[test]
        fn a_parsed_path_has_only_plain_parts(raw in proptest::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), any::<u8>()], 0..40)) {
            if let Ok(EntryPath { path, .. }) = parse(&raw, 8)
                && !path.is_empty()
            {
                prop_assert!(path.split('/').all(|part| !part.is_empty() && part != "." && part != ".."), "{path:?}");
                prop_assert!(!path.contains(['\\', '\0']) && !path.starts_with('/'));
            }
        }
    }
}
