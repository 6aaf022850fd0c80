//! Reads inputs from files.

use std::{fs, path::Path};

/// An input with a name for messages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seed {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// The files of a folder, one input each, by name.
///
/// # Panics
/// The folder cannot be read.
#[must_use]
pub fn files(folder: &Path) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry of the corpus").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        seeds.push(Seed { name, bytes: fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())) });
    }
    seeds.sort();
    seeds
}

/// The lines of a text, one input each. A line may have escapes as in Rust: `\0`, `\n`, `\r`, `\t`, `\\`, and `\u{...}`.
///
/// # Panics
/// A line has another escape.
#[must_use]
pub fn lines(text: &str) -> Vec<Seed> {
    text.lines().map(|line| Seed { name: line.to_owned(), bytes: unescaped(line).into_bytes() }).collect()
}

fn unescaped(line: &str) -> String {
    let mut text = String::new();
    let mut parts = line.split('\\');
    text.push_str(parts.next().unwrap_or_default());
    while let Some(part) = parts.next() {
        match part.chars().next() {
            // Two backslashes.
            None => {
                text.push('\\');
                text.push_str(parts.next().unwrap_or_default());
            }
            Some('u') => {
                let (digits, rest) = part[1..].strip_prefix('{').and_then(|part| part.split_once('}')).expect("\\u{...}");
                text.push(u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).expect("a code point"));
                text.push_str(rest);
            }
            Some(letter) => {
                let escapes = [('0', '\0'), ('n', '\n'), ('r', '\r'), ('t', '\t')];
                let (_, character) = escapes.into_iter().find(|(name, _)| *name == letter).expect("a known escape");
                text.push(character);
                text.push_str(&part[1..]);
            }
        }
    }
    text
}
