//! Documents of registries with what real ones have, and with worse.

use npm::{
    Limits,
    packument::Packument,
    semver::{Range, Reading, Version},
    spec::Wanted,
};
use serde_json::{Value, json};

fn parse(text: &str) -> Result<Packument, npm::Error> {
    Packument::parse("a", text.as_bytes(), &Version::parse("22.0.0").expect("a version"), &Limits::default())
}

/// The version that is chosen of a version 1.0.0 that is right, and a version 1.1.0 with this text.
fn chosen(of_newer: &str) -> String {
    let text = format!(r#"{{"name": "a", "dist-tags": {{"latest": "1.0.0"}}, "versions": {{"1.1.0": {of_newer}, "1.0.0": {{}}}}}}"#);
    let range = Range::parse(">=1.0.1 || 1", Reading::REQUEST).expect("a range");
    let packument = parse(&text).unwrap_or_else(|error| panic!("{of_newer}: {error}"));
    // `latest` would be preferred.
    let newer = packument.pick(&Wanted::Version(Version::parse("1.1.0").expect("a version")));
    newer.or_else(|| packument.pick(&Wanted::Range(range))).expect("a version").version.clone()
}

/// A value of each type, and some in each other.
fn values() -> Vec<Value> {
    let large = Value::Array(vec![json!([]); 10_000]);
    vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(""),
        json!("text"),
        json!([]),
        json!({}),
        json!([null, 1, "a", [], {}]),
        json!({"a": null, "b": 1, "c": "1", "d": [], "e": {"optional": "true"}, "optional": true}),
        json!({"__proto__": "1", "constructor": {}, "hasOwnProperty": 1}),
        large,
    ]
}

#[test]
fn a_field_of_any_type_leaves_the_version_readable() {
    for field in [
        "name",
        "version",
        "dependencies",
        "devDependencies",
        "optionalDependencies",
        "peerDependencies",
        "peerDependenciesMeta",
        "bundleDependencies",
        "bundledDependencies",
        "deprecated",
        "engines",
        "os",
        "cpu",
        "libc",
        "hasInstallScript",
        "_hasShrinkwrap",
        "acceptDependencies",
        "dist",
        "scripts",
        "bin",
        "directories",
        "funding",
        "__proto__",
    ] {
        for value in values() {
            let fields = json!({"os": ["linux"], field: value}).to_string();
            assert_eq!(chosen(&fields), "1.1.0", "{field}: {}", fields.chars().take(80).collect::<String>());
        }
    }
    for hash in values() {
        assert_eq!(chosen(&json!({"dist": {"integrity": hash, "shasum": hash, "tarball": hash}}).to_string()), "1.1.0");
    }
    assert_eq!(chosen(r#"{"bundleDependencies": ["b"], "bundledDependencies": ["b"], "dependencies": {"b": "1"}}"#), "1.1.0");
}

#[test]
fn a_version_that_is_none_is_left_out_and_the_others_stay() {
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let wrong = ["null", "true", "1", "\"text\"", "[]", "[{}]", &*deep, r#"{"os": "\ud800"}"#, r#"{"os": 1, "os": 2}"#];
    for wrong in wrong {
        assert_eq!(chosen(wrong), "1.0.0", "{wrong}");
    }
    let keys = r#"{"versions": {"": {}, "1": {}, "x": {}, "../1.0.0": {}, "__proto__": {}, "1.0.0": {}, " 2.0.0": {}}}"#;
    let any = Wanted::Range(Range::parse("*", Reading::REQUEST).expect("a range"));
    assert_eq!(parse(keys).expect("a packument").pick(&any).expect("a version").version, "1.0.0");
}

#[test]
fn the_other_fields_of_a_packument_may_have_any_type() {
    let any = Wanted::Range(Range::parse("*", Reading::REQUEST).expect("a range"));
    for value in values() {
        let without = parse(&json!({"versions": value, "dist-tags": value, "time": value}).to_string());
        assert!(without.expect("a packument").pick(&any).is_none());
        let tagged = parse(&json!({"versions": {"1.0.0": {}}, "dist-tags": value}).to_string()).expect("a packument");
        assert_eq!(tagged.pick(&any).expect("a version").version, "1.0.0");
        assert!(tagged.pick(&Wanted::Tag("latest".to_owned())).is_none());
    }
    let constructor =
        parse(r#"{"versions": {"1.0.0": {}}, "dist-tags": {"constructor": "1.0.0", "latest": "9.9.9"}}"#).expect("a packument");
    assert_eq!(constructor.pick(&Wanted::Tag("constructor".to_owned())).expect("a version").version, "1.0.0");
    assert!(constructor.pick(&Wanted::Tag("toString".to_owned())).is_none());
    for text in ["", "null", "[]", "1", "{\"versions\": {"] {
        let error = parse(text).map(drop).expect_err(text).to_string();
        assert!(error.starts_with("the packument of a: "), "{text}: {error}");
    }
}

#[test]
fn the_older_list_of_bundled_packages_counts_only_without_the_newer_one() {
    for (fields, expected) in [
        (r#"{"bundledDependencies": ["b"]}"#, true),
        (r#"{"bundleDependencies": ["b"]}"#, true),
        (r#"{"bundleDependencies": false, "bundledDependencies": ["b"]}"#, false),
        (r#"{"bundledDependencies": ["b"], "bundleDependencies": null}"#, false),
        (r#"{"bundledDependencies": true, "bundleDependencies": {"b": 1}}"#, true),
    ] {
        let found = bundles(fields);
        assert_eq!(found, expected, "{fields}");
    }
}

/// Whether a version with these fields, and with `b` as a dependency, has `b` in its tarball.
fn bundles(fields: &str) -> bool {
    let mut fields: Value = serde_json::from_str(fields).expect("JSON");
    fields["dependencies"] = json!({"b": "1"});
    let registry = crate::registry::Written::of(&[("a@1.0.0", fields), ("b@1.0.0", json!({}))]);
    let package = npm::PackageJson::parse(br#"{"dependencies": {"a": "1"}}"#, &Limits::default()).expect("a package.json");
    let options = npm::Options::default();
    let tree = futures::executor::block_on(npm::resolve(&package, None, &registry, &options)).expect("a tree").tree;
    !tree.packages.contains_key("node_modules/b")
}
