//! Entries that are left out of an import: what a program makes from the other files, and what a system or an editor leaves behind.

use proto::path::is_git_folder;

/// Why an entry is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SkipReason {
    /// Packages that a package manager installs.
    Dependencies,
    /// The data of a version control system.
    Repository,
    /// What a build makes from the other files.
    BuildOutput,
    /// Caches and files of a system.
    Junk,
}

/// Folders that are left out wherever they are, because nothing else has these names.
const FOLDERS: &[(SkipReason, &[&str])] = &[
    (SkipReason::Dependencies, &["node_modules", "bower_components", "jspm_packages", ".venv", ".yarn", ".pnpm-store"]),
    (SkipReason::Repository, &[".hg", ".svn", ".bzr", "CVS"]),
    (SkipReason::BuildOutput, &[".next", ".nuxt", ".output", ".svelte-kit", ".astro", ".vercel", ".netlify", ".expo", ".angular"]),
    (
        SkipReason::Junk,
        &[
            "__MACOSX",
            "__pycache__",
            ".cache",
            ".parcel-cache",
            ".turbo",
            ".vite",
            ".nyc_output",
            ".tox",
            ".nox",
            ".mypy_cache",
            ".pytest_cache",
            ".ruff_cache",
            ".gradle",
        ],
    ),
];
/// Files of systems.
const FILES: &[&str] = &[".DS_Store", "Thumbs.db", "ehthumbs.db", "desktop.ini"];
/// Prefix of the files in which macOS keeps attributes on other file systems.
const APPLE_DOUBLE: &str = "._";

/// Folders that are build output only beside a file that says so: `build` is also the name of ordinary source folders.
const OUTPUTS: &[(&str, &[&str])] = &[
    ("dist", &["package.json", "setup.py", "pyproject.toml"]),
    ("build", &["package.json", "setup.py", "pyproject.toml", "build.gradle", "build.gradle.kts", "CMakeLists.txt"]),
    ("out", &["package.json", "build.gradle", "build.gradle.kts"]),
    ("coverage", &["package.json"]),
    ("target", &["Cargo.toml", "pom.xml", "build.sbt"]),
];

/// The part of a path that is left out by its name: the outermost folder or the file, and why.
pub(super) fn by_name(path: &str, is_folder: bool) -> Option<(&str, SkipReason)> {
    let mut end = 0;
    for part in path.split('/') {
        end += part.len();
        let is_last = end == path.len();
        let reason = if is_last && !is_folder { file_reason(part) } else { folder_reason(part) };
        if let Some(reason) = reason {
            return Some((&path[..end], reason));
        }
        end += 1;
    }
    None
}

fn folder_reason(name: &str) -> Option<SkipReason> {
    if is_git_folder(name) {
        return Some(SkipReason::Repository);
    }
    FOLDERS.iter().find(|(_, names)| names.contains(&name)).map(|(reason, _)| *reason)
}

fn file_reason(name: &str) -> Option<SkipReason> {
    if is_git_folder(name) {
        // The pointer of a submodule or a worktree.
        return Some(SkipReason::Repository);
    }
    (FILES.contains(&name) || name.starts_with(APPLE_DOUBLE)).then_some(SkipReason::Junk)
}

/// The outermost folder of a path that is build output. `has_file` says whether the archive has a file at a path.
pub(super) fn build_output(path: &str, has_file: impl Fn(&str) -> bool) -> Option<&str> {
    let mut start = 0;
    while let Some(length) = path[start..].find('/') {
        let (folder, end) = (&path[..start], start + length);
        let evidence = OUTPUTS.iter().find(|(name, _)| *name == &path[start..end]).map_or(&[][..], |(_, files)| files);
        if evidence.iter().any(|file| has_file(&format!("{folder}{file}"))) {
            return Some(&path[..end]);
        }
        start = end + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_only_tools_use_are_left_out() {
        for (path, skipped) in [
            ("src/app.js", None),
            ("node_modules/a/b.js", Some(("node_modules", SkipReason::Dependencies))),
            ("packages/x/node_modules/y/node_modules/z.js", Some(("packages/x/node_modules", SkipReason::Dependencies))),
            (".git/config", Some((".git", SkipReason::Repository))),
            ("a/.GIT/config", Some(("a/.GIT", SkipReason::Repository))),
            ("module/.git", Some(("module/.git", SkipReason::Repository))),
            (".gitignore", None),
            (".next/server/app.js", Some((".next", SkipReason::BuildOutput))),
            ("__MACOSX/a/._b", Some(("__MACOSX", SkipReason::Junk))),
            ("a/.DS_Store", Some(("a/.DS_Store", SkipReason::Junk))),
            ("a/._b.txt", Some(("a/._b.txt", SkipReason::Junk))),
            // A file with the name of a folder is an ordinary file.
            ("node_modules", None),
            ("src/node_modules.ts", None),
            ("dist/app.js", None),
        ] {
            assert_eq!(by_name(path, false), skipped, "{path}");
        }
        assert_eq!(by_name("a/node_modules", true), Some(("a/node_modules", SkipReason::Dependencies)));
    }

    #[test]
    fn output_is_known_by_what_is_beside_it() {
        let files = ["package.json", "web/package.json", "crate/Cargo.toml", "pyproject.toml"];
        let found = |path| build_output(path, |file| files.contains(&file));
        for (path, output) in [
            ("dist/app.js", Some("dist")),
            ("dist/build/x", Some("dist")),
            ("web/dist/a/b.js", Some("web/dist")),
            ("crate/target/debug/x", Some("crate/target")),
            ("target/x", None),
            ("src/build/main.py", None),
            ("src/dist.js", None),
            ("dist", None),
        ] {
            assert_eq!(found(path), output, "{path}");
        }
    }
}
