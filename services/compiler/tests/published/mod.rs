//! The templates of published packages, which are whole projects. `make test` downloads the packages of `tests/packages.txt` from npm. The
//! tests of the compiler and of the role compile share them.

use std::{
    collections::BTreeMap,
    fs::File as FsFile,
    io::Read,
    path::{Path, PathBuf},
};

/// Names of files that npm does not publish, and those that the packages have in their place.
const RENAMED: [(&str, &str); 3] = [("_gitignore", ".gitignore"), ("_oxlintrc.json", ".oxlintrc.json"), ("_npmrc", ".npmrc")];
/// Packages whose frameworks are not compiled.
const REFUSED: [&str; 2] = ["\"solid-js\"", "\"@builder.io/qwik\""];
/// Folders that need more than their files, and the findings that they have.
const EXCEPTIONS: &[(&str, &[&str])] = &[
    // The compiler of Reason writes the script.
    ("create-vite-app-1.21.0/template-reason-react", &["MISSING_FILE index.html:11:5"]),
];

pub(crate) type Files = BTreeMap<String, Vec<u8>>;
/// The files of a template, in the order of their paths.
pub(crate) type Template<'f> = Vec<(String, &'f [u8])>;

/// The files of each package, by the name of its archive.
pub(crate) fn packages() -> BTreeMap<String, Files> {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of a service")]
    let named = std::env::var_os("BACKLOT_TEMPLATES");
    let folder = named.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../compiler/tests"), PathBuf::from);
    let paths = std::fs::read_dir(&folder).expect("the folder of packages").filter_map(Result::ok).map(|entry| entry.path());
    let archives: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "tgz")).collect();
    assert!(!archives.is_empty(), "no package in {}: `make test` downloads them", folder.display());
    archives.iter().map(|path| (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), unpacked(path))).collect()
}

fn unpacked(archive: &Path) -> Files {
    let mut files = Files::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(FsFile::open(archive).expect("the package")));
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_string_lossy().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("a file");
        files.insert(path.strip_prefix("package/").unwrap_or(&path).to_owned(), content);
    }
    files
}

/// The projects of a package by their folders: those with a page and a list of packages.
pub(crate) fn templates(files: &Files) -> BTreeMap<String, Template<'_>> {
    let pages = files.keys().filter_map(|path| path.strip_suffix("index.html"));
    let whole = pages
        .filter(|folder| folder.is_empty() || folder.ends_with('/'))
        .filter(|folder| files.contains_key(&format!("{folder}package.json")));
    let of = |folder: &str| {
        let own = files.iter().filter_map(|(path, content)| Some((path.strip_prefix(folder)?, content.as_slice())));
        own.map(|(path, content)| {
            (RENAMED.iter().find(|(published, _)| *published == path).map_or(path, |(_, own)| own).to_owned(), content)
        })
        .collect()
    };
    whole.map(|folder| (folder.trim_end_matches('/').to_owned(), of(folder))).collect()
}

/// Whether the framework of a template is not compiled.
pub(crate) fn is_refused(files: &Template<'_>) -> bool {
    let manifest =
        files.iter().find(|(path, _)| path == "package.json").map(|(_, content)| String::from_utf8_lossy(content)).unwrap_or_default();
    REFUSED.iter().any(|package| manifest.contains(package))
}

/// Whether a template may have these findings, each with its code, file, line and column.
pub(crate) fn may_have(name: &str, files: &Template<'_>, found: &[String]) -> bool {
    if is_refused(files) {
        return !found.is_empty() && found.iter().all(|found| found.starts_with("UNSUPPORTED package.json"));
    }
    let expected = EXCEPTIONS.iter().find(|(exception, _)| *exception == name).map_or(&[][..], |(_, expected)| expected);
    found == expected
}
