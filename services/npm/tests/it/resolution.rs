//! Resolutions of packages that the tests write.

use std::collections::BTreeMap;

use npm::{Code, Error, Finding, Limits, Options, PackageJson, Platform, Resolution, Tree, resolve};
use serde_json::{Value, json};

use crate::registry::Written;

pub(crate) fn package(value: &Value) -> PackageJson {
    PackageJson::parse(value.to_string().as_bytes(), &Limits::default()).expect("a package.json")
}

async fn resolution(registry: &Written, value: Value) -> Result<Resolution, Error> {
    resolve(&package(&value), None, registry, &Options::default()).await
}

async fn tree(registry: &Written, dependencies: Value) -> BTreeMap<String, String> {
    places(&resolution(registry, json!({ "dependencies": dependencies })).await.unwrap_or_else(|error| panic!("{error}")).tree)
}

/// The version of each place, without `node_modules`.
pub(crate) fn places(tree: &Tree) -> BTreeMap<String, String> {
    let short = |path: &str| path.replace("/node_modules/", ">").replace("node_modules/", "");
    tree.packages.iter().map(|(path, package)| (short(path), format!("{}@{}", package.name, package.version))).collect()
}

fn expected(places: &[(&str, &str)]) -> BTreeMap<String, String> {
    places.iter().map(|(path, version)| ((*path).to_owned(), (*version).to_owned())).collect()
}

#[tokio::test]
async fn packages_are_as_high_as_they_fit() {
    let registry = Written::of(&[
        ("a@1.0.0", json!({"dependencies": {"b": "1"}})),
        ("b@1.0.0", json!({})),
        ("b@2.0.0", json!({})),
        ("c@1.0.0", json!({"dependencies": {"b": "2", "a": "*"}})),
    ]);
    let places = tree(&registry, json!({"a": "1", "b": "2", "c": "1"})).await;
    assert_eq!(places, expected(&[("a", "a@1.0.0"), ("a>b", "b@1.0.0"), ("b", "b@2.0.0"), ("c", "c@1.0.0")]));
}

#[tokio::test]
async fn cycles_end() {
    let registry = Written::of(&[
        ("a@1.0.0", json!({"dependencies": {"b": "1"}})),
        ("b@1.0.0", json!({"dependencies": {"a": "2"}})),
        ("a@2.0.0", json!({"dependencies": {"b": "2"}})),
        ("b@2.0.0", json!({"dependencies": {"a": "1"}})),
    ]);
    let resolution = resolution(&registry, json!({"dependencies": {"a": "1"}})).await.expect("a tree");
    assert!(resolution.tree.packages.values().any(|package| package.link.is_some()) || resolution.tree.packages.len() < 10);
    let same = Written::of(&[("a@1.0.0", json!({"dependencies": {"b": "1"}})), ("b@1.0.0", json!({"peerDependencies": {"a": "1"}}))]);
    assert_eq!(tree(&same, json!({"a": "1"})).await.len(), 2);
}

#[tokio::test]
async fn peers_come_along_and_conflicts_are_errors() {
    let registry = Written::of(&[
        ("react@18.0.0", json!({})),
        ("react@19.0.0", json!({})),
        ("ui@1.0.0", json!({"peerDependencies": {"react": ">=18", "vue": "*"}, "peerDependenciesMeta": {"vue": {"optional": true}}})),
        ("old@1.0.0", json!({"peerDependencies": {"react": "^18"}})),
    ]);
    assert_eq!(tree(&registry, json!({"ui": "1"})).await, expected(&[("react", "react@19.0.0"), ("ui", "ui@1.0.0")]));
    let conflict = json!({"dependencies": {"react": "19", "old": "1"}});
    let error = resolution(&registry, conflict.clone()).await.expect_err("a conflict");
    let Error::PeerConflict { package: name, wanted, by, present } = &error else { panic!("{error}") };
    assert_eq!((name.as_str(), wanted.as_str(), by.as_str(), present.as_str()), ("react", "^18", "old@1.0.0", "react@19.0.0"));
    let options = Options { accepts_peer_conflicts: true, ..Options::default() };
    let forced = resolve(&package(&conflict), None, &registry, &options).await.expect("a tree");
    assert_eq!(places(&forced.tree), expected(&[("old", "old@1.0.0"), ("react", "react@19.0.0")]));
    assert_eq!(codes(&forced.findings), [Code::PeerConflict]);
}

fn codes(findings: &[Finding]) -> Vec<Code> {
    findings.iter().map(|finding| finding.code).collect()
}

#[tokio::test]
async fn the_best_version_is_chosen() {
    let registry = Written::of(&[
        ("a@1.0.0", json!({})),
        ("a@1.1.0", json!({"engines": {"node": ">=99"}})),
        ("a@1.2.0", json!({"deprecated": "no"})),
        ("a@2.0.0-rc.1", json!({})),
        ("a@1.3.0", json!({"deprecated": "no", "engines": {"node": ">=99"}})),
    ]);
    for (range, version) in [("^1.0.0", "1.0.0"), ("1.2.0", "1.2.0"), ("^1.1.0", "1.2.0"), (">=2.0.0-0", "2.0.0-rc.1"), ("latest", "1.3.0")]
    {
        assert_eq!(tree(&registry, json!({"a": range})).await, expected(&[("a", &format!("a@{version}"))]), "{range}");
    }
    let tagged = Written::of(&[("a@1.0.0", json!({})), ("a@2.0.0", json!({}))]).tag("a", "latest", "1.0.0").tag("a", "next", "2.0.0");
    for (range, version) in [("*", "1.0.0"), (">=1", "1.0.0"), ("next", "2.0.0"), (">1", "2.0.0"), ("npm:a@next", "2.0.0")] {
        assert_eq!(tree(&tagged, json!({"a": range})).await, expected(&[("a", &format!("a@{version}"))]), "{range}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let registry = Written::of(&[("a@1.0.0", json!({"dependencies": {"gone": "1"}})), ("b@1.0.0", json!({}))]);
    let error = resolution(&registry, json!({"dependencies": {"a": "1"}})).await.expect_err("missing");
    assert_eq!(error, Error::NoPackage { package: "gone".to_owned(), by: "a@1.0.0".to_owned() });
    let error = resolution(&registry, json!({"devDependencies": {"b": "^2"}})).await.expect_err("missing");
    assert_eq!(error, Error::NoVersion { package: "b".to_owned(), wanted: "^2".to_owned(), by: "the project".to_owned() });
    let optional = resolution(&registry, json!({"dependencies": {"b": "1"}, "optionalDependencies": {"a": "1"}})).await.expect("a tree");
    assert!(optional.tree.packages["node_modules/a"].is_skipped, "it cannot work without what it needs");
    assert!(!optional.tree.packages["node_modules/b"].is_skipped);
    assert_eq!(codes(&optional.findings), [Code::OptionalSkipped]);
}

#[tokio::test]
async fn packages_for_other_platforms_are_skipped() {
    let registry = Written::of(&[
        ("a@1.0.0", json!({"optionalDependencies": {"a-x64": "1", "a-wasm": "1"}})),
        ("c@1.0.0", json!({"optionalDependencies": {"a-x64": "1"}})),
        ("a-x64@1.0.0", json!({"cpu": ["x64"], "os": ["linux"], "dependencies": {"helper": "1"}})),
        ("a-wasm@1.0.0", json!({"cpu": ["wasm32"]})),
        ("helper@1.0.0", json!({})),
        ("b@1.0.0", json!({"os": "win32"})),
    ]);
    let skipped = |resolution: &Resolution| {
        let skipped = resolution.tree.packages.iter().filter(|(_, package)| package.is_skipped);
        skipped.map(|(path, _)| path.replace("node_modules/", "")).collect::<Vec<_>>()
    };
    let project = json!({"dependencies": {"a": "1", "b": "1", "c": "1"}});
    let default = resolution(&registry, project.clone()).await.expect("a tree");
    assert_eq!(skipped(&default), ["a-x64", "helper"]);
    let found: Vec<_> = default.findings.iter().map(|finding| (finding.code, finding.package.as_str())).collect();
    assert_eq!(found, [(Code::NativeCode, "c"), (Code::WrongPlatform, "b")]);
    let platform = Platform { os: "linux".to_owned(), cpu: "x64".to_owned(), libc: None };
    let options = Options { platform, ..Options::default() };
    let other = resolve(&package(&project), None, &registry, &options).await.expect("a tree");
    assert_eq!(skipped(&other), ["a-wasm"]);
}

#[tokio::test]
async fn other_sources_are_left_out_with_a_finding() {
    let registry = Written::of(&[("a@1.0.0", json!({"dependencies": {"b": "git+https://example.org/b.git"}}))]);
    let project =
        json!({"dependencies": {"a": "1", "b": "github:o/r", "c": "file:../c", "d": "https://example.org/d.tgz", "e": "workspace:*"}});
    let resolution = resolution(&registry, project).await.expect("a tree");
    assert_eq!(places(&resolution.tree), expected(&[("a", "a@1.0.0")]));
    let found: Vec<_> =
        resolution.findings.iter().map(|finding| (finding.code, finding.package.as_str(), finding.instead.is_some())).collect();
    let names = ["b", "b", "c", "d", "e"];
    assert_eq!(found, names.map(|name| (Code::UnsupportedSource, name, true)));
}

#[tokio::test]
async fn overrides_replace_versions_and_never_the_projects_own() {
    let registry = Written::of(&[
        ("a@1.0.0", json!({"dependencies": {"b": "1", "c": "1"}})),
        ("b@1.0.0", json!({})),
        ("b@1.1.0", json!({})),
        ("c@1.0.0", json!({"dependencies": {"b": "1.1.0"}})),
        ("d@1.0.0", json!({"dependencies": {"b": "1"}})),
    ]);
    let places = |value: Value| async { places(&resolution(&registry, value).await.expect("a tree").tree) };
    let all = places(json!({"dependencies": {"a": "1", "d": "1"}, "overrides": {"b": "1.0.0"}})).await;
    assert_eq!(all["b"], "b@1.0.0");
    let below = places(json!({"dependencies": {"a": "1", "d": "1"}, "overrides": {"d": {"b": "1.0.0"}}})).await;
    assert_eq!((below["b"].as_str(), below["d>b"].as_str()), ("b@1.1.0", "b@1.0.0"));
    let own = places(json!({"dependencies": {"a": "1", "b": "1.0.0"}, "overrides": {"b": "$b"}})).await;
    assert_eq!(own["b"], "b@1.0.0");
    assert!(!own.contains_key("c>b"));
    let error = resolution(&registry, json!({"dependencies": {"b": "1.1.0"}, "overrides": {"b": "1.0.0"}})).await.expect_err("EOVERRIDE");
    assert!(matches!(error, Error::OverrideConflict { .. }), "{error}");
}

#[tokio::test]
async fn packages_for_node_are_named_with_what_to_use_instead() {
    let registry = Written::of(&[
        ("express@4.0.0", json!({"dependencies": {"fs-extra": "1"}})),
        ("fs-extra@1.0.0", json!({})),
        ("bcrypt@5.0.0", json!({"deprecated": "old"})),
        ("sharp@1.0.0", json!({})),
    ]);
    let project = json!({"dependencies": {"express": "4", "bcrypt": "5"}, "devDependencies": {"sharp": "1"}});
    let resolution = resolution(&registry, project).await.expect("a tree");
    let found: Vec<_> = resolution.findings.iter().map(|finding| (finding.code, finding.package.as_str())).collect();
    assert_eq!(found, [(Code::NativeCode, "bcrypt"), (Code::NodeOnly, "express"), (Code::Deprecated, "bcrypt")]);
}

#[tokio::test]
async fn limits_end_a_resolution() {
    // Each version needs another version of itself: the tree would have a level for each.
    let versions: Vec<_> = (1..60).map(|at| (format!("a@{at}.0.0"), json!({"dependencies": {"a": format!("{}", at + 1)}}))).collect();
    let chain: Vec<_> = versions.iter().map(|(id, value)| (id.as_str(), value.clone())).collect();
    let error = resolution(&Written::of(&chain), json!({"dependencies": {"a": "1"}})).await.expect_err("deep");
    assert!(matches!(error, Error::TooLarge { unit: "levels of node_modules", .. } | Error::NoVersion { .. }), "{error}");
    let wide: Vec<_> = (0..50).map(|at| (format!("p{at}@1.0.0"), json!({"dependencies": {format!("p{}", at + 1): "1"}}))).collect();
    let wide: Vec<_> = wide.iter().map(|(id, value)| (id.as_str(), value.clone())).collect();
    let registry = Written::of(&wide);
    for (limits, unit) in [
        (Limits { packages: 10, ..Limits::default() }, "packages"),
        (Limits { packuments: 10, ..Limits::default() }, "packuments"),
        (Limits { packuments_bytes: 100, ..Limits::default() }, "bytes of packuments"),
        (Limits { steps: 10, ..Limits::default() }, "steps"),
    ] {
        let options = Options { limits, ..Options::default() };
        let project = json!({"dependencies": {"p0": "1"}, "optionalDependencies": {"p50": "1"}});
        let error = resolve(&package(&project), None, &registry, &options).await.expect_err(unit);
        assert!(
            matches!(&error, Error::TooLarge { unit: found, .. } if *found == unit)
                || unit == "packages" && matches!(error, Error::NoPackage { .. }),
            "{unit}: {error}"
        );
    }
}
