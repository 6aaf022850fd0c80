//! Rules of the source that keep attackers out: what may start programs, make SQL, call other servers, or make markup of a text.

use std::{collections::BTreeSet, fs};

use house::{
    packages::packages,
    root,
    source::{File, files, sources},
};

/// Files and the reasons why each may.
type Allowed = &'static [(&'static str, &'static str)];

const STARTS_PROGRAMS: Allowed = &[
    ("services/compiler-client/src/worker.rs", "the compiler, by its path and without arguments of a person"),
    ("services/private-postgres/src/binaries.rs", "asks PostgreSQL for its version"),
    ("services/private-postgres/src/supervisor.rs", "the private PostgreSQL"),
    ("services/rate-limit/src/counter/conformance/cluster.rs", "a test"),
    ("services/chassis/src/testing.rs", "tests"),
    ("services/chassis/src/testing/", "tests"),
];

/// `query` of sqlx takes only constants, unless the text is marked with this word.
const MAKES_SQL: Allowed = &[
    ("services/agent-streaming/src/store/partitions.rs", "names of tables that come from a day"),
    ("services/agent-streaming/src/store/testing.rs", "tests"),
    ("services/chassis/src/postgres/create.rs", "the name of the database, from a setting, quoted"),
    ("services/chassis/src/testing/postgres.rs", "tests"),
];

/// What makes an HTTP client.
const CLIENTS: [&str; 5] = ["Client::builder()", "ClientBuilder::new()", "Client::new()", "reqwest::get(", "legacy::Client"];
/// What makes a client that connects only to what `chassis::outbound` allows, and follows no redirects.
const GUARDED: &str = "guard.client(";

/// HTTP clients for addresses that no person can set.
const UNGUARDED: Allowed = &[
    ("services/backlot/src/health.rs", "asks its own cluster"),
    ("services/fetcher/src/registry.rs", "the registry is a setting of the operator"),
    ("services/private-postgres/src/download/fetch.rs", "a fixed address"),
];
/// HTTP clients that follow redirects as the library does.
const FOLLOWS_REDIRECTS: Allowed = &[
    ("services/backlot/src/health.rs", "asks its own cluster"),
    ("services/private-postgres/src/download/fetch.rs", "a fixed address, and bytes with a pinned checksum"),
];

const UNSAFE: Allowed = &[
    ("services/chassis/src/testing/postgres.rs", "tests"),
    ("services/compiler/src/tool/bytecode.rs", "the engine of tools trusts its bytecode"),
    ("services/private-postgres/src/sys.rs", "system calls that the standard library lacks"),
];

/// SHA-1 is broken for signatures.
const OLD_HASHES: Allowed = &[
    ("services/auth/src/breached.rs", "the public list of breached passwords has these hashes; they protect nothing here"),
    ("services/chassis/src/git_id.rs", "ids of objects are those of git"),
    ("services/npm/src/integrity.rs", "old packages have no other hash; the strongest one counts"),
];

/// Secrets are made by ring.
const WEAK_RANDOM: Allowed = &[
    ("services/agent-streaming/src/drive/attempt.rs", "the length of a pause"),
    ("services/agent-streaming/src/intake/start.rs", "the id of a span"),
];

/// What makes code or markup of a text, or hinders password managers.
const IN_SCRIPTS: [&str; 8] =
    [".innerHTML", ".outerHTML =", "insertAdjacentHTML", "document.write", "eval(", "new Function", "\"paste\"", "onpaste"];

/// The source of the product, without the crates of tests.
fn product() -> Vec<File> {
    sources().into_iter().filter(|file| !file.path.starts_with("tests/")).collect()
}

/// Whether the code of a file contains the text, which does not begin within a name.
fn has(file: &File, text: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let code = file.own();
    code.match_indices(text).any(|(at, _)| !code[..at].ends_with(part))
}

/// Checks that only these files contain the text, and that each of them does. The name of a folder ends with `/`.
fn only(files: &[File], text: &str, allowed: Allowed) {
    only_these(files.iter().filter(|file| has(file, text)), text, allowed);
}

fn only_these<'a>(found: impl Iterator<Item = &'a File>, text: &str, allowed: Allowed) {
    let found: BTreeSet<_> = found.map(|file| file.path.as_str()).collect();
    let covers = |entry: &str, path: &str| if entry.ends_with('/') { path.starts_with(entry) } else { path == entry };
    for path in &found {
        assert!(allowed.iter().any(|(entry, _)| covers(entry, path)), "{path} has `{text}`, which only {allowed:?} may have");
    }
    for (entry, reason) in allowed {
        assert!(found.iter().any(|path| covers(entry, path)), "{entry} needs no exception ({reason})");
    }
}

#[test]
fn programs_are_started_only_in_their_files() {
    only(&product(), "Command::new(", STARTS_PROGRAMS);
}

#[test]
fn sql_is_constant_except_for_names_of_our_own() {
    only(&product(), "AssertSqlSafe(", MAKES_SQL);
}

#[test]
fn clients_of_http_are_guarded_and_decide_about_redirects() {
    let files = product();
    let makes_client = |file: &&File| CLIENTS.iter().any(|text| has(file, text)) && file.own().contains("reqwest");
    let clients: Vec<_> = files.iter().filter(makes_client).collect();
    assert!(clients.len() >= 5, "{} clients were found", clients.len());
    let unguarded = clients.iter().copied().filter(|file| !file.own().contains(GUARDED));
    only_these(unguarded.clone(), "an HTTP client without the guard", UNGUARDED);
    let undecided = unguarded.filter(|file| !file.own().contains(".redirect("));
    only_these(undecided, "an HTTP client that follows redirects", FOLLOWS_REDIRECTS);
}

#[test]
fn certificates_are_always_verified() {
    for file in product() {
        let code = file.code();
        for word in ["danger_accept", ".dangerous()", "ServerCertVerifier", "tls_danger"] {
            assert!(!code.contains(word), "{} has {word}", file.path);
        }
    }
}

#[test]
fn unsafe_code_is_only_in_its_files() {
    only(&product(), "allow(unsafe_code", UNSAFE);
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    assert!(manifest.contains("\nunsafe_code = \"deny\"\n"));
    for package in packages() {
        let own = fs::read_to_string(root().join(&package.folder).join("Cargo.toml")).expect("a manifest");
        assert!(own.contains("[lints]\nworkspace = true\n"), "{} has lints of its own", package.name);
    }
}

#[test]
fn old_hashes_and_weak_random_numbers_protect_nothing() {
    only(&product(), "SHA1_FOR_LEGACY_USE_ONLY", OLD_HASHES);
    only(&product(), "rand::random", WEAK_RANDOM);
    for package in packages() {
        let weak: Vec<_> =
            ["md5", "md-5", "sha1", "rc4", "des", "fastrand"].into_iter().filter(|name| package.foreign.contains(*name)).collect();
        assert!(weak.is_empty(), "{} depends on {weak:?}", package.name);
    }
}

#[test]
fn crates_come_from_one_registry_with_a_checksum() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let foreign: Vec<_> = lock.split("[[package]]").filter(|package| package.contains("\nsource = ")).collect();
    assert!(foreign.len() > 100, "{} crates were found", foreign.len());
    for package in foreign {
        let is_pinned = package.contains("\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n")
            && package.contains("\nchecksum = \"");
        assert!(is_pinned, "{package}");
    }
    let rules = fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    for rule in ["unknown-registry = \"deny\"", "unknown-git = \"deny\""] {
        assert!(rules.contains(rule), "deny.toml lacks {rule}");
    }
    // Each has its reason in `deny.toml`.
    let ignored: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("{ id = ")).collect();
    assert!(ignored.len() == 1 && ignored[0].starts_with("\"RUSTSEC-2023-0071\", reason = "), "{ignored:?}");
}

#[test]
fn scripts_insert_text_as_text() {
    let scripts = files(|path| path.starts_with("gateway/") && (path.ends_with(".js") || path.ends_with(".html")));
    assert!(scripts.len() > 10, "{} scripts and pages were found", scripts.len());
    for File { path, text } in scripts {
        for word in IN_SCRIPTS {
            assert!(!text.contains(word), "{path} has {word}");
        }
    }
}

#[test]
fn listeners_of_messages_check_the_sender() {
    let mut found = 0;
    for File { path, text } in files(|path| path.starts_with("gateway/") && path.ends_with(".js")) {
        for listener in text.split("addEventListener(\"message\"").skip(1) {
            let check = listener.lines().take(4).find(|line| line.trim_start().starts_with("if (")).unwrap_or_default();
            let knows = check.contains("source !== ") && check.contains("rigin") && check.ends_with("return;");
            assert!(knows, "{path}: a listener does not begin with a check of window and origin: {check}");
            found += 1;
        }
    }
    assert!(found >= 2, "{found} listeners were found");
}

#[test]
fn password_fields_are_masked_and_known_to_password_managers() {
    let mut found = 0;
    for File { path, text } in files(|path| path.starts_with("gateway/") && path.ends_with(".html")) {
        for input in text.split("<input").skip(1).filter_map(|rest| rest.split('>').next()).filter(|input| input.contains("assword")) {
            assert!(input.contains("type=\"password\"") && input.contains("autocomplete=\""), "{path}: {input}");
            found += 1;
        }
    }
    assert!(found > 0, "no page has a password field");
}
