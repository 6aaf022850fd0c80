//! Nested rules without nesting, as `postcss-nested` writes them: `&` is the text of the selector around it, so that `&__title` is a name.

use std::ops::Range;

use super::balance::{is_plain_url, string_end};

/// At rules that stay around the rules in them.
const AROUND: [&str; 7] = ["media", "supports", "layer", "container", "starting-style", "scope", "document"];
/// The most selectors of one rule.
const MAX_SELECTORS: usize = 2_000;
/// The most bytes of the rules, and of all selectors.
const MAX_TEXT: usize = 8 << 20;
/// How far the block is from an `&` in its selector.
const MAX_SELECTOR: usize = 1_000;

/// The first `&` that is joined with the text after it. `only_marks`: only one before `-` or `_`, with which no element begins.
pub(super) fn first_joined(text: &str, only_marks: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let is_joined = |byte: &u8| b"-_".contains(byte) || !only_marks && (byte.is_ascii_alphanumeric() || !byte.is_ascii());
    // In a value it is only a sign.
    let is_in_selector = |at: usize| bytes[at..].iter().take(MAX_SELECTOR).find(|byte| b"{;}".contains(byte)) == Some(&b'{');
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'&' && bytes.get(at + 1).is_some_and(is_joined) && is_in_selector(at) {
            return Some(at);
        }
        at = step(text, at);
    }
    None
}

/// The rules without nesting. `None` if they would be too large. All brackets, strings and comments of the text are closed.
pub(super) fn flattened(text: &str) -> Option<String> {
    let mut writer = Writer::default();
    writer.write(&without_comments(text), &[])?;
    Some(writer.written)
}

#[derive(Default)]
struct Writer {
    written: String,
    /// Bytes of selectors.
    merged: usize,
}

impl Writer {
    fn write(&mut self, body: &str, selectors: &[String]) -> Option<()> {
        let mut own = String::new();
        for Item { prelude, body, .. } in items(body) {
            let prelude = prelude.trim();
            let Some(inner) = body else {
                if !prelude.is_empty() {
                    own.extend([prelude, ";"]);
                }
                continue;
            };
            // The value of a variable can be a block.
            if prelude.starts_with("--") {
                own.extend([prelude, "{", inner, "};"]);
                continue;
            }
            end_rule(&mut own, selectors, &mut self.written);
            match prelude.strip_prefix('@') {
                Some(rule) if AROUND.contains(&name(rule)) => {
                    self.written.extend([prelude, "{\n"]);
                    self.write(inner, selectors)?;
                    self.written.push_str("}\n");
                }
                Some(_) => self.written.extend([prelude, "{", inner, "}\n"]),
                None => {
                    let merged = merged(selectors, prelude)?;
                    self.merged += merged.iter().map(String::len).sum::<usize>();
                    self.write(inner, &merged)?;
                }
            }
            if self.written.len() > MAX_TEXT || self.merged > MAX_TEXT {
                return None;
            }
        }
        end_rule(&mut own, selectors, &mut self.written);
        Some(())
    }
}

/// The name at the start of an at rule.
fn name(rule: &str) -> &str {
    rule.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default()
}

/// Writes declarations as a rule of their own, and statements outside of rules as they are.
fn end_rule(own: &mut String, selectors: &[String], written: &mut String) {
    if own.is_empty() {
        return;
    }
    if selectors.is_empty() {
        written.extend([own.as_str(), "\n"]);
    } else {
        written.extend([selectors.join(",\n").as_str(), " {", own.as_str(), "}\n"]);
    }
    own.clear();
}

/// Each selector around a rule with each of its own. `None` if they are too many or too long.
fn merged(around: &[String], own: &str) -> Option<Vec<String>> {
    let own: Vec<_> = parts(own, b',').into_iter().map(str::trim).filter(|selector| !selector.is_empty()).collect();
    if around.is_empty() {
        return Some(own.into_iter().map(str::to_owned).collect());
    }
    if around.len() * own.len() > MAX_SELECTORS {
        return None;
    }
    let (mut all, mut bytes) = (Vec::new(), 0);
    for outer in around {
        for selector in &own {
            let pieces = parts(selector, b'&');
            bytes += pieces.len() * outer.len() + selector.len();
            if bytes > MAX_TEXT {
                return None;
            }
            all.push(if pieces.len() == 1 { format!("{outer} {selector}") } else { pieces.join(outer.as_str()) });
        }
    }
    Some(all)
}

/// The parts of a selector between a sign. A comma in brackets does not count, an `&` does.
fn parts(text: &str, sign: u8) -> Vec<&str> {
    let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        let byte = text.as_bytes()[at];
        if byte == sign {
            parts.push(&text[start..at]);
            start = at + 1;
        }
        at = if sign == b'&' { step(text, at) } else { after(text, at) };
    }
    parts.push(&text[start..]);
    parts
}

/// A statement, or a block with what is before it.
pub(super) struct Item<'t> {
    pub(super) prelude: &'t str,
    pub(super) body: Option<&'t str>,
    /// With the end.
    pub(super) range: Range<usize>,
}

pub(super) fn items(text: &str) -> Vec<Item<'_>> {
    let (mut items, mut start, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        let end = after(text, at);
        match text.as_bytes()[at] {
            b';' => items.push(Item { prelude: &text[start..at], body: None, range: start..end }),
            b'{' => {
                let body = text.get(at + 1..end.saturating_sub(1));
                items.push(Item { prelude: &text[start..at], body, range: start..end });
            }
            _ => {
                at = end;
                continue;
            }
        }
        (start, at) = (end, end);
    }
    items.push(Item { prelude: text.get(start..).unwrap_or_default(), body: None, range: start..text.len().max(start) });
    items
}

/// The text with a space for each comment.
pub(super) fn without_comments(text: &str) -> String {
    let (mut plain, mut start, mut at) = (String::with_capacity(text.len()), 0, 0);
    while at < text.len() {
        let end = step(text, at);
        if text.as_bytes()[at..].starts_with(b"/*") {
            plain.extend([&text[start..at], " "]);
            start = end;
        }
        at = end;
    }
    plain + &text[start..]
}

/// The end of a string, a comment, an escape or a plain address; else of the byte.
fn step(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    match bytes[at] {
        b'\\' => at + 2,
        b'/' if bytes.get(at + 1) == Some(&b'*') => text[at + 2..].find("*/").map_or(text.len(), |end| at + end + 4),
        quote @ (b'"' | b'\'') => string_end(bytes, at + 1, quote).map_or(text.len(), |end| end + 1),
        b'(' if is_plain_url(bytes, at) => text[at..].find(')').map_or(text.len(), |end| at + end + 1),
        _ => at + 1,
    }
}

/// As [`step`], and the end of a bracket with all that is in it.
fn after(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, at);
    while at < bytes.len() {
        let next = step(text, at);
        if next == at + 1 {
            match bytes[at] {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        if depth == 0 {
            return next;
        }
        at = next;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_rules_are_written_as_postcss_nested_writes_them() {
        for (text, expected) in [
            (".a { color: red; &__b { c: d } }", ".a {color: red;}\n.a__b {c: d;}\n"),
            (".a, .b { &-c, .d & { e: f } g: h }", ".a-c,\n.d .a,\n.b-c,\n.d .b {e: f;}\n.a,\n.b {g: h;}\n"),
            (".a { > b { c: d } & + & { e: f } }", ".a > b {c: d;}\n.a + .a {e: f;}\n"),
            (".a { @media print { b: c; &-d { e: f } } }", "@media print{\n.a {b: c;}\n.a-d {e: f;}\n}\n"),
            ("@import 'x;{'; @media all { .a { &b { c: d } } }", "@import 'x;{';\n@media all{\n.ab {c: d;}\n}\n"),
            (".a { &:not(&-b, .c) { d: e } }", ".a:not(.a-b, .c) {d: e;}\n"),
            ("@keyframes x { from { a: b } } .a { /* { */ b: url(c;d) }", "@keyframes x{ from { a: b } }\n.a {b: url(c;d);}\n"),
            (".a { --x: { b: c }; &_d { e: '&_f' } }", ".a {--x:{ b: c };}\n.a_d {e: '&_f';}\n"),
            (".\u{e9}\\& { &-b { c: d } }", ".\u{e9}\\&-b {c: d;}\n"),
            ("", ""),
        ] {
            assert_eq!(flattened(text).as_deref(), Some(expected), "{text}");
        }
        let doubled = format!(".a {{ {} b: c {} }}", "& & {".repeat(90), "}".repeat(90));
        assert_eq!(flattened(&doubled), None);
    }

    #[test]
    fn only_a_name_after_an_ampersand_is_joined() {
        for (text, any, marks) in [
            (".a { &__b {} }", true, true),
            (".a { &-b, .c {} }", true, true),
            (".a { &b {} }", true, false),
            (".a { &.b {} &:hover {} & b {} &[c] {} }", false, false),
            (".a { b: '&-c'; d: url(?a&-b) } /* &-c {} */", false, false),
            (".a { --b: x&-y; }", false, false),
        ] {
            assert_eq!((first_joined(text, false).is_some(), first_joined(text, true).is_some()), (any, marks), "{text}");
        }
    }
}
