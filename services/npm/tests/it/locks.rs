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
