//! The major version of a package that npm installs for a range.

use serde_json::Value;

use crate::tree::Tree;

/// Lock files, in the order in which they count.
const LOCKS: [&str; 4] = ["package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock"];

/// The major version of a package with this range. A lock file is read only if the range allows several. Without one it is the highest that
/// the range allows, at most `newest` if it has no end.
pub(super) fn major(package: &str, range: &str, newest: u32, tree: &Tree) -> u32 {
    let (lowest, highest) = bounds(range, newest);
    if lowest == highest {
        return highest;
    }
    let locked = LOCKS.iter().filter(|name| tree.has(name)).filter_map(|name| locked(package, tree.configuration(name)?)).next();
    locked.unwrap_or(highest)
}

/// The lowest and the highest major version of a range such as `^3.4.1`, `>=3 <5` or `3 || 4`.
fn bounds(range: &str, newest: u32) -> (u32, u32) {
    // `npm:tailwindcss@^3` is a package under another name.
    let range = range.rsplit_once('@').map_or(range, |(_, range)| range);
    let alternatives = range.split("||").map(|alternative| bounds_of_one(alternative, newest));
    alternatives.reduce(|(a, b), (c, d)| (a.min(c), b.max(d))).unwrap_or((0, newest))
}

fn bounds_of_one(range: &str, newest: u32) -> (u32, u32) {
    let (mut lowest, mut highest) = (0, newest);
    // `1.2.3 - 2.3.4` is `>=1.2.3 <=2.3.4`, and `>= 3` is one comparison.
    let range = range.replace(" - ", " <=").replace("= ", "=").replace("> ", ">").replace("< ", "<");
    let is_span = range.contains(" <=") && range.trim_start().starts_with(|c: char| c.is_ascii_digit());
    for (at, part) in range.split_whitespace().enumerate() {
        let sign: String = part.chars().take_while(|c| !c.is_ascii_alphanumeric() && *c != '*').collect();
        let version = part[sign.len()..].trim_start_matches('v');
        let mut numbers = version.split(['.', '-', '+']).map_while(|number| number.parse::<u32>().ok());
        let Some(first) = numbers.next() else { continue };
        match sign.as_str() {
            ">" | ">=" => lowest = lowest.max(first),
            "<" if numbers.all(|number| number == 0) => highest = highest.min(first.saturating_sub(1)),
            "<" | "<=" => highest = highest.min(first),
            _ if is_span && at == 0 => lowest = first,
            _ => (lowest, highest) = (first, first),
        }
    }
    (lowest, highest.max(lowest))
}

/// The major version that a lock file has of a package of the project.
fn locked(package: &str, text: &str) -> Option<u32> {
    let major = |version: &str| version.split('.').next()?.parse().ok();
    if let Ok(lock) = serde_json::from_str::<Value>(text) {
        let newer = lock.get("packages").and_then(|packages| packages.get(format!("node_modules/{package}")));
        let found = newer.or_else(|| lock.get("dependencies")?.get(package))?;
        return major(found.get("version")?.as_str()?);
    }
    // pnpm: `/tailwindcss@3.4.1:`. yarn: `tailwindcss@^3.4.1:`, and the version in the next line.
    let start = format!("{package}@");
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(rest) = line.trim_start().trim_start_matches(['/', '"', '\'']).strip_prefix(&start) else { continue };
        let next = lines.next().unwrap_or_default().trim();
        let version = next.strip_prefix("version").map(|version| version.trim_start_matches([':', ' ', '"']));
        return major(version.unwrap_or(rest));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::tree::Entry;

    #[test]
    fn a_range_allows_some_versions() {
        for (range, expected) in [
            ("^3.4.1", (3, 3)),
            ("3", (3, 3)),
            ("v3.x", (3, 3)),
            ("~3.3.0", (3, 3)),
            ("=3.0.0", (3, 3)),
            (">=3", (3, 4)),
            (">= 3.0.0", (3, 4)),
            (">=3 <4", (3, 3)),
            (">=3 <4.1.0", (3, 4)),
            ("<4.0.0", (0, 3)),
            (">=3.0.0 <=3.9.9", (3, 3)),
            ("3.1.0 - 4.0.0", (3, 4)),
            ("^2 || ^3", (2, 3)),
            ("*", (0, 4)),
            ("", (0, 4)),
            ("latest", (0, 4)),
            ("npm:tailwindcss@^3.1", (3, 3)),
            ("4.0.0-beta.1", (4, 4)),
            ("^5", (5, 5)),
            (">=99999999999999999999", (0, 4)),
        ] {
            assert_eq!(bounds(range, 4), expected, "{range}");
        }
    }

    #[test]
    fn a_lock_file_decides_over_a_wide_range() {
        let major = |range, lock: Option<(&str, &str)>| {
            let files = lock.iter().map(|(name, text)| {
                let content = text.as_bytes().to_vec().into();
                ((*name).to_owned(), Entry { id: String::new(), size: text.len() as u64, content: Some(content) })
            });
            super::major("tailwindcss", range, 4, &Tree::new(files.collect::<BTreeMap<_, _>>()))
        };
        let npm = r#"{"packages": {"node_modules/tailwindcss": {"version": "3.4.17"}}}"#;
        let old = r#"{"lockfileVersion": 1, "dependencies": {"tailwindcss": {"version": "3.0.1"}}}"#;
        let pnpm = "packages:\n\n  /tailwind-merge@1.0.0:\n    a: b\n  /tailwindcss@3.4.1:\n    resolution: {}\n";
        let yarn = "\"tailwindcss@>=3\", tailwindcss@^3:\n  version \"3.4.1\"\n";
        for lock in [("package-lock.json", npm), ("package-lock.json", old), ("pnpm-lock.yaml", pnpm), ("yarn.lock", yarn)] {
            assert_eq!((major(">=3", Some(lock)), major("^4", Some(lock))), (3, 4), "{lock:?}");
        }
        assert_eq!((major(">=3", None), major(">=3", Some(("yarn.lock", "")))), (4, 4));
    }
}
