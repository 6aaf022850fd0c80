//! Describes the differences between a text and the most similar lines that are hard to see.

use super::form::{Form, NormalizedText};

/// How many differences are described.
const MAX_DIFFERENCES: usize = 3;
/// How much of a difference is shown.
const MAX_CHARS: usize = 20;
/// The longest run of look-alike characters that counts as a hidden difference.
const ALIKE: usize = 3;

/// Descriptions such as "line 3 has a tab where old_text has 4 spaces", for the lines from `first` on, counted from 1.
pub(super) fn all(file: &str, old_text: &str, first: u32) -> Vec<String> {
    let Some(skipped) = (first as usize).checked_sub(1) else { return Vec::new() };
    let lines = (first..).zip(file.lines().skip(skipped)).zip(old_text.lines());
    let different = lines.filter_map(|((number, there), wanted)| {
        let (there, wanted) = (NormalizedText::new(there, Form::LETTERS, true).text, NormalizedText::new(wanted, Form::LETTERS, true).text);
        let (a, b) = middles(&there, &wanted);
        let subtle = loose(&there) == loose(&wanted) || looks_alike(&a, &b);
        (there != wanted && subtle).then(|| format!("line {number} has {} where old_text has {}", named(&a), named(&b)))
    });
    different.take(MAX_DIFFERENCES).collect()
}

/// The parts in which two lines differ. If they are white space, the complete runs of white space.
fn middles(a: &str, b: &str) -> (String, String) {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut first = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let most = a.len().min(b.len()) - first;
    let mut last = a.iter().rev().zip(b.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let middles = [&a[first..a.len() - last], &b[first..b.len() - last]];
    if middles.iter().all(|middle| middle.iter().all(|c| c.is_whitespace())) {
        first -= a[..first].iter().rev().take_while(|c| c.is_whitespace()).count();
        last -= a[a.len() - last..].iter().take_while(|c| c.is_whitespace()).count();
    }
    (a[first..a.len() - last].iter().collect(), b[first..b.len() - last].iter().collect())
}

/// A line without the characters that are easily overlooked.
fn loose(line: &str) -> String {
    let shown = line.chars().filter(|c| !c.is_whitespace() && !matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}'));
    let plain = shown.flat_map(|c| match c {
        '\u{2010}'..='\u{2015}' | '\u{2212}' => vec!['-'],
        '\u{2026}' => vec!['.'; 3],
        c => c.to_lowercase().collect(),
    });
    plain.collect()
}

/// Whether a few letters are replaced by as many letters of another script.
fn looks_alike(a: &str, b: &str) -> bool {
    let count = a.chars().count();
    (1..=ALIKE).contains(&count) && count == b.chars().count() && a.is_ascii() != b.is_ascii()
}

fn named(text: &str) -> String {
    let several = |one: &str, many: &str| match text.chars().count() {
        1 => one.to_owned(),
        n => format!("{n} {many}"),
    };
    if text.is_empty() {
        return "nothing".to_owned();
    }
    if text.chars().all(|c| c == ' ') {
        return several("a space", "spaces");
    }
    if text.chars().all(|c| c == '\t') {
        return several("a tab", "tabs");
    }
    let shown: String = text.chars().take(MAX_CHARS).collect();
    let codes: Vec<_> = shown.chars().filter(|c| !c.is_ascii()).map(|c| format!("U+{:04X}", u32::from(c))).collect();
    if codes.is_empty() { format!("{shown:?}") } else { format!("{shown:?} ({})", codes.join(" ")) }
}
