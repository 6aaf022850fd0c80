//! Which files may use which engine.

use house::source::{sources, uses};

/// A library and the places whose source may name it. A place is a file, or a folder with everything below it.
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
fn engines_are_spoken_to_in_their_own_files() {
    for file in sources() {
        let code = file.code();
        for (library, places) in TERRITORIES {
            let allowed = places.iter().any(|place| if place.ends_with('/') { file.path.starts_with(place) } else { file.path == *place });
            assert!(allowed || !uses(&code, library), "{} names {library}, which belongs into {places:?}", file.path);
        }
    }
}
