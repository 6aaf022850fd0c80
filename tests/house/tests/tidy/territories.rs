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
            "services/chassis/src/postgres.rs",
            "services/chassis/src/postgres/",
            "services/chassis/src/testing/",
            "tests/support/",
            "tests/chaos/",
            "tests/bench/",
        ],
    ),
    ("axum", &["gateway/"]),
    ("fred", &["services/rate-limit/src/counter/", "services/chassis/src/doorbell.rs", "services/chassis/src/redis.rs", "tests/bench/"]),
    ("gix_object", &["services/project-storage/src/git.rs", "services/project-storage/src/git/"]),
    ("gix_merge", &["services/project-storage/src/git.rs", "services/project-storage/src/git/"]),
    ("gix_imara_diff", &["services/project-storage/src/git.rs", "services/project-storage/src/git/"]),
    ("gix_hash", &["services/project-storage/src/git.rs", "services/project-storage/src/git/"]),
];

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
