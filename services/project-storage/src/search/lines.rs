//! The hits in one file.

use std::ops::Range;

use super::pattern::Pattern;

/// Bytes of a line that a hit shows.
const MAX_SHOWN_BYTES: usize = 400;
/// Bytes before the first match that a hit of a cut line shows.
const SHOWN_BEFORE_BYTES: usize = 100;
/// Matches that a hit marks.
const MAX_MARKED: usize = 20;
/// Bytes of a line in which a regular expression is searched, so that one line cannot take long.
const MAX_LINE_BYTES: usize = 4 * 1024;
/// Bytes between two questions whether the time is over.
const STEP_BYTES: usize = 16 * 1024;

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) text: String,
    pub(crate) is_match: bool,
}

/// A line, or a path, with at least one match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    /// From 1; 0 for a path.
    pub(crate) line: u32,
    /// Where the first match begins, in characters from 1.
    pub(crate) column: u32,
    pub(crate) parts: Vec<Part>,
    /// The line is longer than its parts.
    pub(crate) is_cut: bool,
    pub(crate) before: Vec<String>,
    pub(crate) after: Vec<String>,
}

/// How far a search of a file came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    End,
    /// This line was the last one.
    Line(u32),
}

/// The search of one file.
pub(crate) struct Scan<'a> {
    pub(crate) pattern: &'a Pattern,
    /// Lines before and after a hit.
    pub(crate) context: usize,
    /// The last line that was searched before.
    pub(crate) after: u32,
    /// Hits at most.
    pub(crate) max: usize,
}

impl Scan<'_> {
    /// Adds the hits in the lines of a text to a list, until the list has `max` hits or the time is over.
    pub(crate) fn text(&self, text: &str, is_over: impl Fn() -> bool, hits: &mut Vec<Hit>) -> Progress {
        if !self.pattern.is_regex() && !self.pattern.is_in(text) {
            return Progress::End;
        }
        let (mut start, mut since_asked) = (0, 0);
        for (number, line) in (1_u32..).zip(text.split_inclusive('\n')) {
            let place = start..start + line.len();
            start = place.end;
            if number <= self.after {
                continue;
            }
            if let Some(hit) = self.line(text, place, number) {
                hits.push(hit);
                if hits.len() >= self.max {
                    return Progress::Line(number);
                }
            }
            since_asked += line.len();
            // A line can take an expression as long as many lines take a text.
            if since_asked >= STEP_BYTES || self.pattern.is_regex() {
                since_asked = 0;
                if is_over() {
                    return Progress::Line(number);
                }
            }
        }
        Progress::End
    }

    fn line(&self, text: &str, place: Range<usize>, number: u32) -> Option<Hit> {
        let line = text[place.clone()].trim_end_matches('\n');
        let line = line.strip_suffix('\r').unwrap_or(line);
        let hit = hit(self.pattern, line)?;
        let mut before: Vec<_> = text[..place.start].lines().rev().take(self.context).map(shown).collect();
        before.reverse();
        let after = text[place.end..].lines().take(self.context).map(shown).collect();
        Some(Hit { line: number, before, after, ..hit })
    }
}

/// The hit in a line or in a path, without its number and its neighbours.
pub(crate) fn hit(pattern: &Pattern, line: &str) -> Option<Hit> {
    let searched = if pattern.is_regex() { &line[..boundary(line, MAX_LINE_BYTES)] } else { line };
    let matches: Vec<_> = pattern.matches(searched).take(MAX_MARKED).collect();
    let first = matches.first()?;
    let window = window(line, first.start);
    let column = u32::try_from(line[..first.start].chars().count() + 1).unwrap_or(u32::MAX);
    let is_cut = window.len() < line.len();
    Some(Hit { line: 0, column, parts: parts(line, window, &matches), is_cut, before: Vec::new(), after: Vec::new() })
}

/// The part of a line that a hit shows.
fn window(line: &str, first: usize) -> Range<usize> {
    if line.len() <= MAX_SHOWN_BYTES {
        return 0..line.len();
    }
    let start = boundary(line, first.saturating_sub(SHOWN_BEFORE_BYTES));
    start..boundary(line, start + MAX_SHOWN_BYTES)
}

/// A part of a line, divided at the matches in it.
fn parts(line: &str, window: Range<usize>, matches: &[Range<usize>]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut add = |range: Range<usize>, is_match| {
        if !range.is_empty() {
            parts.push(Part { text: line[range].to_owned(), is_match });
        }
    };
    let mut at = window.start;
    for found in matches {
        let found = found.start.clamp(at, window.end)..found.end.clamp(at, window.end);
        add(at..found.start, false);
        add(found.clone(), true);
        at = found.end;
    }
    add(at..window.end, false);
    parts
}

/// A line beside a hit.
fn shown(line: &str) -> String {
    line[..boundary(line, MAX_SHOWN_BYTES)].to_owned()
}

/// The last boundary of a character that is not after `at`.
fn boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{super::pattern::Syntax, *};
    use proptest::prelude::*;

    fn plain(query: &str) -> Pattern {
        Pattern::new(query, Syntax::default()).expect("a pattern")
    }

    fn regex(query: &str) -> Pattern {
        Pattern::new(query, Syntax { is_regex: true, ..Syntax::default() }).expect("a pattern")
    }

    /// The parts on one line, with the matches in brackets.
    fn written(hit: &Hit) -> String {
        hit.parts.iter().map(|part| if part.is_match { format!("[{}]", part.text) } else { part.text.clone() }).collect()
    }

    fn all(pattern: &Pattern, text: &str) -> Vec<Hit> {
        let mut hits = Vec::new();
        let scan = Scan { pattern, context: 1, after: 0, max: usize::MAX };
        assert_eq!(scan.text(text, || false, &mut hits), Progress::End);
        hits
    }

    #[test]
    fn a_hit_has_its_place_and_its_neighbours() {
        let text = "one\r\ntwo ONE\r\nthree\n\nüone one";
        let hits = all(&plain("one"), text);
        let found: Vec<_> = hits.iter().map(|hit| (hit.line, hit.column, written(hit), hit.before.join(), hit.after.join())).collect();
        let expected = [(1, 1, "[one]", "", "two ONE"), (2, 5, "two [ONE]", "one", "three"), (5, 2, "ü[one] [one]", "", "")];
        assert_eq!(found, expected.map(|(line, column, text, before, after)| (line, column, text.into(), before.into(), after.into())));
        assert_eq!((hits[2].before.len(), hits[2].after.len()), (1, 0));
    }

    trait Join {
        fn join(&self) -> String;
    }

    impl Join for Vec<String> {
        fn join(&self) -> String {
            self.as_slice().join("|")
        }
    }

    #[test]
    fn an_expression_is_compared_with_each_line() {
        for (query, text, lines) in [
            ("^a", "a\nb a\na", vec![1, 3]),
            ("a$", "a\r\nb\nba", vec![1, 3]),
            (r"a\s+b", "a\nb\na b", vec![3]),
            (r"\Aa\z", "a\nab\na\n", vec![1, 3]),
            ("x*", "a\n\nb\n", vec![1, 2, 3]),
            ("(?s).*", "a\nb", vec![1, 2]),
        ] {
            let found: Vec<_> = all(&regex(query), text).iter().map(|hit| hit.line).collect();
            assert_eq!(found, lines, "{query}");
        }
    }

    #[test]
    fn a_long_line_is_cut_around_its_first_match() {
        let line = format!("{}needle{}", "ä".repeat(1000), "ö".repeat(1000));
        let hit = &all(&plain("needle"), &line)[0];
        assert_eq!((hit.column, hit.is_cut), (1001, true));
        assert_eq!(written(hit), format!("{}[needle]{}", "ä".repeat(50), "ö".repeat(147)));
        let many = &all(&plain("a"), &"a ".repeat(100))[0];
        assert_eq!((many.parts.iter().filter(|part| part.is_match).count(), many.is_cut), (20, false));
        let far = format!("{}needle", "x".repeat(MAX_LINE_BYTES));
        assert_eq!((all(&plain("needle"), &far).len(), all(&regex("needle"), &far).len()), (1, 0));
    }

    #[test]
    fn a_search_stops_and_goes_on() {
        let text = format!("hit\n{}hit\nhit\n", format!("{}\n", "x".repeat(STEP_BYTES)).repeat(3));
        let pattern = plain("hit");
        let mut hits = Vec::new();
        let scan = |after, max| Scan { pattern: &pattern, context: 0, after, max };
        assert_eq!(scan(0, 9).text(&text, || true, &mut hits), Progress::Line(2));
        assert_eq!(scan(2, 9).text(&text, || true, &mut hits), Progress::Line(3));
        assert_eq!(scan(3, 2).text(&text, || false, &mut hits), Progress::Line(5));
        assert_eq!(scan(5, 9).text(&text, || false, &mut hits), Progress::End);
        assert_eq!(hits.iter().map(|hit| hit.line).collect::<Vec<_>>(), [1, 5, 6]);
    }

    proptest! {
        #[test]
        fn parts_are_the_line(line in "[abü ]{0,600}", query in "[abü]{1,3}") {
            if let Some(hit) = hit(&plain(&query), &line) {
                let text: String = hit.parts.iter().map(|part| part.text.as_str()).collect();
                prop_assert!(text.len() <= MAX_SHOWN_BYTES && line.contains(&text));
                prop_assert_eq!(hit.is_cut, text.len() < line.len());
                prop_assert!(hit.parts.iter().any(|part| part.is_match));
                prop_assert!(line.chars().skip(hit.column as usize - 1).collect::<String>().to_lowercase().starts_with(&query));
            } else {
                prop_assert!(!line.contains(&query));
            }
        }
    }
}
