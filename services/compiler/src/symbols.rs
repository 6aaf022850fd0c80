//! Symbols and imports of a text, with their lines and limits. What reads a language notes them.

use std::{collections::HashSet, ops::Range};

use compiler_client::message::outline::{FileOutline, MAX_ITEMS, MAX_NAME, OutlineImport, Symbol, SymbolKind};

use crate::text::Text;

/// Symbols and imports, in any order.
pub(crate) struct Found<'t> {
    lines: Text<'t>,
    /// Where the part begins whose offsets are used.
    start: usize,
    symbols: Vec<(usize, Symbol)>,
    imports: Vec<(usize, OutlineImport)>,
}

impl<'t> Found<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { lines: Text::new(text), start: 0, symbols: Vec::new(), imports: Vec::new() }
    }

    /// Offsets that follow are those of a part of the text that begins here.
    pub(crate) fn begin_part(&mut self, start: usize) {
        self.start = start;
    }

    /// Notes a symbol by the bytes of its declaration. Returns its number.
    pub(crate) fn add(&mut self, kind: SymbolKind, name: &str, bytes: Range<usize>, is_exported: bool) -> usize {
        let (first, last) = (self.start + bytes.start, self.start + bytes.end.saturating_sub(1).max(bytes.start));
        let symbol = Symbol {
            kind: kind.into(),
            name: clipped(name),
            first_line: self.lines.line_at(first),
            last_line: self.lines.line_at(last),
            is_exported,
        };
        self.symbols.push((first, symbol));
        self.symbols.len() - 1
    }

    /// The declaration of a symbol ends at a byte.
    pub(crate) fn end(&mut self, symbol: usize, offset: usize) {
        if let Some((_, symbol)) = self.symbols.get_mut(symbol) {
            symbol.last_line = self.lines.line_at(self.start + offset);
        }
    }

    pub(crate) fn import(&mut self, specifier: &str, offset: usize) {
        let offset = self.start + offset;
        self.imports.push((offset, OutlineImport { specifier: clipped(specifier), line: self.lines.line_at(offset) }));
    }

    /// The outline, as far as it has room.
    pub(crate) fn finish(self, language: &str) -> FileOutline {
        let Self { mut symbols, mut imports, .. } = self;
        symbols.retain(|(_, symbol)| !symbol.name.is_empty());
        symbols.sort_by_key(|(offset, _)| *offset);
        imports.sort_by_key(|(offset, _)| *offset);
        let mut seen = HashSet::new();
        imports.retain(|(_, import)| !import.specifier.is_empty() && seen.insert(import.specifier.clone()));
        FileOutline {
            id: String::new(),
            language: language.to_owned(),
            symbols: symbols.into_iter().take(MAX_ITEMS).map(|(_, symbol)| symbol).collect(),
            imports: imports.into_iter().take(MAX_ITEMS).map(|(_, import)| import).collect(),
        }
    }
}

/// One line without its ends, cut at the limit.
fn clipped(name: &str) -> String {
    let plain = name.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(MAX_NAME).collect()
}
