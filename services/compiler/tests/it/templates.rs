//! The templates of create-vite are whole projects: nothing is wrong with them. `make test` downloads the package of
//! `tests/packages.txt` from npm.

use std::{
    collections::BTreeMap,
    fs::File as FsFile,
    io::Read,
    path::{Path, PathBuf},
};

use compiler_client::message::Request;

use crate::{
    support::{brief, compile, file},
    tools,
};

/// Frameworks whose files are compiled here.
const COMPILED: [&str; 6] = ["vanilla", "react", "preact", "lit", "svelte", "vue"];

/// The files of each template, by the name of the template.
fn templates() -> BTreeMap<String, Vec<(String, Vec<u8>)>> {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of a service")]
    let named = std::env::var_os("BACKLOT_TEMPLATES");
    let folder = named.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), PathBuf::from);
    let archive = std::fs::read_dir(&folder).expect("the folder of packages").filter_map(Result::ok).map(|entry| entry.path());
    let archive = archive.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "tgz"));
    let archive = archive.unwrap_or_else(|| panic!("no package in {}: `make test` downloads it", folder.display()));
    let mut found = BTreeMap::<String, Vec<_>>::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(FsFile::open(archive).expect("the package")));
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_string_lossy().into_owned();
        let Some((template, path)) = path.strip_prefix("package/template-").and_then(|rest| rest.split_once('/')) else { continue };
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("a file");
        found.entry(template.to_owned()).or_default().push((path.to_owned(), content));
    }
    found
}

#[test]
fn templates_have_no_finding_and_a_page() {
    let (mut compiled, mut wrong) = (Vec::new(), Vec::new());
    for (template, files) in templates() {
        let files = files.iter().map(|(path, content)| file(path, content)).collect();
        let answer = compile(Request { files, check_all: true, tools: tools::all(), ..Request::default() });
        let framework = template.trim_end_matches("-ts");
        if COMPILED.contains(&framework) {
            let is_whole = answer.page.contains("importmap") && !answer.page.contains("src=\"/src/") && answer.wanted.is_empty();
            if !answer.findings.is_empty() || !is_whole {
                wrong.push(format!("{template}: {:?} {}", brief(&answer.findings), answer.page));
            }
            compiled.push(template);
        } else {
            // The others get a refusal that names what is not compiled.
            let found = brief(&answer.findings);
            if found.is_empty() || !found.iter().all(|found| found.starts_with("UNSUPPORTED")) {
                wrong.push(format!("{template}: {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(compiled.len(), 2 * COMPILED.len(), "{compiled:?}");
}
