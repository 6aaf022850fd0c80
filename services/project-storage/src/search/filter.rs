//! Which paths a search looks at.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Globs of one list.
const MAX_GLOBS: usize = 20;
/// Characters of one glob.
const MAX_GLOB_CHARACTERS: usize = 255;

/// What is wrong with a list of globs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidGlob {
    /// The place of the glob in its list; `None` if the list is too long.
    pub(crate) index: Option<usize>,
    pub(crate) problem: String,
}

/// A list of globs; empty matches nothing.
#[derive(Debug)]
pub(crate) struct Globs(GlobSet);

impl Globs {
    pub(crate) fn new(globs: &[String]) -> Result<Self, InvalidGlob> {
        if globs.len() > MAX_GLOBS {
            return Err(InvalidGlob { index: None, problem: format!("must be at most {MAX_GLOBS} globs") });
        }
        let mut set = GlobSetBuilder::new();
        for (index, glob) in globs.iter().enumerate() {
            let invalid = |problem: String| InvalidGlob { index: Some(index), problem };
            if !(1..=MAX_GLOB_CHARACTERS).contains(&glob.chars().count()) {
                return Err(invalid(format!("must be 1 to {MAX_GLOB_CHARACTERS} characters")));
            }
            let built = GlobBuilder::new(&anchored(glob)).literal_separator(true).build();
            set.add(built.map_err(|error| invalid(format!("must be a glob: {}", error.kind())))?);
        }
        let built = set.build().map_err(|error| InvalidGlob { index: None, problem: format!("must be globs: {}", error.kind()) })?;
        Ok(Self(built))
    }

    fn matches(&self, path: &str) -> bool {
        self.0.is_match(path)
    }
}

/// The glob for a whole path.
fn anchored(glob: &str) -> String {
    let whole = if glob.ends_with('/') { format!("{glob}**") } else { glob.to_owned() };
    match whole.strip_prefix('/') {
        Some(rest) => rest.to_owned(),
        None if whole.contains('/') => whole,
        None => format!("**/{whole}"),
    }
}

/// The paths of a search.
#[derive(Debug)]
pub(crate) struct PathFilter {
    /// Without a glob, all paths.
    pub(crate) include: Globs,
    pub(crate) exclude: Globs,
}

impl PathFilter {
    pub(crate) fn admits(&self, path: &str) -> bool {
        (self.include.0.is_empty() || self.include.matches(path)) && !self.exclude.matches(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(list: &[&str]) -> Result<Globs, InvalidGlob> {
        Globs::new(&list.iter().map(|glob| (*glob).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn globs_admit_paths() {
        let paths = ["index.html", "src/a.ts", "src/ui/b.tsx", "src/ui/b.test.ts", "lib/src/c.ts"];
        for (include, exclude, expected) in [
            (&[][..], &[][..], &paths[..]),
            (&["*.ts"], &[], &["src/a.ts", "src/ui/b.test.ts", "lib/src/c.ts"]),
            (&["*.{ts,tsx}"], &["*.test.*"], &["src/a.ts", "src/ui/b.tsx", "lib/src/c.ts"]),
            (&["src/*"], &[], &["src/a.ts"]),
            (&["src/"], &[], &["src/a.ts", "src/ui/b.tsx", "src/ui/b.test.ts"]),
            (&["/index.html"], &[], &["index.html"]),
            (&["**/src/*.ts"], &[], &["src/a.ts", "lib/src/c.ts"]),
            (&["a.ts", "c.ts"], &["lib/**"], &["src/a.ts"]),
            (&[], &["src/", "lib/"], &["index.html"]),
        ] {
            let filter = PathFilter { include: globs(include).expect("globs"), exclude: globs(exclude).expect("globs") };
            let admitted: Vec<_> = paths.into_iter().filter(|path| filter.admits(path)).collect();
            assert_eq!(admitted, expected, "{include:?} {exclude:?}");
        }
    }

    #[test]
    fn an_invalid_glob_is_named() {
        let error = |list: &[&str]| globs(list).map(drop).expect_err("invalid");
        assert_eq!(error(&["a", "[a"]).index, Some(1));
        assert_eq!(error(&["", "a"]).problem, "must be 1 to 255 characters");
        assert_eq!(error(&["a"; 21]), InvalidGlob { index: None, problem: "must be at most 20 globs".to_owned() });
        assert!(error(&[&"ü".repeat(256)]).problem.contains("255"));
    }
}
