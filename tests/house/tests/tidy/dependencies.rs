//! Which crates a crate may depend on, how many, and with which features.

use house::{
    packages::packages,
    source::{File, names, rust_files},
};

const MAX_DEPENDENCIES: usize = 25;

/// Crates that may have more direct dependencies, how many, and why.
const MANY_DEPENDENCIES: &[(&str, usize, &str)] =
    &[("chassis", 43, "it is where every technology enters, so that no other crate needs them")];

/// Dependencies that no source file names, and why they are there.
const UNNAMED_DEPENDENCIES: &[(&str, &str, &str)] = &[
    ("proto", "pbjson", "generated code names it"),
    ("proto", "prost", "generated code names it"),
    ("proto", "prost-types", "generated code names it"),
    ("proto", "tonic-prost", "generated code names it"),
];

/// The features that make a cluster fail on request and contain the seeded bugs.
const FAULTS: [&str; 2] = ["failpoints", "seeded-bugs"];

/// Which of our crates a crate may depend on. The tests of a crate may use any crate below it, but a crate below `tests` only these.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("private-postgres", &[]),
    ("chassis", &["private-postgres", "proto"]),
    ("auth", &["chassis", "proto"]),
    ("agent-streaming", &["chassis", "proto"]),
    ("project-storage", &["chassis", "proto"]),
    ("rate-limit", &["chassis", "proto"]),
    ("gateway", &["chassis", "proto"]),
    ("backlot", &["agent-streaming", "auth", "chassis", "gateway", "private-postgres", "project-storage", "proto", "rate-limit"]),
    ("test-support", &["backlot", "chassis", "proto"]),
    ("attack", &["chassis", "proto", "test-support"]),
    ("journeys", &["attack", "backlot", "chassis", "proto", "test-support"]),
    ("chaos", &["attack", "backlot", "chassis", "private-postgres", "proto", "test-support"]),
    // The limiter by itself is one of the baselines of `make bench`.
    ("bench", &["attack", "backlot", "chassis", "private-postgres", "proto", "rate-limit", "test-support"]),
    ("house", &["backlot", "chassis"]),
];

#[test]
fn crates_depend_one_way() {
    let packages = packages();
    assert_eq!(packages.len(), DIRECTIONS.len(), "a crate was added or removed");
    for package in packages {
        let allowed = DIRECTIONS.iter().find(|(name, _)| *name == package.name).map(|(_, allowed)| *allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("{}: a new crate needs its place in DIRECTIONS", package.name));
        let wrong: Vec<_> = package.own.iter().filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(wrong.is_empty(), "{} depends on {wrong:?}", package.name);
    }
}

#[test]
fn crates_have_few_dependencies() {
    for package in packages() {
        let exception = MANY_DEPENDENCIES.iter().find(|(name, ..)| *name == package.name);
        let limit = exception.map_or(MAX_DEPENDENCIES, |(_, limit, _)| *limit);
        let count = package.foreign.len();
        assert!(count <= limit, "{} has {count} direct dependencies, more than {limit}: {:?}", package.name, package.foreign);
        assert!(exception.is_none() || count > MAX_DEPENDENCIES, "{} needs no exception", package.name);
    }
}

#[test]
fn crates_use_what_they_depend_on() {
    let (files, mut unused) = (rust_files(), Vec::new());
    for package in packages() {
        let code: String = files.iter().filter(|file| file.path.starts_with(&package.folder)).map(File::code).collect();
        let excused = |name: &str| UNNAMED_DEPENDENCIES.iter().any(|(owner, exception, _)| *owner == package.name && *exception == name);
        let unnamed = package.foreign.iter().chain(&package.own).filter(|name| !names(&code, &name.replace('-', "_")) && !excused(name));
        unused.extend(unnamed.map(|name| format!("{}: {name}", package.name)));
    }
    assert!(unused.is_empty(), "{unused:?}");
}

/// Builds of `bench`, `journeys` or `backlot` alone have no failpoints and no seeded bugs.
#[test]
fn only_the_cluster_under_faults_can_be_made_to_fail() {
    for package in packages() {
        let is_fault = |name: &&String| FAULTS.contains(&name.rsplit('/').next().unwrap_or_default());
        let enabled: Vec<_> = package.features.iter().filter(is_fault).map(String::as_str).collect();
        let expected = if package.name == "chaos" { vec!["backlot/seeded-bugs", "chassis/failpoints"] } else { Vec::new() };
        assert_eq!(enabled, expected, "{}", package.name);
        assert!(!package.own.contains("chaos"), "{} builds the chaos harness", package.name);
    }
}
