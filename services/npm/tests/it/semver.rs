//! Versions and ranges, compared with npm's answers. The table was written by npm's own library for versions.

use npm::semver::{Range, Reading, Version};

/// Lines: how the range is read, the range, and the versions that match. Tabs separate the fields, spaces the versions.
const TABLE: &str = include_str!("../semver/matches.tsv");
const VERSIONS: &str = include_str!("../semver/versions.txt");
/// Lines: two ranges, and whether they have a version in common.
const COMMON: &str = include_str!("../semver/intersections.tsv");

fn reading(name: &str) -> Reading {
    match name {
        "request" => Reading::REQUEST,
        "engine" => Reading::ENGINE,
        "override" => Reading::OVERRIDE,
        other => panic!("{other}"),
    }
}

#[test]
fn ranges_match_the_versions_that_npm_matches() {
    let versions: Vec<_> = VERSIONS.lines().map(|text| (text, Version::parse(text))).collect();
    let mut count = 0;
    for line in TABLE.lines() {
        let fields: Vec<_> = line.split('\t').collect();
        let [kind, text, matching] = fields[..] else { panic!("{line}") };
        let range = Range::parse(text, reading(kind));
        assert_eq!(range.is_none(), matching == "-", "{kind} {text:?} is {range:?}");
        let Some(range) = range else { continue };
        let matching: Vec<_> = matching.split(' ').collect();
        for (version, parsed) in &versions {
            let matches = parsed.as_ref().is_some_and(|parsed| range.accepts(parsed));
            assert_eq!(matches, matching.contains(version), "{kind} {text:?} is {range}, {version}");
            count += 1;
        }
    }
    assert!(count > 50_000, "only {count} pairs");
}

#[test]
fn ranges_have_a_version_in_common_if_npm_says_so() {
    for line in COMMON.lines() {
        let fields: Vec<_> = line.split('\t').collect();
        let [a, b, expected] = fields[..] else { panic!("{line}") };
        let range = |text| Range::parse(text, Reading::OVERRIDE).unwrap_or_else(|| panic!("{text:?}"));
        assert_eq!(range(a).intersects(&range(b)), expected == "yes", "{a:?} and {b:?}");
    }
    assert!(COMMON.lines().count() > 500);
}
