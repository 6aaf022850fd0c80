//! Places in texts, and findings at them.

use crate::message::{Finding, Place};

/// The characters of a line that are shown.
const MAX_LINE: usize = 160;
/// The lines before and after the line of a finding.
const NEIGHBOURS: usize = 2;
const MAX_MESSAGE: usize = 500;
/// The bytes of a block. A minified file has a hundred thousand places in one line, so a column must not be counted from the start of the line.
const BLOCK: usize = 256;

/// A text with the offsets of its lines.
#[derive(Debug)]
pub struct Text<'t> {
    text: &'t str,
    starts: Vec<usize>,
    /// The number of characters before each block.
    before_block: Vec<usize>,
}

impl<'t> Text<'t> {
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut characters = 0;
        let blocks = text.as_bytes().chunks(BLOCK).map(|block| {
            characters += characters_of(block);
            characters
        });
        let before_block = std::iter::once(0).chain(blocks).collect();
        Self { text, starts, before_block }
    }

    /// The text before a byte. `None` if the byte is inside of a character, or after the end.
    #[must_use]
    pub fn before(&self, offset: usize) -> Option<&'t str> {
        self.text.get(..offset)
    }

    /// The place of a byte. A byte after the end is at the end.
    #[must_use]
    pub fn place(&self, offset: usize) -> Place {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let column = self.characters_before(offset) - self.characters_before(self.starts[line - 1]) + 1;
        Place { line: count(line), column: count(column), text: self.line(line) }
    }

    fn characters_before(&self, offset: usize) -> usize {
        let block = offset / BLOCK;
        self.before_block[block] + characters_of(&self.text.as_bytes()[block * BLOCK..offset])
    }

    /// The line of a byte, from 1. It is found without reading the line.
    #[must_use]
    pub fn line_at(&self, offset: usize) -> u32 {
        count(self.starts.partition_point(|start| *start <= offset).max(1))
    }

    /// The place of a line and a column, both from 1.
    #[must_use]
    pub fn place_at(&self, line: u32, column: u32) -> Place {
        let line = (line as usize).clamp(1, self.starts.len());
        Place { line: count(line), column: column.max(1), text: self.line(line) }
    }

    /// A line from 1, clipped.
    fn line(&self, line: usize) -> String {
        let start = self.starts[line - 1];
        let end = self.starts.get(line).map_or(self.text.len(), |next| next - 1);
        self.text[start..end].trim_end_matches('\r').chars().take(MAX_LINE).collect()
    }

    /// The lines around a place, with a mark.
    fn frame(&self, place: &Place) -> String {
        let at = place.line as usize;
        let lines = at.saturating_sub(NEIGHBOURS).max(1)..=(at + NEIGHBOURS).min(self.starts.len());
        lines.map(|line| framed(line, &self.line(line), (line == at).then_some(place.column))).collect()
    }

    /// A finding with the lines around its place.
    #[must_use]
    pub fn finding(&self, code: &str, file: &str, place: &Place, message: &str) -> Finding {
        Finding { frame: self.frame(place), ..finding(code, file, place, message) }
    }
}

/// A finding whose frame is only the line of the place.
#[must_use]
pub fn finding(code: &str, file: &str, place: &Place, message: &str) -> Finding {
    let frame = if place.text.is_empty() { String::new() } else { framed(place.line as usize, &place.text, Some(place.column)) };
    let message = message.chars().take(MAX_MESSAGE).collect();
    Finding {
        code: code.to_owned(),
        file: file.to_owned(),
        line: place.line,
        column: place.column,
        message,
        frame,
        help: String::new(),
        is_warning: false,
    }
}

/// The start of a file.
#[must_use]
pub fn start() -> Place {
    Place { line: 1, column: 1, text: String::new() }
}

fn framed(number: usize, line: &str, column: Option<u32>) -> String {
    let mark = if column.is_some() { '>' } else { ' ' };
    let mut framed = format!("{mark} {number:>4} | {line}\n");
    if let Some(column) = column.map(|column| column as usize).filter(|column| *column <= MAX_LINE) {
        // Tabs stay tabs, so that the mark is below its character.
        let pad: String = line.chars().chain(std::iter::repeat(' ')).take(column - 1).map(|c| if c == '\t' { c } else { ' ' }).collect();
        framed.push_str(&format!("       | {pad}^\n"));
    }
    framed
}

/// The number of characters that begin in these bytes of UTF-8.
fn characters_of(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| (**byte & 0b1100_0000) != 0b1000_0000).count()
}

fn count(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        let text = Text::new("one\n\tzwö drei\r\nlast");
        let at = |offset| {
            let place = text.place(offset);
            (place.line, place.column)
        };
        assert_eq!([at(0), at(3), at(4), at(10), at(17), at(999)], [(1, 1), (1, 4), (2, 1), (2, 6), (3, 2), (3, 5)]);
        assert_eq!(at(8), (2, 4), "inside of a character");
        assert_eq!([0, 3, 4, 15, 16, 999].map(|offset| text.line_at(offset)), [1, 1, 2, 2, 3, 3]);
        assert_eq!(text.place(5).text, "\tzwö drei");
        assert_eq!(text.place_at(9, 0), text.place_at(3, 1));
    }

    /// Counted from the start of the line, these would be 10^11 characters.
    #[test]
    fn a_long_line_has_many_places() {
        let long = "aö€😀".repeat(100_000);
        let text = Text::new(&long);
        for (at, (offset, _)) in long.char_indices().enumerate() {
            let place = text.place(offset);
            assert_eq!((place.line, place.column), (1, count(at) + 1));
        }
        assert_eq!(text.place(long.len()).column, 400_001);
    }

    #[test]
    fn a_frame_has_its_neighbours_and_a_mark() {
        let text = Text::new("a\nb\n\tc d\ne\nf\ng");
        let found = text.finding("CODE", "x.ts", &text.place(7), "message");
        assert_eq!(found.frame, "     1 | a\n     2 | b\n>    3 | \tc d\n       | \t  ^\n     4 | e\n     5 | f\n");
        let long = "x".repeat(1000);
        let text = Text::new(&long);
        assert!(text.finding("CODE", "x.ts", &text.place(900), "message").frame.len() < 200);
    }
}
