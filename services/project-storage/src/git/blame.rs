//! Which lines of a text were in an older text already.

use gix_imara_diff::{InternedInput, sources::byte_lines};

use super::hunks::compare;

/// Lines of a file whose origin is looked for, all numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first line in the file that is blamed.
    pub(crate) result: u32,
    /// The first line in the version of the file that the search has reached.
    pub(crate) at: u32,
    /// How many lines.
    pub(crate) lines: u32,
}

/// Spans of a text, by whether an older text has them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Split {
    /// Lines that the older text has, numbered as there.
    pub(crate) passed: Vec<Span>,
    /// Lines that only the newer text has.
    pub(crate) kept: Vec<Span>,
}

/// Splits spans of the newer of two texts.
pub(crate) fn split(old: &[u8], new: &[u8], spans: &[Span]) -> Split {
    let input = InternedInput::new(byte_lines(old), byte_lines(new));
    let changes = compare(&input);
    let mut split = Split::default();
    for span in spans {
        let mut rest = *span;
        while rest.lines > 0 {
            let next = changes.partition_point(|change| change.new.end <= rest.at);
            let (lines, is_new) = match changes.get(next) {
                Some(change) if change.new.start <= rest.at => (change.new.end - rest.at, true),
                Some(change) => (change.new.start - rest.at, false),
                None => (rest.lines, false),
            };
            let part = Span { lines: lines.min(rest.lines), ..rest };
            if is_new {
                split.kept.push(part);
            } else {
                // Between two changes the lines of both texts run side by side.
                let (old_end, new_end) = next.checked_sub(1).map_or((0, 0), |before| (changes[before].old.end, changes[before].new.end));
                split.passed.push(Span { at: old_end + (part.at - new_end), ..part });
            }
            rest = Span { result: rest.result + part.lines, at: rest.at + part.lines, lines: rest.lines - part.lines };
        }
    }
    split
}

/// The number of lines of a text. The last one may have no line feed.
pub(crate) fn count_lines(text: &[u8]) -> u32 {
    u32::try_from(byte_lines(text).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(result: u32, at: u32, lines: u32) -> Span {
        Span { result, at, lines }
    }

    #[test]
    fn lines_of_the_older_text_are_passed_on() {
        let (old, new) = (b"a\nb\nc\nd\n", b"x\na\nB\nc\nd\ny\n");
        let all = split(old, new, &[span(0, 0, 6)]);
        assert_eq!(all.passed, [span(1, 0, 1), span(3, 2, 2)]);
        assert_eq!(all.kept, [span(0, 0, 1), span(2, 2, 1), span(5, 5, 1)]);
        let some = split(old, new, &[span(10, 1, 1), span(20, 4, 2)]);
        assert_eq!((some.passed, some.kept), (vec![span(10, 0, 1), span(20, 3, 1)], vec![span(21, 5, 1)]));
        let twice = split(old, new, &[span(0, 3, 2), span(5, 1, 3)]);
        assert_eq!((twice.passed, twice.kept), (vec![span(0, 2, 2), span(5, 0, 1), span(7, 2, 1)], vec![span(6, 2, 1)]), "they overlap");
        assert_eq!(split(b"", b"a\n", &[span(0, 0, 1)]).kept, [span(0, 0, 1)]);
        assert_eq!(split(b"a\nb\n", b"b\n", &[span(0, 0, 1)]).passed, [span(0, 1, 1)]);
    }

    #[test]
    fn a_last_line_without_an_end_is_a_line() {
        for (text, lines) in [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("\n\n", 2)] {
            assert_eq!(count_lines(text.as_bytes()), lines, "{text:?}");
        }
    }

    fn texts() -> impl Strategy<Value = String> {
        (proptest::collection::vec("[a-c]{0,2}", 0..12), any::<bool>()).prop_map(|(lines, ends)| {
            let text = lines.join("\n");
            if ends && !text.is_empty() { text + "\n" } else { text }
        })
    }

    proptest! {
        /// Every line of the newer text is either kept or passed on, and a line that is passed on is the same in the older text.
        #[test]
        fn nothing_is_lost(old in texts(), new in texts(), cut in 0_u32..12) {
            let lines: Vec<Vec<&str>> = [&old, &new].map(|text| text.split_inclusive('\n').collect()).to_vec();
            let count = count_lines(new.as_bytes());
            let cut = cut.min(count);
            let spans: Vec<Span> = [span(0, 0, cut), span(cut, cut, count - cut)].into_iter().filter(|span| span.lines > 0).collect();
            let Split { passed, kept } = split(old.as_bytes(), new.as_bytes(), &spans);
            let mut seen: Vec<u32> = passed.iter().chain(&kept).flat_map(|span| span.result..span.result + span.lines).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
            for span in passed {
                for line in 0..span.lines {
                    prop_assert_eq!(lines[0][(span.at + line) as usize], lines[1][(span.result + line) as usize]);
                }
            }
        }
    }
}
