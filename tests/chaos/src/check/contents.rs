//! The contents after a merge and after the resolution of a conflict.

use std::collections::BTreeMap;

use serde_json::Value;

/// The contents of files by their paths, as the API shows them.
pub type Files = BTreeMap<String, Value>;

/// The files in the answer to a load.
#[must_use]
pub fn files(answer: &Value) -> Option<Files> {
    answer["files"].as_array()?.iter().map(|file| Some((file["path"].as_str()?.to_owned(), file["content"].clone()))).collect()
}

/// What a three-way merge gives of texts with the same number of lines whose changed lines are apart: each changed line. Returns `None` if
/// both sides have changed the same line.
#[must_use]
pub fn merged(base: &str, ours: &str, theirs: &str) -> Option<String> {
    let lines = base.lines().zip(ours.lines()).zip(theirs.lines());
    let merged = lines.map(|((base, ours), theirs)| match (ours == base, theirs == base) {
        (_, true) => Some(ours),
        (true, false) => Some(theirs),
        (false, false) => None,
    });
    Some(merged.collect::<Option<Vec<_>>>()?.iter().map(|line| format!("{line}\n")).collect())
}

/// How files differ from what they must be: one line for each path. It is empty if they do not.
#[must_use]
pub fn differences(expected: &Files, found: &Files) -> Vec<String> {
    let mut paths: Vec<_> = expected.keys().chain(found.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    let different = paths.into_iter().filter(|path| expected.get(*path) != found.get(*path));
    different.map(|path| format!("{path} is {:?} instead of {:?}", found.get(path), expected.get(path))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_has_the_changed_lines_of_both_sides() {
        assert_eq!(merged("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n").as_deref(), Some("A\nb\nC\n"));
        assert_eq!(merged("a\nb\n", "a\nb\n", "a\nB\n").as_deref(), Some("a\nB\n"));
        assert_eq!(merged("a\nb\n", "x\nb\n", "y\nb\n"), None);
    }

    #[test]
    fn each_lost_invented_or_changed_file_is_found() {
        let of = |files: Value| files_of(&files);
        let expected = of(json!([{ "path": "a", "content": { "text": "1" } }, { "path": "b", "content": { "text": "2" } }]));
        assert_eq!(differences(&expected, &expected), [""; 0]);
        for changed in [
            json!([{ "path": "a", "content": { "text": "1" } }]),
            json!([{ "path": "a", "content": { "text": "1" } }, { "path": "b", "content": { "text": "3" } }]),
        ] {
            let found = differences(&expected, &of(changed));
            assert!(found.len() == 1 && found[0].starts_with("b is "), "{found:?}");
        }
        assert_eq!(differences(&Files::new(), &expected).len(), 2);
        assert_eq!(files(&json!({ "files": [{ "content": {} }] })), None);
    }

    fn files_of(list: &Value) -> Files {
        files(&json!({ "files": list })).unwrap()
    }
}
