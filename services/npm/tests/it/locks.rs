//! Resolutions with lock files.

use std::sync::atomic::Ordering;

use npm::{Code, Limits, Lock, Options, Resolution, resolve};
use serde_json::{Value, json};

use crate::{
    registry::{Written, integrity},
    resolution::{package, places},
};

fn registry() -> Written {
    Written::of(&[
        ("a@1.0.0", json!({"dependencies": {"b": "^1.0.0"}})),
        ("a@1.1.0", json!({"dependencies": {"b": "^1.0.0"}})),
        ("b@1.0.0", json!({})),
        ("b@1.1.0", json!({})),
        ("c@1.0.0", json!({})),
    ])
}

async fn locked(registry: &Written, project: Value, file: &str, text: &str) -> Resolution {
    let lock = Lock::parse(file, text.as_bytes(), &Limits::default()).unwrap_or_else(|error| panic!("{error}"));
    resolve(&package(&project), Some(&lock), registry, &Options::default()).await.unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn npm_lock() -> String {
    json!({"lockfileVersion": 3, "packages": {
        "": {"dependencies": {"a": "^1"}},
        "node_modules/a": {"version": "1.0.0", "integrity": integrity("a@1.0.0"), "dependencies": {"b": "^1.0.0"}},
        "node_modules/a/node_modules/b": {"version": "1.0.0", "integrity": integrity("other")},
        "node_modules/old": {"version": "1.0.0"}
    }})
    .to_string()
}

#[tokio::test]
async fn places_of_a_lock_file_are_kept_and_the_registry_is_not_asked() {
    let registry = registry();
    let kept = locked(&registry, json!({"dependencies": {"a": "^1"}}), "package-lock.json", &npm_lock()).await;
    let found: Vec<_> = places(&kept.tree).into_iter().collect();
    assert_eq!(found, [("a".to_owned(), "a@1.0.0".to_owned()), ("a>b".to_owned(), "b@1.0.0".to_owned())], "what nobody needs is gone");
    let hash = kept.tree.packages["node_modules/a/node_modules/b"].integrity.as_ref().map(ToString::to_string);
    assert_eq!(hash, Some(integrity("other")), "the hash is that of the lock file");
    assert_eq!(registry.reads.load(Ordering::Relaxed), 0);
    assert_eq!(kept.findings, []);
}

#[tokio::test]
async fn what_does_not_fit_is_resolved_anew_with_a_finding() {
    let project = json!({"dependencies": {"a": "^1.1.0", "c": "1"}});
    let mended = locked(&registry(), project, "package-lock.json", &npm_lock()).await;
    let found = places(&mended.tree);
    assert_eq!((found["a"].as_str(), found["c"].as_str()), ("a@1.1.0", "c@1.0.0"));
    let findings: Vec<_> = mended.findings.iter().map(|finding| (finding.code, finding.package.as_str())).collect();
    assert_eq!(findings, [(Code::LockDiffers, "a"), (Code::LockDiffers, "c")]);
}

#[tokio::test]
async fn what_a_stale_lock_file_lacks_is_read_together() {
    let names = || (0..12).map(|at| format!("p{at}"));
    let versions: Vec<_> = names().map(|name| (format!("{name}@1.0.0"), json!({"dependencies": {format!("{name}-part"): "1"}}))).collect();
    let parts: Vec<_> = names().map(|name| (format!("{name}-part@1.0.0"), json!({}))).collect();
    let registry = Written::of(&versions.iter().chain(&parts).map(|(id, fields)| (id.as_str(), fields.clone())).collect::<Vec<_>>());
    let project = json!({ "dependencies": names().map(|name| (name, json!("1"))).collect::<Value>() });
    for (file, text) in [("package-lock.json", &*npm_lock()), ("yarn.lock", "a@^1:\n  version \"1.0.0\"\n")] {
        registry.most_open.store(0, Ordering::Relaxed);
        assert_eq!(locked(&registry, project.clone(), file, text).await.tree.packages.len(), 24, "{file}");
        assert_eq!(registry.most_open.load(Ordering::Relaxed), 12, "{file}");
    }
}

#[tokio::test]
async fn versions_of_every_tool_are_taken() {
    let old =
        json!({"lockfileVersion": 1, "dependencies": {"a": {"version": "1.0.0", "requires": {"b": "^1.0.0"}}, "b": {"version": "1.0.0"}}});
    let yarn = "# yarn lockfile v1\n\na@^1:\n  version \"1.0.0\"\n\nb@^1.0.0:\n  version \"1.0.0\"\n";
    let berry = "__metadata:\n  version: 8\n\n\"a@npm:^1\":\n  version: 1.0.0\n\n\"b@npm:^1.0.0\":\n  version: 1.0.0\n";
    let pnpm = "lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies:\n      a:\n        specifier: ^1\n        version: 1.0.0\nsnapshots:\n  a@1.0.0:\n    dependencies:\n      b: 1.0.0\n  b@1.0.0: {}\n";
    for (file, text) in [("package-lock.json", &*old.to_string()), ("yarn.lock", yarn), ("yarn.lock", berry), ("pnpm-lock.yaml", pnpm)] {
        let resolution = locked(&registry(), json!({"dependencies": {"a": "^1"}}), file, text).await;
        let found: Vec<_> = places(&resolution.tree).into_values().collect();
        assert_eq!(found, ["a@1.0.0", "b@1.0.0"], "{file}");
        assert_eq!(resolution.findings, [], "{file}");
        let changed = locked(&registry(), json!({"dependencies": {"a": "1.1.0"}}), file, text).await;
        assert_eq!(places(&changed.tree)["a"], "a@1.1.0", "{file}");
        assert!(changed.findings.iter().any(|finding| finding.code == Code::LockDiffers), "{file}: {:?}", changed.findings);
    }
}

#[tokio::test]
async fn a_version_that_is_gone_is_replaced() {
    let text = "a@^1:\n  version \"1.0.9\"\n\nb@^1.0.0:\n  version \"1.0.0\"\n";
    let resolution = locked(&registry(), json!({"dependencies": {"a": "^1"}}), "yarn.lock", text).await;
    assert_eq!(places(&resolution.tree).into_values().collect::<Vec<_>>(), ["a@1.1.0", "b@1.0.0"]);
    assert_eq!(resolution.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::LockDiffers]);
}

/// Lock files that pnpm 7, 8 and 9 and yarn 1 and 4 have written for `tests/locks/package.json`. The addresses in the file of yarn 1 were
/// replaced.
const FILES: [(&str, &str); 5] = [
    ("pnpm-lock.yaml", include_str!("../locks/pnpm-5.yaml")),
    ("pnpm-lock.yaml", include_str!("../locks/pnpm-6.yaml")),
    ("pnpm-lock.yaml", include_str!("../locks/pnpm-9.yaml")),
    ("yarn.lock", include_str!("../locks/yarn-1.lock")),
    ("yarn.lock", include_str!("../locks/yarn-4.lock")),
];

/// The versions of the files, and for each package a newer one that would fit.
fn published() -> Written {
    let loose = json!({"dependencies": {"loose-envify": "^1.1.0"}});
    let dom = json!({"dependencies": {"loose-envify": "^1.1.0", "scheduler": "^0.23.2"}, "peerDependencies": {"react": "^18.3.1"}});
    let query = json!({"dependencies": {"@tanstack/query-core": "5.108.4"}, "peerDependencies": {"react": "^18 || ^19"}});
    let tokens = json!({"dependencies": {"js-tokens": "^3.0.0 || ^4.0.0"}});
    let store = json!({"peerDependencies": {"react": "^16.8.0 || ^17.0.0 || ^18.0.0 || ^19.0.0"}});
    let packages = [
        ("@tanstack/query-core", ["5.108.4", "5.200.0"], &json!({})),
        ("@tanstack/react-query", ["5.108.4", "5.200.0"], &query),
        ("clsx", ["2.1.1", "2.9.0"], &json!({})),
        ("js-tokens", ["4.0.0", "4.9.0"], &json!({})),
        ("loose-envify", ["1.4.0", "1.9.0"], &tokens),
        ("react", ["18.3.1", "18.9.0"], &loose),
        ("react-dom", ["18.3.1", "18.9.0"], &dom),
        ("scheduler", ["0.23.2", "0.23.9"], &loose),
        ("use-sync-external-store", ["1.7.0", "1.9.0"], &store),
    ];
    let versions =
        packages.iter().flat_map(|(name, versions, fields)| versions.map(|version| (format!("{name}@{version}"), (*fields).clone())));
    let versions: Vec<_> = versions.collect();
    Written::of(&versions.iter().map(|(id, fields)| (id.as_str(), fields.clone())).collect::<Vec<_>>())
}

#[tokio::test]
async fn files_that_the_tools_have_written_decide_about_versions() {
    let project: Value = serde_json::from_str(include_str!("../locks/package.json")).expect("JSON");
    for (at, (file, text)) in FILES.into_iter().enumerate() {
        let resolution = locked(&published(), project.clone(), file, text).await;
        let found: Vec<_> = places(&resolution.tree).into_iter().map(|(path, package)| format!("{path} {package}")).collect();
        let expected = [
            "@tanstack/query-core @tanstack/query-core@5.108.4",
            "@tanstack/react-query @tanstack/react-query@5.108.4",
            "classes clsx@2.1.1",
            "js-tokens js-tokens@4.0.0",
            "loose-envify loose-envify@1.4.0",
            "react react@18.3.1",
            "react-dom react-dom@18.3.1",
            "scheduler scheduler@0.23.2",
            "use-sync-external-store use-sync-external-store@1.7.0",
        ];
        assert_eq!(found, expected, "{file} {at}");
        assert_eq!(resolution.findings, [], "{file} {at}");
        // Yarn 4 has hashes of its own archives.
        let hash = resolution.tree.packages["node_modules/react"].integrity.as_ref().map(ToString::to_string).expect("a hash");
        let is_of_file = hash.starts_with("sha512-wS+hAgJShR0KhEvPJArfuPVN1+Hz1t0Y6n5jLrGQbkb4urgPE");
        assert_eq!(is_of_file, at < 4, "{file} {at}: {hash}");
    }
}
