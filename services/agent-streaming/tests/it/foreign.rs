//! Agents of published npm packages beside the built-in ones. `make test` downloads the packages of tests/packages.txt.

use std::{
    collections::BTreeSet,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use agent_streaming::Catalogue;
use flate2::read::GzDecoder;

use super::selection::{percent, requests};

/// The fewest files that the packages have in folders of agents, and the fewest agents that are taken from them.
const FILES: usize = 500;
const TAKEN: usize = 200;
/// How many of 1,000 requests may lose their agent.
const MAX_LOST: usize = 30;

/// The Markdown files of a package that stand in a folder of agents, by path.
fn agent_files(package: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut archive = tar::Archive::new(GzDecoder::new(fs::File::open(package).unwrap()));
    let mut files = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        if !path.iter().any(|part| part == "agents") || path.extension().is_none_or(|ext| ext != "md") {
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.push((path, bytes));
    }
    files
}

/// Writes the files of all packages into `folder`, without the folders that begin with a dot, which are not read. Returns their number.
fn unpack(folder: &Path) -> usize {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of a service")]
    let packages = std::env::var_os("BACKLOT_AGENT_PACKAGES").expect("BACKLOT_AGENT_PACKAGES names the folder of packages; use make test");
    let mut count = 0;
    for package in fs::read_dir(packages).unwrap().map(|entry| entry.unwrap().path()) {
        if package.extension().is_none_or(|ext| ext != "tgz") {
            continue;
        }
        for (number, (path, bytes)) in agent_files(&package).into_iter().enumerate() {
            // A folder of its own for each file keeps files of the same name.
            let target = folder.join(package.file_stem().unwrap()).join(number.to_string());
            fs::create_dir_all(&target).unwrap();
            fs::write(target.join(path.file_name().unwrap()), bytes).unwrap();
            count += 1;
        }
    }
    count
}

/// How many of 1,000 requests in English have their agent as the first candidate.
fn first(catalogue: &Catalogue) -> usize {
    let english = &requests()["english"];
    let right = english.iter().filter(|(agent, request)| {
        let candidates = catalogue.select(request).candidates;
        candidates.first().is_some_and(|candidate| candidate.agent == *agent)
    });
    percent(right.count() * 10, english.len())
}

#[test]
fn published_agents_are_taken_as_far_as_they_go() {
    let folder = tempfile::tempdir().unwrap();
    let written = unpack(folder.path());
    assert!(written >= FILES, "the packages have only {written} files of agents");
    let (own, _) = Catalogue::load(None).unwrap();
    let (all, notes) = Catalogue::load(Some(folder.path())).unwrap();
    let built_in: BTreeSet<_> = own.agents().map(|(name, ..)| name).collect();
    let taken = all.agents().filter(|(name, ..)| !built_in.contains(name)).count();
    assert!(taken >= TAKEN, "only {taken} agents of {written} files were taken");
    for (name, _, description) in all.agents() {
        assert!(!description.is_empty(), "{name} has no description");
    }
    for part in ["is not an agent", "is ignored: "] {
        assert!(notes.iter().any(|note| note.contains(part)), "no note has {part:?}");
    }
    assert!(notes.iter().all(|note| note.contains(".md")), "a note names no file");
    let (before, after) = (first(&own), first(&all));
    assert!(before.saturating_sub(after) < MAX_LOST, "{before} of 1,000 were right without the {taken} agents, {after} with them");
}
