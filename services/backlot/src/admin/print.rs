//! Texts of people in a terminal and in JSON lines. Characters that could control a terminal, or make a text look like another one, are escaped.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use chassis::clock::Timestamp;
use proto::text::is_misleading;
use serde::Serialize;

/// A text for a terminal.
pub(super) fn text(text: &str) -> String {
    text.chars().map(|c| if is_misleading(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

/// A text for a cell of a table: `-` if it is empty.
pub(super) fn cell(value: &str) -> String {
    if value.is_empty() { "-".to_owned() } else { text(value) }
}

/// One line of JSON without misleading characters. They only occur in texts, where JSON can escape every character.
pub(super) fn json_line(value: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string(value).context("cannot be written as JSON")?;
    let mut line = String::with_capacity(json.len());
    for c in json.chars() {
        if is_misleading(c) {
            let mut units = [0; 2];
            line.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            line.push(c);
        }
    }
    Ok(line)
}

/// A time as RFC 3339, or `-`.
pub(super) fn time(time: Option<&Timestamp>) -> String {
    let json = time.and_then(|time| serde_json::to_value(time).ok());
    json.as_ref().and_then(|json| json.as_str()).unwrap_or("-").to_owned()
}

/// The rows of a table below its heading, with columns of equal width.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// The entries of a list on the standard output: each as one line of JSON at once, or all as a table at the end.
pub(super) struct Listing<const N: usize> {
    as_json: bool,
    rows: Vec<[String; N]>,
}

impl<const N: usize> Listing<N> {
    pub(super) fn new(heading: [&str; N], as_json: bool) -> Self {
        Self { as_json, rows: vec![heading.map(str::to_owned)] }
    }

    /// Adds an entry and its row of the table.
    pub(super) fn add(&mut self, entry: &impl Serialize, row: [String; N]) -> Result<()> {
        if self.as_json {
            return writeln!(io::stdout(), "{}", json_line(entry)?).context("cannot write");
        }
        self.rows.push(row);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<()> {
        if self.as_json { Ok(()) } else { write!(io::stdout(), "{}", table(&self.rows)).context("cannot write") }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_could_control_a_terminal_is_escaped() {
        for (given, shown) in [
            ("ada", "ada"),
            ("\u{1b}[2Jada", r"\u{1b}[2Jada"),
            ("a\r\nb", r"a\u{d}\u{a}b"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("a\u{202e}b", r"a\u{202e}b"),
        ] {
            assert_eq!((text(given), cell(given)), (shown.to_owned(), shown.to_owned()));
        }
        assert_eq!(cell(""), "-");
    }

    #[test]
    fn a_json_line_is_one_printable_line_with_the_same_content() {
        for given in ["plain", "\u{1b}]0;x\u{7}", "a\r\nb\u{2028}c", "\u{7f}\u{9b}\u{202e}", "quote \" back \\ slash"] {
            let line = json_line(&json!({ "details": { "reason": given } })).expect("a line");
            assert!(!line.chars().any(is_misleading), "{line:?}");
            let read: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(read["details"]["reason"], given);
        }
    }

    #[test]
    fn columns_have_equal_widths() {
        let rows = [["a", "bb"], ["ccc", "d"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "a    bb\nccc  d\n");
        assert_eq!(time(None), "-");
        assert_eq!(time(Some(&Timestamp { seconds: 0, nanos: 0 })), "1970-01-01T00:00:00+00:00");
    }
}
