//! Sizes of files.

use std::collections::BTreeMap;

use house::source::sources;

/// The limit for the lines of a source file without its tests.
const MAX_LINES: usize = 400;
const MAX_MEDIAN: usize = 150;
const MAX_MAIN: usize = 30;

/// Files that may be longer, with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

#[test]
fn source_files_are_short() {
    let sizes: BTreeMap<_, _> = sources().into_iter().map(|file| (file.path.clone(), file.own_lines())).collect();
    let long: Vec<_> =
        sizes.iter().filter(|(path, lines)| **lines >= MAX_LINES && !LONG_FILES.iter().any(|(exception, _)| path == exception)).collect();
    assert!(long.is_empty(), "longer than {MAX_LINES} lines without tests: {long:?}");
    for (path, reason) in LONG_FILES {
        assert!(sizes.get(*path).is_some_and(|lines| *lines >= MAX_LINES), "{path} needs no exception ({reason})");
    }
    let mut lines: Vec<_> = sizes.into_values().collect();
    lines.sort_unstable();
    let median = lines[lines.len() / 2];
    assert!(median < MAX_MEDIAN, "the median file has {median} lines");
}

#[test]
fn main_files_are_short() {
    for file in sources().into_iter().filter(|file| file.path.ends_with("src/main.rs")) {
        assert!(file.text.lines().count() <= MAX_MAIN, "{}: more than {MAX_MAIN} lines", file.path);
    }
}
