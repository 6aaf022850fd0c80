//! Which crates a crate may depend on, the number of its dependencies, and their features.

use std::process::Command;

use house::{
    packages::packages,
    root,
    source::{File, names, rust_files},
};

const MAX_DEPENDENCIES: usize = 25;

/// Crates that may have more direct dependencies: the name, the limit, and the reason.
const MANY_DEPENDENCIES: &[(&str, usize, &str)] = &[
    ("agent-streaming", 27, "providers of models, tokens, word forms and front matter have a library each"),
    ("auth", 30, "providers of sign-ins, passkeys, mails, passwords, codes, e-mail addresses and places have a library each"),
    ("chassis", 49, "it wraps all technologies, so that other crates do not need them"),
    ("compiler", 32, "one parser for each language, and the crates of one bundler"),
    ("gateway", 28, "protocols, archives, pictures of codes and parts of HTTP have a library each"),
    ("project-storage", 30, "git objects, archives, search and media types have a library each"),
];

/// Dependencies that no source file names: the crate, the dependency, and the reason.
const UNNAMED_DEPENDENCIES: &[(&str, &str, &str)] = &[
    ("chassis", "rustls-webpki", "its library is named webpki"),
    ("proto", "pbjson", "used by generated code"),
    ("proto", "prost", "used by generated code"),
    ("proto", "prost-types", "used by generated code"),
    ("proto", "tonic-prost", "used by generated code"),
];

/// The features with failpoints and seeded bugs.
const FAULT_FEATURES: [&str; 2] = ["failpoints", "seeded-bugs"];

/// The crates of the workspace that a crate may depend on. Development dependencies count only for crates below `tests`.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("private-postgres", &[]),
    ("chassis", &["private-postgres", "proto"]),
    ("auth", &["chassis", "proto"]),
    ("agent-streaming", &["chassis", "proto"]),
    ("project-storage", &["chassis", "proto"]),
    ("rate-limit", &["chassis", "proto"]),
    // Rules for what strangers wrote, without a service of its own.
    ("npm", &[]),
    ("compiler-client", &[]),
    // The process that fetches, which the executable of `compiler` runs, and its messages.
    ("fetcher", &["compiler-client", "npm"]),
    // Nobody depends on `compiler`: its executable is started by `compiler-client`, so no other build has its dependencies.
    ("compiler", &["compiler-client", "fetcher", "npm"]),
    ("compile", &["chassis", "compiler-client", "fetcher", "npm", "proto"]),
    ("gateway", &["chassis", "proto"]),
    (
        "backlot",
        &["agent-streaming", "auth", "chassis", "compile", "gateway", "private-postgres", "project-storage", "proto", "rate-limit"],
    ),
    ("test-support", &["backlot", "chassis", "proto"]),
    ("attack", &["chassis", "proto", "test-support"]),
    ("fuzz", &["chassis", "proto"]),
    ("journeys", &["attack", "auth", "backlot", "chassis", "proto", "test-support"]),
    ("chaos", &["attack", "auth", "backlot", "chassis", "private-postgres", "proto", "test-support"]),
    // `make bench` also measures the limiter and the selection of agents without a server.
    ("bench", &["agent-streaming", "attack", "backlot", "chassis", "private-postgres", "proto", "rate-limit", "test-support"]),
    ("house", &["backlot", "chassis"]),
];

#[test]
fn crates_depend_one_way() {
    let packages = packages();
    assert_eq!(packages.len(), DIRECTIONS.len(), "DIRECTIONS has one entry for each crate");
    for package in packages {
        let allowed = DIRECTIONS.iter().find(|(name, _)| *name == package.name).map(|(_, allowed)| *allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("{}: a new crate needs an entry in DIRECTIONS", package.name));
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
        let is_exception =
            |name: &str| UNNAMED_DEPENDENCIES.iter().any(|(owner, exception, _)| *owner == package.name && *exception == name);
        let unnamed =
            package.foreign.iter().chain(&package.own).filter(|name| !names(&code, &name.replace('-', "_")) && !is_exception(name));
        unused.extend(unnamed.map(|name| format!("{}: {name}", package.name)));
    }
    assert!(unused.is_empty(), "unused dependencies: {unused:?}");
}

/// The dependencies of the compiler take minutes to build, and parse what strangers write.
#[test]
fn only_the_compiler_depends_on_parsers_of_source_code() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", "backlot", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let built = String::from_utf8_lossy(&output.stdout).into_owned();
    let heavy = ["oxc", "rolldown", "lightningcss", "lol_html", "rquickjs", "tree-sitter", "compiler "];
    let found: Vec<_> = built.lines().filter(|line| heavy.iter().any(|name| line.starts_with(name))).collect();
    assert!(found.is_empty() && built.lines().count() > 100, "the build of backlot has {found:?}");
}

/// A build of only `bench`, `journeys` or `backlot` has no failpoints and no seeded bugs.
#[test]
fn only_chaos_enables_failpoints_and_seeded_bugs() {
    for package in packages() {
        let is_fault = |name: &&String| FAULT_FEATURES.contains(&name.rsplit('/').next().unwrap_or_default());
        let enabled: Vec<_> = package.features.iter().filter(is_fault).map(String::as_str).collect();
        let expected = if package.name == "chaos" { vec!["backlot/seeded-bugs", "chassis/failpoints"] } else { Vec::new() };
        assert_eq!(enabled, expected, "{}", package.name);
        assert!(!package.own.contains("chaos"), "{} depends on the chaos harness", package.name);
    }
}
