//! NormalizedText forms of a text, which ignore differences that a model cannot see or does not copy, with a map back to the original text.

use std::ops::Range;

use unicode_normalization::{IsNormalized, UnicodeNormalization as _, char::canonical_combining_class, is_nfc_quick};

/// A kind of difference that a form may ignore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variation {
    /// CRLF, LF, CR.
    Breaks,
    /// Spaces and tabs at the ends of lines.
    Blanks,
    /// Byte order marks and other characters without width.
    Unseen,
    /// No-break spaces and others that are not U+0020.
    Spaces,
    /// Typographic quotes.
    Quotes,
    /// NFC and NFD.
    Composition,
    /// Tabs in the indentation, each equal to a number of spaces.
    Tabs,
}

impl Variation {
    pub(super) const ALL: [Self; 7] = [Self::Breaks, Self::Blanks, Self::Unseen, Self::Spaces, Self::Quotes, Self::Composition, Self::Tabs];

    /// The name of the difference in messages.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Breaks => "line endings",
            Self::Blanks => "blanks at the ends of lines",
            Self::Unseen => "characters without width",
            Self::Spaces => "kinds of spaces",
            Self::Quotes => "kinds of quotes",
            Self::Composition => "Unicode forms of letters",
            Self::Tabs => "tabs and spaces of the indentation",
        }
    }
}

/// A set of ignored variations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    variations: u8,
    /// The number of spaces that equal a tab.
    pub(super) tab: usize,
}

impl Form {
    /// Ignores everything except tabs.
    pub(super) const LETTERS: Self = Self::of(&Variation::ALL).without(Variation::Tabs);

    /// The forms by level, the strictest level first. The forms of one level are tried together.
    pub(super) fn levels() -> [Vec<Self>; 4] {
        let breaks = Self::of(&[Variation::Breaks]);
        let blanks = Self::of(&[Variation::Breaks, Variation::Blanks, Variation::Unseen]);
        let tabs = [4, 2, 8, 3].map(|tab| Self { tab, ..Self::of(&Variation::ALL) });
        [vec![breaks], vec![blanks], vec![Self::LETTERS], tabs.to_vec()]
    }

    const fn of(variations: &[Variation]) -> Self {
        let (mut set, mut at) = (0, 0);
        while at < variations.len() {
            set |= 1 << variations[at] as u8;
            at += 1;
        }
        Self { variations: set, tab: 0 }
    }

    pub(super) const fn has(self, variation: Variation) -> bool {
        self.variations & (1 << variation as u8) != 0
    }

    pub(super) const fn without(self, variation: Variation) -> Self {
        Self { variations: self.variations & !(1 << variation as u8), tab: self.tab }
    }
}

/// A text in a normal form.
#[derive(Debug)]
pub(super) struct NormalizedText<'a> {
    pub(super) source: &'a str,
    pub(super) text: String,
    units: Vec<Unit>,
    /// Trailing blanks were ignored, so the text ends at the end of a line.
    pub(super) ends_a_line: bool,
}

/// A character of the normal form: its position there, and the bytes of the source that it stands for. Ignored bytes belong to no unit.
#[derive(Debug, Clone, Copy)]
struct Unit {
    at: usize,
    from: usize,
    to: usize,
}

impl<'a> NormalizedText<'a> {
    /// `line_start` says whether the text starts at the beginning of a line.
    pub(super) fn new(source: &'a str, form: Form, line_start: bool) -> Self {
        let normal = Self { source, text: String::with_capacity(source.len()), units: Vec::new(), ends_a_line: false };
        let mut builder = Builder { form, normal, blanks: Vec::new(), indents: line_start };
        let mut at = 0;
        while let Some(c) = source[at..].chars().next() {
            at = builder.take(c, at);
        }
        builder.end()
    }

    /// Adds a missing line break at the end, which stands for no byte of the source.
    pub(super) fn close(&mut self) {
        if !self.text.ends_with('\n') {
            self.push('\n', self.source.len(), self.source.len());
        }
    }

    fn push(&mut self, c: char, from: usize, to: usize) {
        self.units.push(Unit { at: self.text.len(), from, to });
        self.text.push(c);
    }

    pub(super) fn len(&self) -> usize {
        self.units.len()
    }

    /// The unit at a byte position of the normal form.
    pub(super) fn unit_at(&self, at: usize) -> usize {
        self.units.partition_point(|unit| unit.at < at)
    }

    /// The normal form of a range of units.
    pub(super) fn form_of(&self, from: usize, to: usize) -> &str {
        let at = |unit: usize| self.units.get(unit).map_or(self.text.len(), |unit| unit.at);
        &self.text[at(from)..at(to)]
    }

    /// Whether the source can be cut before a unit.
    pub(super) fn is_cut(&self, unit: usize) -> bool {
        unit == 0 || unit >= self.len() || self.units[unit - 1].from != self.units[unit].from
    }

    /// Whether a byte position of the source is not inside of a letter with combining characters.
    pub(super) fn is_between_letters(&self, at: usize) -> bool {
        self.source[at..].chars().next().is_none_or(stands_alone)
    }

    pub(super) fn begins_a_line(&self, unit: usize) -> bool {
        unit == 0 || self.form_of(unit - 1, unit) == "\n"
    }

    /// The bytes of a range of units in the source, without ignored bytes before and after them.
    pub(super) fn bytes(&self, from: usize, to: usize) -> Range<usize> {
        if from >= to {
            let at = self.units.get(from).map_or(self.source.len(), |unit| unit.from);
            return at..at;
        }
        self.units[from].from..self.units[to - 1].to
    }

    /// The ignored bytes before a unit.
    pub(super) fn gap(&self, unit: usize) -> &str {
        let start = if unit == 0 { 0 } else { self.units[unit - 1].to };
        &self.source[start..self.units.get(unit).map_or(self.source.len(), |unit| unit.from)]
    }
}

struct Builder<'a> {
    form: Form,
    normal: NormalizedText<'a>,
    /// Blanks that may end the line.
    blanks: Vec<(char, usize, usize)>,
    /// Only blanks stand before in the line.
    indents: bool,
}

impl<'a> Builder<'a> {
    /// Takes a character, or several that are one; gives where the next one begins.
    fn take(&mut self, c: char, at: usize) -> usize {
        let source = self.normal.source;
        let mut end = at + c.len_utf8();
        match c {
            '\n' | '\r' if c == '\n' || self.form.has(Variation::Breaks) => {
                if c == '\r' && source[end..].starts_with('\n') {
                    end += 1;
                }
                self.line_ends();
                self.normal.push('\n', at, end);
                self.indents = true;
            }
            '\u{feff}' | '\u{200b}' | '\u{2060}' if self.form.has(Variation::Unseen) => {}
            ' ' | '\t' => self.blanks.push((c, at, end)),
            _ if self.form.has(Variation::Spaces) && is_space(c) => self.blanks.push((' ', at, end)),
            _ => {
                self.blanks_stay();
                self.indents = false;
                if self.form.has(Variation::Composition) {
                    end += source[end..].find(stands_alone).unwrap_or(source.len() - end);
                    source[at..end].nfc().for_each(|c| self.letter(c, at, end));
                } else {
                    self.letter(c, at, end);
                }
            }
        }
        end
    }

    fn letter(&mut self, c: char, from: usize, to: usize) {
        let c = match c {
            '\u{2018}'..='\u{201b}' if self.form.has(Variation::Quotes) => '\'',
            '\u{201c}'..='\u{201f}' if self.form.has(Variation::Quotes) => '"',
            _ => c,
        };
        self.normal.push(c, from, to);
    }

    fn blanks_stay(&mut self) {
        for (c, from, to) in std::mem::take(&mut self.blanks) {
            if c == '\t' && self.indents && self.form.has(Variation::Tabs) {
                (0..self.form.tab).for_each(|_| self.normal.push(' ', from, to));
            } else {
                self.normal.push(c, from, to);
            }
        }
    }

    /// Returns whether trailing blanks were ignored.
    fn line_ends(&mut self) -> bool {
        if !self.form.has(Variation::Blanks) {
            self.blanks_stay();
        }
        !std::mem::take(&mut self.blanks).is_empty()
    }

    fn end(mut self) -> NormalizedText<'a> {
        self.normal.ends_a_line = self.line_ends();
        self.normal
    }
}

/// A space that is not U+0020.
fn is_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// Whether normalization never combines a character with the one before it.
fn stands_alone(c: char) -> bool {
    c.is_ascii() || (canonical_combining_class(c) == 0 && is_nfc_quick(std::iter::once(c)) != IsNormalized::Maybe)
}
