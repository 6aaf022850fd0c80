//! Paths that cannot coexist: a file at the path of a folder, and names that differ only in case, which many file systems do not
//! distinguish.

use proto::path::fold;

/// Why a path cannot be added. Each variant holds the existing path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Clash<'a> {
    IsFile(&'a str),
    IsFolder(&'a str),
    CaseOnly(&'a str),
}

impl Clash<'_> {
    pub(super) fn message(&self, path: &str) -> String {
        match self {
            Self::IsFile(other) => format!("{path} cannot exist: {other} is a file"),
            Self::IsFolder(other) => format!("{path} cannot be a file: it is a folder that contains {other}"),
            Self::CaseOnly(other) => format!("{path} differs from {other} only in case"),
        }
    }
}

/// The first of `others` that `path` clashes with. The path itself may be among them.
pub(super) fn find<'a>(path: &str, others: impl Iterator<Item = &'a str>) -> Option<Clash<'a>> {
    others.filter(|other| *other != path).find_map(|other| {
        let mut parts = path.split('/').peekable();
        let mut other_parts = other.split('/').peekable();
        let mut length = 0;
        while let (Some(a), Some(b)) = (parts.next(), other_parts.next()) {
            length += b.len() + 1;
            if a == b {
                match (parts.peek(), other_parts.peek()) {
                    (Some(_), None) => return Some(Clash::IsFile(other)),
                    (None, Some(_)) => return Some(Clash::IsFolder(other)),
                    _ => continue,
                }
            }
            return differ_only_in_case(a, b).then(|| Clash::CaseOnly(&other[..length - 1]));
        }
        None
    })
}

fn differ_only_in_case(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() {
        return a.eq_ignore_ascii_case(b);
    }
    fold(a) == fold(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clashing_paths_are_found() {
        let others = ["README.md", "src/App.js", "src/über.js", "lib", "straße"];
        for (path, clash) in [
            ("README.md", None),
            ("readme.md", Some(Clash::CaseOnly("README.md"))),
            ("Readme.md/x", Some(Clash::CaseOnly("README.md"))),
            ("src/app.js", Some(Clash::CaseOnly("src/App.js"))),
            ("SRC/other.js", Some(Clash::CaseOnly("src"))),
            ("src/ÜBER.js", Some(Clash::CaseOnly("src/über.js"))),
            ("STRASSE", Some(Clash::CaseOnly("straße"))),
            ("Strasse/x", Some(Clash::CaseOnly("straße"))),
            ("src", Some(Clash::IsFolder("src/App.js"))),
            ("lib/a/b", Some(Clash::IsFile("lib"))),
            ("src/other.js", None),
            ("library", None),
        ] {
            assert_eq!(find(path, others.into_iter()), clash, "{path}");
        }
    }
}
