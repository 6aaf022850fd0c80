//! Files of strangers that are changed at random: typed errors, and bounded work.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use fuzz::{Seed, Target};
use npm::{
    Integrity, Limits, Lock, Options, PackageJson,
    packument::Packument,
    resolve,
    semver::{Range, Reading, Version},
    spec::Spec,
    tarball,
};
use ring::digest::{SHA512, digest};
use serde_json::json;

use crate::registry::Written;

fn seed(name: &str, text: &str) -> Seed {
    Seed { name: name.to_owned(), bytes: text.as_bytes().to_vec() }
}

fn target(seeds: Vec<Seed>, words: &[&str]) -> Target {
    Target { seeds, words: words.iter().map(|word| word.as_bytes().to_vec()).collect() }
}

fn registry() -> Written {
    Written::of(&[
        ("a@1.0.0", json!({"dependencies": {"b": "^1.0.0"}, "peerDependencies": {"c": "*"}})),
        ("b@1.0.0", json!({"peerDependencies": {"a": "1", "c": ">=1"}})),
        ("b@2.0.0", json!({"dependencies": {"a": "1"}})),
        ("c@1.0.0", json!({"optionalDependencies": {"d": "1"}, "peerDependencies": {"b": "*"}})),
        ("c@2.0.0", json!({"dependencies": {"b": "2"}})),
    ])
}

const PROJECT: &str = r#"{"name": "x", "dependencies": {"a": "^1.0.0", "b": "2", "c": "npm:c@1"}, "devDependencies": {"d": "latest"},
    "peerDependencies": {"c": "*"}, "peerDependenciesMeta": {"c": {"optional": true}}, "overrides": {"b@1": {".": "$b", "a": "1"}}}"#;
const WORDS: [&str; 14] = ["\"", "{", "}", "[", ":", ",", "..", "/", "node_modules/", "npm:", "^", "||", "\0", "\u{feff}"];

/// Resolves what was read. Whatever comes out of it, it must not panic or take long.
fn settle(package: &PackageJson, lock: Option<&Lock>) {
    let options = Options { limits: Limits { steps: 200_000, packages: 200, ..Limits::default() }, ..Options::default() };
    let registry = registry();
    let resolution = futures::executor::block_on(resolve(package, lock, &registry, &options));
    for path in resolution.iter().flat_map(|resolution| resolution.tree.packages.keys()) {
        // A name may end with dots. A part of a path may not be only dots.
        assert!(path.starts_with("node_modules/") && path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path}");
    }
}

#[test]
fn project_files_are_read_or_refused() {
    target(vec![seed("package.json", PROJECT)], &WORDS).run(3_000, |bytes| match PackageJson::parse(bytes, &Limits::default()) {
        Ok(package) => settle(&package, None),
        Err(error) => assert!(error.to_string().starts_with("package.json"), "{error}"),
    });
}

#[test]
fn lock_files_are_read_or_refused() {
    let package = PackageJson::parse(PROJECT.as_bytes(), &Limits::default()).expect("a package.json");
    let new = r#"{"lockfileVersion": 3, "packages": {"node_modules/a": {"version": "1.0.0", "dependencies": {"b": "^1.0.0"}},
        "node_modules/a/node_modules/b": {"version": "1.0.0", "peerDependencies": {"a": "1"}}, "node_modules/b": {"version": "2.0.0"}}}"#;
    let old = r#"{"lockfileVersion": 1, "dependencies": {"a": {"version": "1.0.0", "dependencies": {"b": {"version": "1.0.0"}}}}}"#;
    let pnpm = "lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies:\n      a:\n        specifier: ^1\n        version: 1.0.0(c@1.0.0)\npackages:\n  a@1.0.0: {resolution: {integrity: sha512-x}}\nsnapshots:\n  a@1.0.0(c@1.0.0):\n    dependencies:\n      b: 1.0.0\n";
    let yarn = "a@^1.0.0, \"a@1\":\n  version \"1.0.0\"\n  resolved \"https://example.org/a#aa\"\n  dependencies:\n    b \"^1.0.0\"\n";
    let berry = "__metadata:\n  version: 8\n\n\"a@npm:^1.0.0, b@npm:a@^1\":\n  version: 1.0.0\n";
    for (file, texts) in [("package-lock.json", vec![new, old]), ("pnpm-lock.yaml", vec![pnpm]), ("yarn.lock", vec![yarn, berry])] {
        let seeds = texts.iter().map(|text| seed(file, text)).collect();
        let words = [&WORDS[..], &["\n", "\n  ", "&a ", "*a", "!!", "(", "_", "- "]].concat();
        target(seeds, &words).run(2_000, |bytes| match Lock::parse(file, bytes, &Limits::default()) {
            Ok(lock) => settle(&package, Some(&lock)),
            Err(error) => assert!(error.to_string().starts_with(file), "{error}"),
        });
    }
}

#[test]
fn packuments_are_read_or_refused() {
    let text = r#"{"name": "a", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {"dependencies": {"b": "1"}, "peerDependencies": {"c": "1"},
        "peerDependenciesMeta": {"c": {"optional": true}}, "bundleDependencies": ["b"], "os": ["!win32"], "engines": {"node": ">=18"},
        "deprecated": false, "dist": {"integrity": "sha512-x", "shasum": "00"}}, "1.0.1": {}}}"#;
    let node = Version::parse("22.0.0").expect("a version");
    target(vec![seed("a packument", text)], &WORDS).run(4_000, |bytes| match Packument::parse("a", bytes, &node, &Limits::default()) {
        Ok(packument) => drop(packument.pick(&Spec::parse("^1").expect("a range").wanted)),
        Err(error) => assert!(error.to_string().starts_with("the packument of a: "), "{error}"),
    });
}

#[test]
fn specifiers_and_ranges_are_read_or_refused() {
    let seeds = ["^1.2.3-rc.1 || ~2.x >=3 <4.0.0", "1.0.0 - 2", "npm:@a/b@^1", "git+ssh://a@b/c.git#d", "v1.2.3+build"];
    let words = ["^", "~", "~>", " - ", "||", ">=", "<", "x", "*", ".", "-", "+", " ", "99999999999999999999", "é", "npm:", "@"];
    target(seeds.iter().map(|text| seed(text, text)).collect(), &words).run(20_000, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _ = Spec::parse(&text);
        let ranges = [Reading::REQUEST, Reading::ENGINE, Reading::OVERRIDE].map(|reading| Range::parse(&text, reading));
        for range in ranges.into_iter().flatten() {
            assert!(range.intersects(&range) || !range.accepts(&Version::parse("1.2.3").expect("a version")));
            // The short form has the same meaning.
            let again = Range::parse(&range.to_string(), Reading::REQUEST).unwrap_or_else(|| panic!("{text:?} is {range}"));
            assert_eq!(again.to_string(), range.to_string(), "{text:?}");
        }
    });
}

#[test]
fn tarballs_are_read_or_refused() {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in [("package/package.json", "{}"), (&*format!("package/{}.js", "long/".repeat(40)), "1"), ("package/a/ü.css", "x")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, path, text.as_bytes()).expect("memory");
    }
    let tar = builder.into_inner().expect("memory");
    let limits = Limits { unpacked_bytes: 1 << 20, path_depth: 64, ..Limits::default() };
    let words = ["\0", "../", "/", "7777777", "L", "2", "x", "ustar"];
    target(vec![Seed { name: "a tarball".to_owned(), bytes: tar }], &words).run(3_000, |bytes| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("memory");
        let packed = encoder.finish().expect("memory");
        let hash = data_encoding::BASE64.encode(digest(&SHA512, &packed).as_ref());
        let integrity = Integrity::parse(&format!("sha512-{hash}"));
        for (path, _) in tarball::unpack("a@1.0.0", &packed, integrity.as_ref(), &limits).into_iter().flatten() {
            assert!(!path.starts_with('/') && path.split('/').all(|part| !part.is_empty() && part != ".."), "{path}");
        }
    });
}
