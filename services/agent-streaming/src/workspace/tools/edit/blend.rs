//! Converts the new text of a place to the file's own form, so that unchanged parts keep the bytes of the file.

use std::borrow::Cow;

use super::{
    form::NormalizedText,
    place::{Indentation, SimilarPlace},
};

/// The new text for an exact match. It gets the line breaks of the old text if that has only one kind, and those of the file if the old
/// text has none. A new text that has carriage returns or changes only line breaks stays unchanged.
pub(super) fn inserted(file: &str, old_text: &str, new_text: &str) -> String {
    if new_text.contains('\r') || with_breaks(old_text, Some("\n")) == new_text {
        return new_text.to_owned();
    }
    let line_break = if old_text.contains(['\n', '\r']) { only_break_of(old_text) } else { break_of(&[file]) };
    with_breaks(new_text, line_break).into_owned()
}

/// The new text for a match in a normal form.
pub(super) fn replacement(near: &SimilarPlace<'_>, new_text: &str) -> String {
    let new_text = with_breaks(new_text, break_of(&[near.text(), near.file.source]));
    let new_text = indented(&new_text, near.indentation, near.form.tab, near.begins_a_line());
    join(near, &NormalizedText::new(&new_text, near.form, near.begins_a_line()))
}

/// The line ending of the first text that has only one kind, or else the most frequent one of the last text. `None` if there is none.
fn break_of(texts: &[&str]) -> Option<&'static str> {
    let most = || texts.last().and_then(|text| breaks(text).into_iter().reduce(|a, b| if b.0 > a.0 { b } else { a }));
    let only = texts.iter().find_map(|text| only_break_of(text));
    only.or_else(|| most().filter(|(count, _)| *count > 0).map(|(_, most)| most))
}

/// The line ending of a text, if it has exactly one kind.
fn only_break_of(text: &str) -> Option<&'static str> {
    let kinds: Vec<_> = breaks(text).into_iter().filter(|(count, _)| *count > 0).collect();
    if let [(_, only)] = kinds[..] { Some(only) } else { None }
}

/// The number of each line ending in a text.
fn breaks(text: &str) -> [(usize, &'static str); 3] {
    let crlf = text.matches("\r\n").count();
    [(text.matches('\n').count() - crlf, "\n"), (crlf, "\r\n"), (text.matches('\r').count() - crlf, "\r")]
}

fn with_breaks<'t>(text: &'t str, line_break: Option<&str>) -> Cow<'t, str> {
    let Some(line_break) = line_break.filter(|_| text.contains(['\n', '\r'])) else { return Cow::Borrowed(text) };
    Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', line_break))
}

/// Converts the indentation of all lines to tabs or to spaces.
fn indented(text: &str, indentation: Indentation, tab: usize, line_start: bool) -> String {
    if indentation == Indentation::Same {
        return text.to_owned();
    }
    let mut out = String::new();
    for (number, line) in text.split_inclusive(['\n', '\r']).enumerate() {
        let rest = line.trim_start_matches([' ', '\t']);
        let indent = &line[..line.len() - rest.len()];
        let width: usize = indent.chars().map(|c| if c == '\t' { tab } else { 1 }).sum();
        match indentation {
            _ if number == 0 && !line_start => out.push_str(indent),
            Indentation::Tabs => out.push_str(&("\t".repeat(width / tab) + &" ".repeat(width % tab))),
            Indentation::Spaces | Indentation::Same => out.push_str(&" ".repeat(width)),
        }
        out.push_str(rest);
    }
    out
}

/// Takes the bytes of the file for the beginning, the end and all lines that are equal in the normal form, and otherwise those of the new
/// text.
fn join(near: &SimilarPlace<'_>, new: &NormalizedText<'_>) -> String {
    let (file, old) = (&near.file, &near.units);
    let same = |a: usize, b: usize| file.form_of(a, a + 1) == new.form_of(b, b + 1);
    let most = old.len().min(new.len());
    let mut first = (0..most).take_while(|n| same(old.start + n, *n)).count();
    while !(file.is_cut(old.start + first) && new.is_cut(first)) {
        first -= 1;
    }
    let mut last = (0..most - first).take_while(|n| same(old.end - 1 - n, new.len() - 1 - n)).count();
    while !(file.is_cut(old.end - last) && new.is_cut(new.len() - last)) {
        last -= 1;
    }
    let mut out = file.source[file.bytes(old.start, old.start + first)].to_owned();
    let mut kept = lines(file, old.start + first, old.end - last).into_iter();
    for (from, to) in lines(new, first, new.len() - last) {
        let mut rest = kept.clone();
        match rest.find(|(a, b)| file.form_of(*a, *b) == new.form_of(from, to) && to - from > 1) {
            Some((a, b)) => {
                out.push_str(&file.source[file.bytes(a, b)]);
                kept = rest;
            }
            None => {
                out.push_str(new.gap(from));
                out.push_str(&new.source[new.bytes(from, to)]);
            }
        }
    }
    if first + last < new.len() {
        out.push_str(new.gap(new.len() - last));
    }
    out.push_str(&file.source[file.bytes(old.end - last, old.end)]);
    out
}

/// The lines in a range of units, each with its line break.
fn lines(normal: &NormalizedText<'_>, from: usize, to: usize) -> Vec<(usize, usize)> {
    let mut lines = Vec::new();
    let mut start = from;
    for unit in from..to {
        if normal.form_of(unit, unit + 1) == "\n" {
            lines.push((start, unit + 1));
            start = unit + 1;
        }
    }
    if start < to {
        lines.push((start, to));
    }
    lines
}
