//! Which files may use certain libraries.

use house::source::{sources, uses};

/// Libraries, and the files and folders that may use each of them. The name of a folder ends with `/`.
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
            "services/compile/src/store.rs",
            "services/compile/src/store/",
            "services/chassis/src/postgres.rs",
            "services/chassis/src/postgres/",
            "services/chassis/src/testing/",
            "tests/support/",
            "tests/chaos/",
            "tests/bench/",
        ],
    ),
    ("axum", &["gateway/"]),
    ("maxminddb", &["services/auth/src/place.rs"]),
    ("webauthn_rs", &["services/auth/src/relying_party.rs"]),
    ("fred", &["services/rate-limit/src/counter/", "services/chassis/src/doorbell.rs", "services/chassis/src/redis.rs", "tests/bench/"]),
    // The types of oxc change with each release.
    (
        "oxc",
        &["services/compiler/src/module/script.rs", "services/compiler/src/module/script/", "services/compiler/src/module/identifier.rs"],
    ),
    ("oxc_resolver", &["services/compiler/src/tree/", "services/compiler/src/project.rs", "services/compiler/src/packages/files.rs"]),
    (
        "rolldown",
        &[
            "services/compiler/src/packages.rs",
            "services/compiler/src/packages/",
            "services/compiler/src/site.rs",
            "services/compiler/src/site/",
        ],
    ),
    ("lightningcss", &["services/compiler/src/module/css.rs", "services/compiler/src/module/css/"]),
    ("lol_html", &["services/compiler/src/page.rs", "services/compiler/src/outline/markup.rs"]),
    ("pulldown_cmark", &["services/compiler/src/outline/markdown.rs"]),
    ("tree_sitter", &["services/compiler/src/outline/grammar.rs"]),
    ("grass", &["services/compiler/src/module/scss.rs", "services/compiler/src/module/scss/"]),
    ("rquickjs", &["services/compiler/src/tool/"]),
    ("seccompiler", &["services/fetcher/src/filter.rs"]),
    ("gix_object", &["services/project-storage/src/git.rs", "services/project-storage/src/git/"]),
    ("gix_merge", &["services/project-storage/src/git.rs", "services/project-storage/src/git/"]),
    ("gix_imara_diff", &["services/project-storage/src/git.rs", "services/project-storage/src/git/"]),
    ("gix_hash", &["services/project-storage/src/git.rs", "services/project-storage/src/git/"]),
];

/// Folders whose code only computes, and what it must not use: its callers decide what is read, and when.
const PURE: &[(&str, &[&str])] =
    &[("services/npm/src/", &["fs", "net", "env", "process", "thread", "tokio", "reqwest", "chassis", "Instant", "SystemTime"])];

#[test]
fn pure_code_has_no_files_network_or_clock() {
    for file in sources() {
        let code = file.own();
        for (folder, names) in PURE {
            let used: Vec<_> = names.iter().filter(|name| file.path.starts_with(folder) && uses(code, name)).collect();
            assert!(used.is_empty(), "{} uses {used:?}", file.path);
        }
    }
}

#[test]
fn libraries_are_used_only_in_their_own_files() {
    for file in sources() {
        let code = file.code();
        for (library, paths) in TERRITORIES {
            let allowed = paths.iter().any(|path| if path.ends_with('/') { file.path.starts_with(path) } else { file.path == *path });
            assert!(allowed || !uses(&code, library), "{} uses {library}, which only {paths:?} may use", file.path);
        }
    }
}
