use super::*;

fn parse(file: &str, text: &str) -> Result<Lock, Error> {
    Lock::parse(file, text.as_bytes(), &Limits::default())
}

fn places(text: &str) -> (Vec<String>, Vec<Finding>) {
    let lock = parse("package-lock.json", text).expect("a lock file");
    let Content::Places(places) = lock.content else { panic!("no places") };
    let describe = |entry: &Entry| format!("{} {}@{} {}", entry.path.join(">"), entry.package, entry.version, entry.integrity.is_some());
    (places.entries.iter().map(describe).collect(), lock.findings)
}

const HASH: &str = "sha1-qvTGHdzF6KLavt4PO0gs2a6pQ00=";

#[test]
fn places_of_npm_are_read() {
    let text = format!(
        r#"{{"lockfileVersion": 3, "packages": {{"": {{"name": "x"}},
        "node_modules/a/node_modules/b": {{"version": "2.0.0"}},
        "node_modules/a": {{"version": "1.0.0", "resolved": "https://example.org/a.tgz", "integrity": "{HASH}", "dependencies": {{"b": "2"}}}},
        "node_modules/@s/alias": {{"name": "real", "version": "1.0.0"}},
        "node_modules/a/node_modules/in": {{"version": "1.0.0", "inBundle": true}},
        "node_modules/w": {{"resolved": "packages/w", "link": true}}, "packages/w": {{"version": "1.0.0"}},
        "node_modules/../x": {{"version": "1.0.0"}}, "node_modules/g": {{"version": "git"}}, "node_modules/n": 7}}}}"#
    );
    let (entries, findings) = places(&text);
    assert_eq!(entries, ["@s/alias real@1.0.0 false", "a a@1.0.0 true", "a>b b@2.0.0 false"]);
    assert_eq!(findings.len(), 5, "{findings:?}");
    let old = r#"{"lockfileVersion": 1, "dependencies": {"a": {"version": "1.0.0", "requires": {"b": "2"},
        "dependencies": {"b": {"version": "2.0.0"}, "c": {"version": "3.0.0", "bundled": true}}}, "x": {"version": "npm:@s/y@2.1.0"}}}"#;
    assert_eq!(places(old).0, ["a a@1.0.0 false", "x @s/y@2.1.0 false", "a>b b@2.0.0 false"]);
}

fn picks(file: &str, text: &str) -> (Picks, usize) {
    let lock = parse(file, text).unwrap_or_else(|error| panic!("{error}"));
    let Content::Versions(picks) = lock.content else { panic!("no versions") };
    (picks, lock.findings.len())
}

fn version<'p>(picks: &'p Picks, by: Option<(&str, &str)>, name: &str, spec: &str) -> Option<(&'p str, &'p str, bool)> {
    picks.get(by, name, spec).map(|locked| (locked.package.as_str(), locked.version.as_str(), locked.integrity.is_some()))
}

#[test]
fn versions_of_yarn_are_read() {
    let text = format!(
        "# yarn lockfile v1\n\n\n\"@s/a@^1.0.0\", \"@s/a@^1.1\":\n  version \"1.2.0\"\n  resolved \"https://example.org/a.tgz#aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d\"\n  dependencies:\n    b \"2\"\n\nb@2:\n  version \"2.0.0\"\n  integrity {HASH}\n\n\"c@npm:real@^3\":\n  version \"3.0.0\"\n"
    );
    let (picks, _) = picks("yarn.lock", &text);
    assert_eq!(version(&picks, None, "@s/a", "^1.1"), Some(("@s/a", "1.2.0", true)));
    assert_eq!(version(&picks, Some(("@s/a", "1.2.0")), "b", "2"), Some(("b", "2.0.0", true)));
    assert_eq!(version(&picks, None, "c", "npm:real@^3"), Some(("real", "3.0.0", false)));
    assert_eq!(version(&picks, None, "b", "^2"), None);
}

#[test]
fn versions_of_berry_are_read() {
    let text = "__metadata:\n  version: 8\n\n\"@s/a@npm:^1.0.0, @s/a@npm:^1.1\":\n  version: 1.2.0\n  resolution: \"@s/a@npm:1.2.0\"\n  checksum: 10c0/aa\n\n\"c@npm:real@^3\":\n  version: 3.0.0\n\n\"p@patch:p@npm%3A1.0.0#x.patch\":\n  version: 1.0.0\n\n\"shop@workspace:.\":\n  version: 0.0.0-use.local\n";
    let (picks, findings) = picks("yarn.lock", text);
    assert_eq!(version(&picks, None, "@s/a", "^1.1"), Some(("@s/a", "1.2.0", false)));
    assert_eq!(version(&picks, None, "c", "npm:real@^3"), Some(("real", "3.0.0", false)));
    assert_eq!((version(&picks, None, "shop", "workspace:."), findings), (None, 1));
}

#[test]
fn versions_of_pnpm_are_read() {
    let old = format!(
        "lockfileVersion: 5.4\nspecifiers:\n  '@s/a': ^1\ndependencies:\n  '@s/a': 1.2.0_react@18.2.0\ndevDependencies:\n  c: /real/3.0.0\npackages:\n  /@s/a/1.2.0_react@18.2.0:\n    resolution: {{integrity: {HASH}}}\n    dependencies:\n      b: 2.0.0\n  /b/2.0.0:\n    resolution: {{integrity: {HASH}}}\n"
    );
    let middle = format!(
        "lockfileVersion: '6.0'\ndependencies:\n  '@s/a':\n    specifier: ^1\n    version: 1.2.0(react@18.2.0)\ndevDependencies:\n  c:\n    specifier: npm:real@^3\n    version: /real@3.0.0\npackages:\n  /@s/a@1.2.0(react@18.2.0):\n    resolution: {{integrity: {HASH}}}\n    dependencies:\n      b: 2.0.0\n  /b@2.0.0:\n    resolution: {{integrity: {HASH}}}\n"
    );
    let new = format!(
        "lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies:\n      '@s/a':\n        specifier: ^1\n        version: 1.2.0(react@18.2.0)\n      w:\n        specifier: workspace:*\n        version: link:../w\n    devDependencies:\n      c:\n        specifier: npm:real@^3\n        version: real@3.0.0\npackages:\n  '@s/a@1.2.0':\n    resolution: {{integrity: {HASH}}}\n  b@2.0.0:\n    resolution: {{integrity: {HASH}}}\nsnapshots:\n  '@s/a@1.2.0(react@18.2.0)':\n    dependencies:\n      b: 2.0.0\n  b@2.0.0: {{}}\n"
    );
    for (text, ignored) in [(old, 0), (middle, 0), (new, 1)] {
        let (picks, findings) = picks("pnpm-lock.yaml", &text);
        assert_eq!(version(&picks, None, "@s/a", "^1"), Some(("@s/a", "1.2.0", true)), "{text}");
        assert_eq!(version(&picks, Some(("@s/a", "1.2.0")), "b", "2"), Some(("b", "2.0.0", true)), "{text}");
        assert_eq!(version(&picks, None, "c", "npm:real@^3"), Some(("real", "3.0.0", false)), "{text}");
        assert_eq!(findings, ignored, "{text}");
    }
}

#[test]
fn what_is_no_lock_file_is_refused() {
    let bomb = format!("a: &a [x]\n{}", (0..40).map(|at| format!("b{at}: &b{at} [{}]\n", "*a, ".repeat(9))).collect::<String>());
    let bomb = bomb.replace("*a", "*b0");
    for (file, text, expected) in [
        ("package-lock.json", "{", "package-lock.json: EOF"),
        ("package-lock.json", r#"{"packages": []}"#, "package-lock.json: packages: [] is not an object"),
        ("pnpm-lock.yaml", "a: [", "pnpm-lock.yaml: "),
        ("pnpm-lock.yaml", "lockfileVersion: 4", "lockfileVersion: 4 is not a version from 5 to 9"),
        ("pnpm-lock.yaml", "[]", "lockfileVersion: null"),
        ("pnpm-lock.yaml", &bomb, "pnpm-lock.yaml: "),
        ("yarn.lock", "  a\nb", "yarn.lock: line 2 is not the head of a block"),
        ("yarn.lock", "__metadata: [", "yarn.lock: "),
        ("bun.lock", "{}", "bun.lock: is not the name of a lock file"),
    ] {
        let error = parse(file, text).expect_err(text).to_string();
        assert!(error.contains(expected), "{file} {text}: {error}");
    }
    let limits = Limits { lock_entries: 1, lock_bytes: 1_000, ..Limits::default() };
    let two = r#"{"packages": {"node_modules/a": {"version": "1.0.0"}, "node_modules/b": {"version": "1.0.0"}}}"#;
    for (file, text) in [("package-lock.json", two), ("yarn.lock", "a@1:\n  version \"1.0.0\"\nb@1:\n"), ("yarn.lock", &" ".repeat(1_001))]
    {
        assert!(matches!(Lock::parse(file, text.as_bytes(), &limits), Err(Error::TooLarge { .. })), "{file} {text}");
    }
}
