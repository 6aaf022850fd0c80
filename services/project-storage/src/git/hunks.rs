//! Two texts compared line by line, as `git diff` shows them.

use std::ops::Range;

use gix_imara_diff::{Algorithm, Diff, InternedInput, sources::byte_lines};

use super::text::is_text;

/// A part of a file that differs, with the unchanged lines around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hunk {
    /// The first line of the hunk in the old text, from 1. If the hunk has no line of the old text, the line before it.
    pub(crate) old_start: u32,
    pub(crate) old_lines: u32,
    /// As `old_start`, in the new text.
    pub(crate) new_start: u32,
    pub(crate) new_lines: u32,
    /// The lines, each behind a space, `-` or `+`.
    pub(crate) text: String,
}

/// The differences between two texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LineDiff {
    pub(crate) added: u32,
    pub(crate) deleted: u32,
    /// The lines of all hunks, unchanged ones included.
    pub(crate) lines: u32,
    pub(crate) hunks: Vec<Hunk>,
}

/// Lines that changed at one place, without context, numbered from 0.
pub(super) struct Change {
    pub(super) old: Range<u32>,
    pub(super) new: Range<u32>,
}

/// Where two texts differ.
pub(super) fn compare(input: &InternedInput<&[u8]>) -> Vec<Change> {
    // Myers bounds its time. Histogram can take seconds for a text that was made to slow it down.
    let mut diff = Diff::compute(Algorithm::Myers, input);
    diff.postprocess_lines(input);
    diff.hunks().map(|hunk| Change { old: hunk.before, new: hunk.after }).collect()
}

/// Compares two texts; `context` is the number of unchanged lines around a change. `None` if one of them is not text.
pub(crate) fn line_diff(old: &[u8], new: &[u8], context: u32) -> Option<LineDiff> {
    if !is_text(old) || !is_text(new) {
        return None;
    }
    let input = InternedInput::new(byte_lines(old), byte_lines(new));
    let changes = compare(&input);
    let lines =
        |range: fn(&Change) -> &Range<u32>| changes.iter().map(|change| u32::try_from(range(change).len()).unwrap_or(u32::MAX)).sum();
    let (added, deleted) = (lines(|change| &change.new), lines(|change| &change.old));
    let texts = Texts { old: byte_lines(old).collect(), new: byte_lines(new).collect() };
    let hunks: Vec<Hunk> = groups(&changes, context).map(|group| texts.hunk(group, context)).collect();
    // A hunk has its new lines, unchanged ones among them, and the lines that only the old text has.
    let lines = hunks.iter().map(|hunk| hunk.new_lines).sum::<u32>() + deleted;
    Some(LineDiff { added, deleted, lines, hunks })
}

/// Changes whose context touches belong to one hunk.
fn groups(changes: &[Change], context: u32) -> impl Iterator<Item = &[Change]> {
    changes.chunk_by(move |a, b| b.old.start - a.old.end <= context.saturating_mul(2))
}

struct Texts<'a> {
    old: Vec<&'a [u8]>,
    new: Vec<&'a [u8]>,
}

impl Texts<'_> {
    /// The hunk of a group, which is not empty.
    fn hunk(&self, group: &[Change], context: u32) -> Hunk {
        let (first, last) = (&group[0], &group[group.len() - 1]);
        let before = context.min(first.old.start);
        let after = context.min(length(&self.old) - last.old.end);
        let old = first.old.start - before..last.old.end + after;
        let new = first.new.start - before..last.new.end + after;
        let mut text = String::new();
        let mut unchanged = old.start;
        for change in group {
            put(&mut text, ' ', &self.old, unchanged..change.old.start);
            put(&mut text, '-', &self.old, change.old.clone());
            put(&mut text, '+', &self.new, change.new.clone());
            unchanged = change.old.end;
        }
        put(&mut text, ' ', &self.old, unchanged..old.end);
        Hunk { old_start: start(&old), old_lines: old.end - old.start, new_start: start(&new), new_lines: new.end - new.start, text }
    }
}

fn length(lines: &[&[u8]]) -> u32 {
    u32::try_from(lines.len()).unwrap_or(u32::MAX)
}

/// The number that git shows for a range of lines.
fn start(range: &Range<u32>) -> u32 {
    range.start + u32::from(!range.is_empty())
}

fn put(text: &mut String, mark: char, lines: &[&[u8]], range: Range<u32>) {
    for line in &lines[range.start as usize..range.end as usize] {
        text.push(mark);
        text.push_str(&String::from_utf8_lossy(line));
        if !line.ends_with(b"\n") {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The hunks as a patch shows them.
    fn patch(diff: &LineDiff) -> String {
        let hunk = |h: &Hunk| format!("@@ -{},{} +{},{} @@\n{}", h.old_start, h.old_lines, h.new_start, h.new_lines, h.text);
        diff.hunks.iter().map(hunk).collect()
    }

    fn diff(old: &str, new: &str, context: u32) -> LineDiff {
        line_diff(old.as_bytes(), new.as_bytes(), context).expect("texts")
    }

    #[test]
    fn hunks_are_those_of_git() {
        for (old, new, context, expected) in [
            ("", "", 3, ""),
            ("a\n", "a\n", 3, ""),
            ("", "a\nb\n", 3, "@@ -0,0 +1,2 @@\n+a\n+b\n"),
            ("a\nb\n", "", 3, "@@ -1,2 +0,0 @@\n-a\n-b\n"),
            ("a\n", "a", 3, "@@ -1,1 +1,1 @@\n-a\n+a\n\\ No newline at end of file\n"),
            ("a\nb", "c\nb", 3, "@@ -1,2 +1,2 @@\n-a\n+c\n b\n\\ No newline at end of file\n"),
            ("1\n2\n3\n4\n5\n", "1\n2\nx\n4\n5\n", 1, "@@ -2,3 +2,3 @@\n 2\n-3\n+x\n 4\n"),
            ("1\n2\n3\n4\n5\n", "1\nx\n3\ny\n5\n", 0, "@@ -2,1 +2,1 @@\n-2\n+x\n@@ -4,1 +4,1 @@\n-4\n+y\n"),
            ("1\n2\n3\n4\n5\n6\n", "x\n2\n3\n4\n5\ny\n", 2, "@@ -1,6 +1,6 @@\n-1\n+x\n 2\n 3\n 4\n 5\n-6\n+y\n"),
            ("a\r\nb\r\n", "a\r\nc\r\n", 3, "@@ -1,2 +1,2 @@\n a\r\n-b\r\n+c\r\n"),
        ] {
            assert_eq!(patch(&diff(old, new, context)), expected, "{old:?} {new:?}");
        }
    }

    #[test]
    fn what_is_not_text_has_no_lines() {
        assert_eq!(line_diff(b"a\n", b"a\0", 3), None);
        assert_eq!(line_diff(b"\xff", b"a\n", 3), None);
    }

    fn texts() -> impl Strategy<Value = String> {
        (proptest::collection::vec("[a-c]{0,2}\r?", 0..12), any::<bool>()).prop_map(|(lines, ends)| {
            let text = lines.join("\n");
            if ends && !text.is_empty() { text + "\n" } else { text }
        })
    }

    /// Applies hunks as `patch` does: what stands between them stays.
    fn apply(old: &str, diff: &LineDiff) -> String {
        let lines: Vec<&str> = old.split_inclusive('\n').collect();
        let (mut out, mut at) = (String::new(), 0);
        for hunk in &diff.hunks {
            let begin = (hunk.old_start - u32::from(hunk.old_lines > 0)) as usize;
            out.extend(lines[at..begin].iter().copied());
            let mut rest = hunk.text.split_inclusive('\n').peekable();
            while let Some(line) = rest.next() {
                let has_no_end = rest.next_if(|next| next.starts_with('\\')).is_some();
                if !line.starts_with('-') {
                    out.push_str(if has_no_end { line[1..].trim_end_matches('\n') } else { &line[1..] });
                }
            }
            at = begin + hunk.old_lines as usize;
        }
        out.extend(lines[at..].iter().copied());
        out
    }

    proptest! {
        #[test]
        fn hunks_lead_from_one_text_to_the_other(old in texts(), new in texts(), context in 0_u32..5) {
            let diff = diff(&old, &new, context);
            prop_assert_eq!(apply(&old, &diff), new);
            for hunk in &diff.hunks {
                let count = |marks: [char; 2]| hunk.text.lines().filter(|line| line.starts_with(marks)).count();
                prop_assert_eq!((count([' ', '-']), count([' ', '+'])), (hunk.old_lines as usize, hunk.new_lines as usize));
            }
            let lines = diff.hunks.iter().flat_map(|hunk| hunk.text.lines()).filter(|line| !line.starts_with('\\')).count();
            prop_assert_eq!(lines, diff.lines as usize);
        }
    }
}
