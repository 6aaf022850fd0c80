//! The three-way merge of texts.

use gix_merge::blob::{
    Resolution,
    builtin_driver::{self, text::Labels},
};

/// Merges the changes of both sides, without conflict markers. `None` if the sides change the same or neighbouring lines in different
/// ways, or if one of the three is no text.
pub(crate) fn merge_text(base: &[u8], ours: &[u8], theirs: &[u8]) -> Option<Vec<u8>> {
    if ![base, ours, theirs].iter().all(|side| is_text(side)) {
        return None;
    }
    let mut merged = Vec::with_capacity(ours.len().max(theirs.len()));
    // The default algorithm, Myers, has a bound on its time. Histogram makes more readable differences, but takes seconds for
    // some texts of a few hundred KiB.
    let options = builtin_driver::text::Options::default();
    let resolution = builtin_driver::text(&mut merged, &mut Default::default(), Labels::default(), ours, base, theirs, options);
    matches!(resolution, Resolution::Complete).then_some(merged)
}

/// Whether the bytes are UTF-8 without NUL.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn merge(base: &str, ours: &str, theirs: &str) -> Option<String> {
        let merged = merge_text(base.as_bytes(), ours.as_bytes(), theirs.as_bytes());
        merged.map(|bytes| String::from_utf8(bytes).expect("lines of three texts"))
    }

    #[test]
    fn changes_of_different_lines_are_merged() {
        for (base, ours, theirs, expected) in [
            ("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n", Some("A\nb\nC\n")),
            ("a\nb\nc\n", "a\nc\n", "a\nb\nc\nd\n", Some("a\nc\nd\n")),
            ("a\nb\n", "x\na\nb\n", "a\nb\ny\n", Some("x\na\nb\ny\n")),
            ("a\r\nb\r\nc\r\n", "A\r\nb\r\nc\r\n", "a\r\nb\r\nC\r\n", Some("A\r\nb\r\nC\r\n")),
            ("a\nb\nc", "A\nb\nc", "a\nb\nc\n", Some("A\nb\nc\n")),
            ("a\nb\nc\n", "a\nX\nc\n", "a\nX\nc\n", Some("a\nX\nc\n")),
            ("a\nb\n", "A\nb\n", "a\nB\n", None),
            ("a\nb\n", "a\nx\nb\n", "a\ny\nb\n", None),
            ("a\nb\nc\n", "a\nc\n", "a\nB\nc\n", None),
            ("a\nb\n", "", "a\nB\n", None),
            ("1", "2", "3", None),
            ("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\0\n", None),
        ] {
            assert_eq!(merge(base, ours, theirs).as_deref(), expected, "{base:?} {ours:?} {theirs:?}");
        }
        assert_eq!(merge_text(b"a\nb\nc\n", b"A\nb\nc\n", b"a\nb\n\xff\n"), None);
    }

    fn texts() -> impl Strategy<Value = String> {
        proptest::collection::vec("[a-d]{0,2}", 0..8).prop_map(|lines| lines.iter().map(|line| format!("{line}\n")).collect())
    }

    proptest! {
        #[test]
        fn a_merge_is_symmetric(base in texts(), ours in texts(), theirs in texts()) {
            prop_assert_eq!(merge(&base, &ours, &theirs), merge(&base, &theirs, &ours));
            prop_assert_eq!(merge(&base, &base, &theirs), Some(theirs.clone()));
            prop_assert_eq!(merge(&base, &ours, &base), Some(ours.clone()));
            prop_assert_eq!(merge(&base, &ours, &ours), Some(ours));
        }

        /// Between two edits there is always an unchanged line.
        #[test]
        fn separate_edits_of_both_sides_are_merged(edits in proptest::collection::vec((0_u8..4, any::<bool>()), 1..12)) {
            let (mut base, mut ours, mut theirs, mut both) = (String::new(), String::new(), String::new(), String::new());
            for (n, (edit, is_ours)) in edits.iter().enumerate() {
                let old = format!("keep {n}\nline {n}\n");
                let new = match edit {
                    0 => format!("keep {n}\nother {n}\n"),
                    1 => format!("keep {n}\n"),
                    2 => format!("keep {n}\nline {n}\nmore {n}\n"),
                    _ => format!("keep {n}\nmore {n}\nline {n}\n"),
                };
                base.push_str(&old);
                both.push_str(&new);
                ours.push_str(if *is_ours { &new } else { &old });
                theirs.push_str(if *is_ours { &old } else { &new });
            }
            prop_assert_eq!(merge(&base, &ours, &theirs), Some(both));
        }
    }
}
