//! Paths of files. A path that is allowed stays inside its folder, and a new one can be written on every common file system. The corpus has
//! allowed paths and refused ones.

use std::path::{Component, Path};

use fuzz::{Target, corpus};
use proto::{
    path::{MAX_CHARACTERS, MAX_PART_BYTES, check, check_new, fold, normalized, shown},
    text::is_misleading,
};

const ALLOWED: &str = include_str!("../../corpus/allowed-paths.txt");
const REFUSED: &str = include_str!("../../corpus/refused-paths.txt");
/// Parts that have a meaning to an operating system, to git, or to Unicode.
const WORDS: &[&str] = &[
    "/",
    "//",
    "\\",
    ".",
    "..",
    "../",
    ".git",
    ".GIT/",
    "git~1",
    "CON",
    "nul.txt",
    "COM1",
    "LPT\u{b2}",
    ":",
    "*",
    "?",
    " ",
    ". ",
    "\0",
    "\n",
    "\u{7f}",
    "\u{85}",
    "\u{301}",
    "\u{200b}",
    "\u{200c}",
    "\u{202e}",
    "\u{2066}",
    "\u{feff}",
    "\u{fdd0}",
    "\u{ffff}",
    "\u{10ffff}",
    "ß",
    "\u{1e9e}",
    "İ",
    "ı",
    "ς",
    "Σ",
    "\u{212a}",
    "\u{1f82}",
    "é",
    "e\u{301}",
    "각",
    "\u{1100}\u{1161}",
    "~",
    "C:",
    "\\\\?\\",
    "%2e%2e",
];

fn checked(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (any, new) = (check(&text), check_new(&text));
    assert!(any.is_ok() || new.is_err(), "{text:?} is only allowed for a new file");
    for message in [&any, &new].into_iter().filter_map(|checked| checked.as_ref().err()).map(ToString::to_string) {
        assert!(message.chars().count() < 1_000 && !message.contains(is_misleading), "{message:?}");
    }
    assert!(!shown(&text).contains(is_misleading));
    let folded = fold(&text);
    for same in [&*folded, &text.to_lowercase(), &text.to_uppercase()] {
        assert_eq!(fold(same), folded, "{text:?} and {same:?} are one file where case does not count");
    }
    if any.is_ok() {
        stays_inside(&text);
    }
    if new.is_ok() {
        is_portable(&text);
    }
}

fn stays_inside(path: &str) {
    let parts: Vec<_> = path.split('/').collect();
    let walked: Vec<_> = Path::new(path).components().collect();
    assert!(walked.iter().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
    assert_eq!(walked.iter().map(|part| part.as_os_str()).collect::<Vec<_>>(), parts, "{path:?}");
    assert!(path.chars().count() <= MAX_CHARACTERS && normalized(path) == path, "{path:?}");
    assert!(!path.contains(['\0', '\n', '\r', '\\']), "{path:?}");
    for part in parts {
        let ascii: String = part.chars().filter(char::is_ascii).collect();
        let is_hidden = part.chars().all(|c| c.is_ascii() || matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{feff}'));
        assert!(!(is_hidden && ascii.eq_ignore_ascii_case(".git")), "{path:?}");
    }
}

fn is_portable(path: &str) {
    for part in path.split('/') {
        assert!(part.len() <= MAX_PART_BYTES && !part.contains(['<', '>', ':', '"', '|', '?', '*']), "{path:?}");
        assert!(!part.ends_with([' ', '.']) && !part.contains(char::is_control), "{path:?}");
        let name = part.split('.').next().unwrap_or_default().trim_end_matches(' ').to_uppercase();
        assert!(!["CON", "PRN", "AUX", "NUL", "COM1", "COM9", "LPT1", "COM²"].contains(&name.as_str()), "{path:?}");
    }
}

#[test]
fn the_corpus_is_allowed_or_refused() {
    for seed in corpus::lines(ALLOWED) {
        checked(&seed.bytes);
        assert_eq!(check_new(&String::from_utf8_lossy(&seed.bytes)), Ok(()), "{}", seed.name);
    }
    for seed in corpus::lines(REFUSED) {
        checked(&seed.bytes);
        assert!(check_new(&String::from_utf8_lossy(&seed.bytes)).is_err(), "{}", seed.name);
    }
}

#[test]
fn changed_paths_are_allowed_or_refused() {
    let seeds = [ALLOWED, REFUSED].into_iter().flat_map(corpus::lines).collect();
    let words = WORDS.iter().map(|word| word.as_bytes().to_vec()).collect();
    Target { seeds, words }.run(20_000, checked);
}
