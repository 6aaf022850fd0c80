//! Classes of style sheets in CSS and SCSS. A scan of brackets, strings and comments is enough for it, and reads broken sheets, too.

use std::collections::HashSet;

use compiler_client::message::outline::SymbolKind;

use crate::symbols::Found;

/// Notes each class with the first rule that has it.
pub(super) fn read(text: &str, is_scss: bool, found: &mut Found) {
    let mut scan = Scan::default();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let next = bytes.get(at + 1);
        let is_line_comment = is_scss && next == Some(&b'/') && (at == 0 || bytes[at - 1] != b':');
        at = match byte {
            b'/' if next == Some(&b'*') => after(text, at + 2, "*/"),
            b'/' if is_line_comment => after(text, at, "\n"),
            b'"' | b'\'' => after_string(bytes, at),
            b'#' if is_scss && next == Some(&b'{') => after(text, at, "}"),
            b'.' => {
                let end = name_end(bytes, at + 1);
                scan.candidate(&text[at + 1..end], at);
                end
            }
            b'{' => {
                scan.open(at, found);
                at + 1
            }
            b'}' => {
                scan.close(at, found);
                at + 1
            }
            byte => {
                scan.pass(*byte);
                at + 1
            }
        };
    }
    scan.end(text.len(), found);
}

#[derive(Default)]
struct Scan<'t> {
    /// Classes since the last rule or declaration, with their offsets.
    candidates: Vec<(&'t str, usize)>,
    /// Whether something other than white space came since then, and whether it began with `@`.
    has_begun: bool,
    is_at_rule: bool,
    seen: HashSet<&'t str>,
    /// The symbols that each open block ends.
    blocks: Vec<Vec<usize>>,
}

impl<'t> Scan<'t> {
    fn candidate(&mut self, name: &'t str, at: usize) {
        self.has_begun = true;
        // `.5em` is no class.
        if name.starts_with(|c: char| !c.is_ascii_digit()) {
            self.candidates.push((name, at));
        }
    }

    fn pass(&mut self, byte: u8) {
        if byte == b';' {
            self.reset();
        } else if !byte.is_ascii_whitespace() && !self.has_begun {
            self.has_begun = true;
            self.is_at_rule = byte == b'@';
        }
    }

    fn open(&mut self, at: usize, found: &mut Found) {
        let classes = std::mem::take(&mut self.candidates).into_iter().filter(|_| !self.is_at_rule);
        let new: Vec<_> = classes.filter(|(name, _)| self.seen.insert(name)).collect();
        let add = |(name, start): (&str, usize)| found.add(SymbolKind::CssClass, &name.replace('\\', ""), start..at, false);
        self.blocks.push(new.into_iter().map(add).collect());
        self.reset();
    }

    fn close(&mut self, at: usize, found: &mut Found) {
        for symbol in self.blocks.pop().unwrap_or_default() {
            found.end(symbol, at);
        }
        self.reset();
    }

    fn end(&mut self, at: usize, found: &mut Found) {
        while !self.blocks.is_empty() {
            self.close(at, found);
        }
    }

    fn reset(&mut self) {
        self.candidates.clear();
        (self.has_begun, self.is_at_rule) = (false, false);
    }
}

/// The offset after the next place of `end`, or the end of the text.
fn after(text: &str, from: usize, end: &str) -> usize {
    text.get(from..).and_then(|rest| rest.find(end)).map_or(text.len(), |at| from + at + end.len())
}

/// The offset after a string that begins here. It ends with its line.
fn after_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'\n' => return at,
            byte if *byte == bytes[start] => return at + 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The end of a name that begins here: letters, digits, `-`, `_`, other characters than those of ASCII, and escaped ones.
fn name_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if bytes.get(at + 1).is_some_and(u8::is_ascii_graphic) => at += 2,
            byte if byte.is_ascii_alphanumeric() || [b'-', b'_'].contains(byte) || *byte >= 0x80 => at += 1,
            _ => break,
        }
    }
    at
}
