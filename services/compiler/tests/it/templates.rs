//! The templates of published packages are whole projects: nothing is wrong with them. `make test` downloads the packages of
//! `tests/packages.txt` from npm.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File as FsFile,
    io::Read,
    path::{Path, PathBuf},
};

use compiler_client::message::{Answer, Request};

use crate::{
    support::{brief, compile, file},
    tools,
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

type Files = BTreeMap<String, Vec<u8>>;

/// The files of each package, by the name of its archive.
fn packages() -> BTreeMap<String, Files> {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of a service")]
    let named = std::env::var_os("BACKLOT_TEMPLATES");
    let folder = named.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), PathBuf::from);
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
fn templates(files: &Files) -> BTreeMap<String, Vec<(String, &[u8])>> {
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

/// What is wrong with the answer for a template.
fn wrong(name: &str, files: &[(String, &[u8])], answer: &Answer) -> Option<String> {
    let found = brief(&answer.findings);
    let manifest =
        files.iter().find(|(path, _)| path == "package.json").map(|(_, content)| String::from_utf8_lossy(content)).unwrap_or_default();
    if REFUSED.iter().any(|package| manifest.contains(package)) {
        let is_refused = !found.is_empty() && found.iter().all(|found| found.starts_with("UNSUPPORTED package.json"));
        return (!is_refused).then(|| format!("{found:?}"));
    }
    if let Some((_, expected)) = EXCEPTIONS.iter().find(|(exception, _)| *exception == name) {
        return (found != *expected).then(|| format!("{found:?}"));
    }
    if !found.is_empty() {
        let messages: Vec<_> = answer.findings.iter().map(|found| found.message.as_str()).collect();
        return Some(format!("{found:#?} {messages:#?}"));
    }
    let is_whole = answer.page.contains("importmap") && !answer.page.contains("src=\"/src/") && answer.wanted.is_empty();
    (!is_whole).then(|| format!("no page: {}", answer.page))
}

#[test]
fn templates_have_no_finding_and_a_page() {
    let (mut compiled, mut all_wrong) = (BTreeSet::new(), BTreeMap::new());
    for (package, files) in packages() {
        for (folder, files) in templates(&files) {
            let name = format!("{package}/{folder}");
            let contents = files.iter().map(|(path, content)| file(path, content)).collect();
            let answer = compile(Request { files: contents, check_all: true, tools: tools::all(), ..Request::default() });
            match wrong(&name, &files, &answer) {
                Some(wrong) => drop(all_wrong.insert(name, wrong)),
                None if answer.page.is_empty() => {}
                None => drop(compiled.insert((package.clone(), folder))),
            }
        }
    }
    let packages: BTreeSet<_> = compiled.iter().map(|(package, _)| package).collect();
    assert!(all_wrong.is_empty(), "{all_wrong:#?}");
    assert!(packages.len() >= 8 && compiled.len() >= 40, "{} templates of {packages:?}", compiled.len());
}
