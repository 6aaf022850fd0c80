//! The answers of the crate and of npm itself for the dependency sets in `tests/sets`, and for those that `backlot vendor warm` keeps.
//!
//! `make test` lets the npm that `tests/answers/package.json` pins write a lock file for each set, and stores it with the packuments in a
//! folder of its cache (`deploy/scripts/common.sh`). Without that folder the tests make it in a temporary one, which takes minutes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use bytes::Bytes;
use npm::{Excerpt, Limits, Lock, Options, PackageJson, Registry, RegistryError, Tree, resolve, semver::Version};
use serde_json::Value;

use crate::registry::Folder;

const SETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sets");
/// The list of `backlot vendor warm`.
const WARM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../backlot/data/warm.json");

static ANSWERS: LazyLock<PathBuf> = LazyLock::new(|| {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of a service")]
    let named = std::env::var_os("BACKLOT_NPM_ANSWERS");
    named.map_or_else(fetch, PathBuf::from)
});

fn fetch() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("npm-answers");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/answers/fetch.mjs");
    let status = Command::new("node").arg(script).args([SETS, WARM]).arg(&folder).status().expect("node");
    assert!(status.success(), "npm does not answer");
    folder
}

fn options() -> Options {
    let node = std::fs::read_to_string(ANSWERS.join("node-version")).expect("the version of Node.js");
    Options { node: Version::parse(node.trim()).expect("a version"), ..Options::default() }
}

fn package(text: &[u8]) -> PackageJson {
    PackageJson::parse(text, &Limits::default()).expect("a package.json")
}

/// The sets of the folder by name, and those of the list.
fn sets() -> BTreeMap<String, PackageJson> {
    let mut sets = warm_sets();
    for entry in std::fs::read_dir(SETS).expect("the sets") {
        let path = entry.expect("a set").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("UTF-8");
        sets.insert(name.to_owned(), package(&std::fs::read(&path).expect("a set")));
    }
    sets
}

/// The sets of the list, with the names that `ask.mjs` gives them.
fn warm_sets() -> BTreeMap<String, PackageJson> {
    let list: Vec<Value> = serde_json::from_slice(&std::fs::read(WARM).expect("the list")).expect("JSON");
    let name = |set: &Value| format!("warm-{}", set["name"].as_str().expect("a name").replace(' ', "-"));
    list.iter().map(|set| (name(set), package(set["manifest"].to_string().as_bytes()))).collect()
}

fn lock(set: &str) -> Vec<u8> {
    std::fs::read(ANSWERS.join(format!("{set}.lock.json"))).expect("npm's answer")
}

/// Each place with its package, version and hash, and the marks for development and optional packages.
type Places = BTreeMap<String, String>;

fn description(package: &str, version: &str, integrity: &str, is_dev: bool, is_optional: bool) -> String {
    format!("{package}@{version} {integrity}{}{}", if is_dev { " dev" } else { "" }, if is_optional { " optional" } else { "" })
}

/// The mark of a package that is there for the sake of optional peers alone. npm then does not say whether it is for development.
const EXTRANEOUS: &str = " extraneous";

/// The places of a lock file without packages inside of others' tarballs, which are in the files of these.
fn places_of_npm(lock: &[u8]) -> Result<Places, String> {
    let document: Value = serde_json::from_slice(lock).expect("JSON");
    if let Some(error) = document["error"].as_str() {
        return Err(error.to_owned());
    }
    let entries = document["packages"].as_object().expect("packages").iter();
    let packages = entries.filter(|(path, entry)| !path.is_empty() && entry["inBundle"] != true);
    Ok(packages
        .map(|(path, entry)| {
            let folder = path.rsplit_once("node_modules/").expect("a place").1;
            let text = |field: &str| entry[field].as_str();
            let is = |field: &str| entry[field] == true;
            let name = text("name").unwrap_or(folder);
            let version = text("version").unwrap_or_default();
            let entry = description(name, version, text("integrity").unwrap_or_default(), is("dev"), is("optional"));
            (path.clone(), if is("extraneous") { entry + EXTRANEOUS } else { entry })
        })
        .collect())
}

fn places(tree: &Tree) -> Places {
    let describe = |package: &npm::Package| {
        let integrity = package.integrity.as_ref().map(ToString::to_string).unwrap_or_default();
        description(&package.name, &package.version, &integrity, package.is_dev, package.is_optional)
    };
    tree.packages.iter().map(|(path, package)| (path.clone(), describe(package))).collect()
}

fn is_same(ours: Option<&String>, npms: Option<&String>) -> bool {
    match (ours, npms.and_then(|npms| npms.strip_suffix(EXTRANEOUS))) {
        (Some(ours), Some(npms)) => ours.strip_suffix(" optional").map(|ours| ours.strip_suffix(" dev").unwrap_or(ours)) == Some(npms),
        _ => ours == npms,
    }
}

/// What differs, for a message.
fn differences(ours: &Places, npms: &Places) -> Vec<String> {
    let paths: std::collections::BTreeSet<_> = ours.keys().chain(npms.keys()).collect();
    let differing = paths.into_iter().filter(|path| !is_same(ours.get(*path), npms.get(*path)));
    differing.map(|path| format!("{path}: npm {:?}, here {:?}", npms.get(path), ours.get(path))).collect()
}

/// npm's code for an error.
fn code(error: &npm::Error) -> &'static str {
    match error {
        npm::Error::PeerConflict { .. } => "ERESOLVE",
        npm::Error::OverrideConflict { .. } => "EOVERRIDE",
        npm::Error::NoPackage { .. } => "E404",
        npm::Error::NoVersion { .. } => "ETARGET",
        _ => "none",
    }
}

#[tokio::test]
async fn every_set_has_the_packages_and_places_of_npm() {
    let registry = Folder(ANSWERS.join("packuments"));
    let (mut failed, mut compared) = (Vec::new(), 0);
    for (set, package) in sets() {
        let ours = resolve(&package, None, &registry, &options()).await;
        match (ours, places_of_npm(&lock(&set))) {
            (Ok(ours), Ok(npms)) => {
                let differences = differences(&places(&ours.tree), &npms);
                if !differences.is_empty() {
                    failed.push(format!("{set}: {} of {} places\n  {}", differences.len(), npms.len(), differences.join("\n  ")));
                }
                compared += npms.len();
            }
            (Err(error), Err(npms)) if code(&error) == npms => {}
            (ours, npms) => failed.push(format!("{set}: here {:?}, npm {:?}", ours.map(drop), npms.map(drop))),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(compared > 1_000, "only {compared} packages were compared");
}

#[tokio::test]
async fn no_set_of_the_warm_list_is_refused() {
    let (registry, sets) = (Folder(ANSWERS.join("packuments")), warm_sets());
    assert!(sets.len() >= 9, "{:?}", sets.keys());
    for (set, package) in sets {
        let resolved = resolve(&package, None, &registry, &options()).await.unwrap_or_else(|error| panic!("{set}: {error}"));
        let asked = package.dependencies.iter().chain(&package.dev_dependencies).map(|(name, _)| name);
        let absent: Vec<_> = asked.filter(|name| !resolved.tree.dependencies.contains_key(*name)).collect();
        assert!(absent.is_empty(), "{set}: {absent:?}");
    }
}

#[tokio::test]
async fn conflicts_of_peers_are_settled_as_npm_settles_them_by_force() {
    let registry = Folder(ANSWERS.join("packuments"));
    let options = Options { accepts_peer_conflicts: true, ..options() };
    let mut compared = 0;
    for (set, package) in sets() {
        let Ok(forced) = std::fs::read(ANSWERS.join(format!("{set}.forced.json"))) else { continue };
        let ours = resolve(&package, None, &registry, &options).await.unwrap_or_else(|error| panic!("{set}: {error}"));
        let differences = differences(&places(&ours.tree), &places_of_npm(&forced).expect("a lock file"));
        assert!(differences.is_empty(), "{set}:\n  {}", differences.join("\n  "));
        assert!(ours.findings.iter().any(|finding| finding.code == npm::Code::PeerConflict), "{set}: {:?}", ours.findings);
        compared += 1;
    }
    assert!(compared >= 4, "only {compared} sets have peers in conflict");
}

#[tokio::test]
async fn a_lock_file_of_npm_gives_its_own_tree_without_a_registry() {
    let registry = Folder(PathBuf::new());
    for (set, package) in sets() {
        let (bytes, Ok(mut npms)) = (lock(&set), places_of_npm(&lock(&set))) else { continue };
        // npm removes these when it reads its file.
        let document: Value = serde_json::from_slice(&bytes).expect("JSON");
        npms.retain(|path, _| document["packages"][path]["extraneous"] != true);
        let lock = Lock::parse("package-lock.json", &bytes, &Limits::default()).expect("a lock file");
        let ours = resolve(&package, Some(&lock), &registry, &options()).await.unwrap_or_else(|error| panic!("{set}: {error}"));
        let differences = differences(&places(&ours.tree), &npms);
        assert!(differences.is_empty(), "{set}:\n  {}", differences.join("\n  "));
        let differs = |finding: &&npm::Finding| finding.code == npm::Code::LockDiffers;
        assert_eq!(ours.findings.iter().find(differs), None, "{set}");
    }
}

/// The versions that a resolution has looked at, and nothing else.
struct Kept(BTreeMap<String, Vec<Excerpt>>);

impl Registry for Kept {
    async fn packument(&self, name: &str) -> Result<Bytes, RegistryError> {
        let missing = || RegistryError::Failed("away".to_owned());
        self.0.get(name).map(|versions| Excerpt::packument(name, versions)).ok_or_else(missing)
    }

    async fn tarball(&self, _: &str, _: &str) -> Result<Bytes, RegistryError> {
        Err(RegistryError::NotFound)
    }
}

#[tokio::test]
async fn the_versions_that_were_looked_at_are_enough_to_resolve_again() {
    let registry = Folder(ANSWERS.join("packuments"));
    let options = Options { accepts_peer_conflicts: true, ..options() };
    let (mut failed, mut compared) = (Vec::new(), 0);
    for (set, package) in sets() {
        let Ok(whole) = resolve(&package, None, &registry, &options).await else { continue };
        let mut kept = Kept(BTreeMap::new());
        for (name, version) in &whole.considered {
            let Ok(packument) = registry.packument(name).await else { continue };
            let excerpt = Excerpt::of(name, version, &packument, &Limits::default()).expect("a packument");
            kept.0.entry(name.clone()).or_default().extend(excerpt);
        }
        match resolve(&package, None, &kept, &options).await {
            Ok(again) => {
                let differences = differences(&places(&again.tree), &places(&whole.tree));
                if !differences.is_empty() {
                    failed.push(format!("{set}:\n  {}", differences.join("\n  ")));
                }
            }
            Err(error) => failed.push(format!("{set}: {error}")),
        }
        compared += whole.tree.packages.len();
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(compared > 1_000, "only {compared} packages were compared");
}
