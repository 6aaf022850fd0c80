//! The rules of the house as a test: sizes, who may depend on whom, and which files may speak to which engine. A rule that a
//! good reason breaks gets an exception here, with the reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Lines of a source file without its tests.
const MAX_LINES: usize = 400;
const MAX_MEDIAN: usize = 150;
const MAX_MAIN: usize = 30;
const MAX_TARGETS: usize = 13;
const MAX_DEPENDENCIES: usize = 25;

/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];

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

/// Who may depend on which of our crates; tests may use anything below them.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("chassis", &["proto"]),
    ("auth", &["chassis", "proto"]),
    ("agent-streaming", &["chassis", "proto"]),
    ("project-storage", &["chassis", "proto"]),
    ("rate-limit", &["chassis", "proto"]),
    ("gateway", &["chassis", "proto"]),
    ("backlot", &["agent-streaming", "auth", "chassis", "gateway", "project-storage", "proto", "rate-limit"]),
    ("test-support", &["backlot", "chassis", "proto"]),
    ("attack", &["chassis", "proto", "test-support"]),
    ("journeys", &["backlot"]),
    ("chaos", &["attack", "backlot", "chassis", "proto", "test-support"]),
    // The limiter by itself is one of the floors that `make bench` measures against.
    ("bench", &["attack", "backlot", "chassis", "proto", "rate-limit", "test-support"]),
    ("house", &[]),
];

/// A library and the places whose source may name it; a place is a file, or a folder with all below it.
const TERRITORIES: &[(&str, &[&str])] = &[
    (
        "sqlx",
        &[
            "services/auth/src/store.rs",
            "services/auth/src/store/",
            "services/agent-streaming/src/store.rs",
            "services/agent-streaming/src/store/",
            "services/project-storage/src/store.rs",
            "services/project-storage/src/store/",
            "services/chassis/src/postgres.rs",
            "services/chassis/src/postgres/",
            "services/chassis/src/testing/",
            "tests/support/",
            "tests/chaos/",
            "tests/bench/",
        ],
    ),
    ("axum", &["gateway/"]),
    (
        "fred",
        &[
            "services/agent-streaming/src/log/doorbell.rs",
            "services/rate-limit/src/counter/",
            "services/chassis/src/redis.rs",
            "tests/bench/",
        ],
    ),
    ("gix_object", &["services/project-storage/src/git.rs", "services/project-storage/src/git/"]),
    ("gix_merge", &["services/project-storage/src/git.rs", "services/project-storage/src/git/"]),
    ("gix_hash", &["services/project-storage/src/git.rs", "services/project-storage/src/git/"]),
];

#[test]
fn source_files_are_short() {
    let sizes: BTreeMap<_, _> = sources().into_iter().map(|file| (file.path.clone(), file.own_lines())).collect();
    let long: Vec<_> =
        sizes.iter().filter(|(path, lines)| **lines >= MAX_LINES && !LONG_FILES.iter().any(|(exception, _)| path == exception)).collect();
    assert!(long.is_empty(), "longer than {MAX_LINES} lines without tests: {long:?}");
    for (path, reason) in LONG_FILES {
        assert!(sizes.get(*path).is_some_and(|lines| *lines >= MAX_LINES), "{path} needs no exception ({reason})");
    }
    let mut lines: Vec<_> = sizes.into_values().collect();
    lines.sort_unstable();
    let median = lines[lines.len() / 2];
    assert!(median < MAX_MEDIAN, "the median file has {median} lines");
}

#[test]
fn mains_only_open_the_door() {
    for file in sources().into_iter().filter(|file| file.path.ends_with("src/main.rs")) {
        assert!(file.text.lines().count() <= MAX_MAIN, "{}: more than {MAX_MAIN} lines", file.path);
    }
}

#[test]
fn every_crate_begins_with_its_map() {
    for file in sources().into_iter().filter(|file| file.path.ends_with("src/lib.rs")) {
        assert!(file.text.starts_with("//! "), "{}: no map of the crate", file.path);
    }
}

#[test]
fn the_makefile_is_names_only() {
    let text = fs::read_to_string(root().join("Makefile")).expect("Makefile");
    let targets: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        .collect();
    assert!((1..=MAX_TARGETS).contains(&targets.len()), "{targets:?}");
    let phony = text.lines().find_map(|line| line.strip_prefix(".PHONY: ")).expect(".PHONY");
    let named: BTreeSet<_> = phony.split_whitespace().collect();
    assert_eq!(named, targets.iter().map(|(name, _)| *name).collect(), ".PHONY and the targets");
    assert!(targets.iter().all(|(_, rest)| rest.contains("## ")), "a target without a word for `make help`: {targets:?}");
    let recipes = text.lines().filter(|line| line.starts_with('\t')).count();
    assert!(recipes <= targets.len(), "a target with more than one line belongs into deploy/scripts");
}

#[test]
fn crates_depend_one_way() {
    for package in packages() {
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

#[test]
fn engines_are_spoken_to_in_their_own_files() {
    for file in sources() {
        let code = file.code();
        for (library, places) in TERRITORIES {
            let allowed = places.iter().any(|place| if place.ends_with('/') { file.path.starts_with(place) } else { file.path == *place });
            assert!(allowed || !uses(&code, library), "{} names {library}, which belongs into {places:?}", file.path);
        }
    }
}

#[test]
fn nothing_is_left_for_later() {
    for file in sources() {
        for (at, line) in file.text.lines().enumerate() {
            let comment = line.split_once("//").map_or("", |(_, comment)| comment);
            let left = ["TODO", "FIXME", "XXX", "HACK"].iter().any(|word| names(comment, word));
            assert!(!left, "{}:{}: {}", file.path, at + 1, line.trim());
        }
    }
}

/// A reason is promised by the contract: those of the stack by every service's, those of the gateway by its description.
#[test]
fn every_reason_of_an_error_is_promised() {
    let (sources, stack) = (sources(), "services/chassis/src/");
    // A refusal by rate-limit is an answer there and an error at its callers.
    let of_stack = reasons(&sources, |path| path.starts_with(stack) && path != "services/chassis/src/limit.rs");
    assert!(of_stack.contains("CALLER_DENIED"), "{of_stack:?}");
    for service in ["auth", "agent-streaming", "project-storage", "rate-limit"] {
        let folder = format!("proto/backlot/{}/", service.replace('-', "_"));
        let contract: String =
            files(|path| path.starts_with(&folder) && path.ends_with(".proto")).into_iter().map(|file| file.text).collect();
        let own = reasons(&sources, |path| path.starts_with(&format!("services/{service}/src/")));
        let missing: Vec<_> = own.union(&of_stack).filter(|reason| !names(&contract, reason)).collect();
        assert!(!own.is_empty() && missing.is_empty(), "{service}: {missing:?} of {own:?}");
    }
    let description = fs::read_to_string(root().join("gateway/src/openapi/answers.rs")).expect("answers.rs");
    let missing: Vec<_> =
        reasons(&sources, |path| path.starts_with("gateway/src/")).into_iter().filter(|r| !names(&description, r)).collect();
    assert!(missing.is_empty(), "gateway: {missing:?}");
}

/// The reasons that source files give to errors.
fn reasons(sources: &[File], wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in sources.iter().filter(|file| wanted(&file.path)) {
        let code = file.own();
        // In a pattern the code is the first of a tuple, else the argument of a call.
        let in_pattern = |at: usize| code[..at].strip_suffix('(').is_some_and(|before| !before.ends_with(char::is_alphanumeric));
        let calls = code.match_indices("ErrorCode::").filter(|(at, _)| !in_pattern(*at));
        let made = calls.filter_map(|(at, _)| code[at..].split_once(',')).map(|(_, rest)| rest.trim_start());
        let tools = code.split("Refusal::new(").skip(1).map(str::trim_start);
        let arms = if file.path.starts_with("services/") && file.path.ends_with("/error.rs") {
            code.split("=> ").skip(1).collect()
        } else {
            Vec::new()
        };
        let quoted = made.chain(tools).chain(arms).filter_map(|rest| rest.strip_prefix('"')?.split('"').next());
        found.extend(quoted.filter(|word| word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')).map(str::to_owned));
    }
    found
}

#[test]
fn documents_link_to_what_there_is() {
    for name in ["README.md", "ARCHITECTURE.md", "DECISIONS.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            let foreign = path.contains("://") || path.starts_with("mailto:");
            assert!(foreign || path.is_empty() || root().join(path).exists(), "{name} links to {target}");
        }
    }
}

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("a crate in a folder of the repository's root")
}

struct File {
    /// From the root, with `/`.
    path: String,
    text: String,
}

impl File {
    /// The text before the inline tests, which come last.
    fn own(&self) -> &str {
        let tests = self
            .text
            .match_indices("#[cfg(test)]")
            .find(|(at, marker)| self.text[at + marker.len()..].trim_start().starts_with("mod tests"));
        tests.map_or(self.text.as_str(), |(at, _)| &self.text[..at])
    }

    fn own_lines(&self) -> usize {
        self.own().lines().count()
    }

    /// The text without comments.
    fn code(&self) -> String {
        self.text
            .lines()
            .map(|line| if line.trim_start().starts_with("//") { "" } else { line })
            .fold(String::new(), |code, line| code + line + "\n")
    }
}

/// Whether the text holds the name as a word of its own.
fn names(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part))
}

/// Whether the code has a path that begins with the library's name.
fn uses(code: &str, library: &str) -> bool {
    [format!("{library}::"), format!("use {library};"), format!("#[{library}")].iter().any(|path| {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        code.match_indices(path.as_str()).any(|(at, _)| !code[..at].ends_with(part))
    })
}

/// The source of all crates without the tests beside it: what lies in a `src` folder, with the modules of the page.
fn sources() -> Vec<File> {
    let is_source = |path: &str| {
        let code = path.ends_with(".rs") && path.contains("/src/") || path.ends_with(".js") && path.starts_with("gateway/");
        code && !path.ends_with("/tests.rs") && !path.contains("/tests/")
    };
    let found = files(is_source);
    assert!(found.len() > 50, "only {} source files were found", found.len());
    found
}

/// All Rust files, with build scripts and tests.
fn rust_files() -> Vec<File> {
    files(|path| path.ends_with(".rs"))
}

/// The files that git would keep and that are wanted.
fn files(wanted: impl Fn(&str) -> bool) -> Vec<File> {
    let walk = ignore::WalkBuilder::new(root()).require_git(false).build();
    let paths = walk.filter_map(Result::ok).map(|entry| entry.path().to_owned());
    let named = paths.filter_map(|path| {
        let name = path.strip_prefix(root()).ok()?.to_string_lossy().into_owned();
        wanted(&name).then_some((path, name))
    });
    named.map(|(path, name)| File { text: fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}")), path: name }).collect()
}

struct Package {
    name: String,
    /// From the root, with a `/` at the end.
    folder: String,
    /// Normal and build dependencies that are ours.
    own: BTreeSet<String>,
    /// The other ones.
    foreign: BTreeSet<String>,
}

/// The crates of the workspace, as cargo sees them.
fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let list = metadata["packages"].as_array().expect("packages");
    assert_eq!(list.len(), DIRECTIONS.len(), "a crate was added or removed");
    list.iter().map(package).collect()
}

fn package(value: &Value) -> Package {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let manifest = PathBuf::from(text(&value["manifest_path"]));
    let folder =
        manifest.parent().and_then(|folder| folder.strip_prefix(root()).ok()).expect("a crate of the repository").to_string_lossy();
    let dependencies = value["dependencies"].as_array().expect("dependencies");
    let (mut own, mut foreign) = (BTreeSet::new(), BTreeSet::new());
    for dependency in dependencies.iter().filter(|dependency| dependency["kind"] != "dev") {
        let set = if dependency["path"].is_null() { &mut foreign } else { &mut own };
        set.insert(text(&dependency["name"]));
    }
    Package { name: text(&value["name"]), folder: format!("{folder}/"), own, foreign }
}
