//! Paths that cannot stand beside each other: a file where a folder is, and names that differ only in case, which the file
//! systems of most people take for one.

use proto::path::fold;

/// Why a path cannot join the others; each holds the path that is in the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Clash<'a> {
    IsFile(&'a str),
    IsFolder(&'a str),
    Twin(&'a str),
}

impl Clash<'_> {
    pub(super) fn message(&self, path: &str) -> String {
        match self {
            Self::IsFile(other) => format!("{path} cannot be: {other} is a file"),
            Self::IsFolder(other) => format!("{path} cannot be a file: it is a folder, with {other} in it"),
            Self::Twin(other) => format!("{path} differs from {other} only in case"),
        }
    }
}

/// The first of `others` that `path` clashes with. The path itself may be among them.
pub(super) fn find<'a>(path: &str, others: impl Iterator<Item = &'a str>) -> Option<Clash<'a>> {
    others.filter(|other| *other != path).find_map(|other| {
        let mut mine = path.split('/').peekable();
        let mut theirs = other.split('/').peekable();
        let mut length = 0;
        while let (Some(a), Some(b)) = (mine.next(), theirs.next()) {
            length += b.len() + 1;
            if a == b {
                match (mine.peek(), theirs.peek()) {
                    (Some(_), None) => return Some(Clash::IsFile(other)),
                    (None, Some(_)) => return Some(Clash::IsFolder(other)),
                    _ => continue,
                }
            }
            return same_but_for_case(a, b).then(|| Clash::Twin(&other[..length - 1]));
        }
        None
    })
}

fn same_but_for_case(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() {
        return a.eq_ignore_ascii_case(b);
    }
    fold(a) == fold(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let others = ["README.md", "src/App.js", "src/über.js", "lib", "straße"];
        for (path, clash) in [
            ("README.md", None),
            ("readme.md", Some(Clash::Twin("README.md"))),
            ("Readme.md/x", Some(Clash::Twin("README.md"))),
            ("src/app.js", Some(Clash::Twin("src/App.js"))),
            ("SRC/other.js", Some(Clash::Twin("src"))),
            ("src/ÜBER.js", Some(Clash::Twin("src/über.js"))),
            ("STRASSE", Some(Clash::Twin("straße"))),
            ("Strasse/x", Some(Clash::Twin("straße"))),
            ("src", Some(Clash::IsFolder("src/App.js"))),
            ("lib/a/b", Some(Clash::IsFile("lib"))),
            ("src/other.js", None),
            ("library", None),
        ] {
            assert_eq!(find(path, others.into_iter()), clash, "{path}");
        }
    }
}
