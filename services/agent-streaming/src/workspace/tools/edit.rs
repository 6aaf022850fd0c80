//! `edit_file`: replaces one unambiguous place, or nothing.
//!
//! The text is searched exactly. If it is not found, it is searched in the normal [`form`]s, each of which ignores more differences that a
//! model cannot see. The file keeps its own form of what did not change: [`blend`].

mod blend;
mod difference;
mod form;
mod place;

use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;

use self::place::Search;
use super::{Failure, Stage, Stop, ToolSuccess, arguments::typed, count, nearest, paths, read, write::size};
use crate::workspace::overlay::{Content, Refusal};

/// How many places of an ambiguous text are listed.
const MAX_PLACES: usize = 5;

#[derive(Deserialize)]
struct Edit {
    path: String,
    old_text: String,
    new_text: String,
}

/// A replacement in a file.
struct Change {
    place: Range<usize>,
    new_text: String,
    /// How the match or the new text differs from the request; empty if exact.
    note: String,
}

pub(super) async fn run(stage: &mut Stage<'_>, input: &Value) -> Result<ToolSuccess, Stop> {
    let Edit { path, old_text, new_text } = typed(input)?;
    if old_text.is_empty() {
        return Err(Refusal::new("INVALID_ARGUMENTS", "old_text is empty; write_file creates a file or replaces all of it").into());
    }
    if old_text == new_text {
        return Err(Refusal::new("INVALID_ARGUMENTS", "old_text and new_text are equal, so nothing would change").into());
    }
    let path = paths::existing(stage, &path)?;
    let text = match read::content(stage, &path).await? {
        Content::Text(text) => text,
        Content::Asset => return Err(read::asset(stage, &path).into()),
        Content::Binary(_) => return Err(Refusal::new("NO_MATCH", format!("{path} is a binary file")).into()),
    };
    let Change { place, new_text, note } = change(&path, &text, &old_text, &new_text).map_err(Stop::Failed)?;
    let edited = [&text[..place.start], &new_text, &text[place.end..]].concat();
    if edited == *text {
        let message =
            format!("nothing would change: new_text differs from old_text only in the form of characters, which {path} keeps{note}");
        return Err(Refusal::new("INVALID_ARGUMENTS", message).into());
    }
    stage.overlay.write(stage.base, &path, &edited).await??;
    let lines = |text: &str| count(text.lines().count(), "line");
    let summary = format!("edited {path} at line {}: {} became {}{note}", line_of(&text, place.start), lines(&old_text), lines(&new_text));
    Ok(ToolSuccess::from_summary(summary, size(stage, &path)))
}

fn change(path: &str, text: &str, old_text: &str, new_text: &str) -> Result<Change, Failure> {
    let places: Vec<Range<usize>> = text.match_indices(old_text).map(|(at, found)| at..at + found.len()).collect();
    match &places[..] {
        [place] if !splits_a_break(text, place) => {
            let inserted = blend::inserted(text, old_text, new_text);
            let note = if inserted == new_text { "" } else { "; with the line endings of the file" };
            return Ok(Change { place: place.clone(), new_text: inserted, note: note.to_owned() });
        }
        [] | [_] => {}
        _ => return Err(many(path, text, &places, true)),
    }
    match place::search(text, old_text) {
        Search::One(near) => {
            let note = near.note(old_text);
            Ok(Change { place: near.bytes(), new_text: blend::replacement(&near, new_text), note })
        }
        Search::Many(places) => Err(many(path, text, &places, false)),
        Search::None => Err(none(path, text, old_text)),
    }
}

/// Whether a place starts or ends between CR and LF.
fn splits_a_break(text: &str, place: &Range<usize>) -> bool {
    [place.start, place.end].iter().any(|at| text[..*at].ends_with('\r') && text[*at..].starts_with('\n'))
}

fn none(path: &str, text: &str, old_text: &str) -> Failure {
    let (nearest_line, nearest_region) = nearest::region(text, old_text).unwrap_or_default();
    let differences = difference::all(text, old_text, nearest_line);
    let message = if differences.is_empty() {
        format!("old_text is not in {path}; it must match exactly, with the same spaces and line breaks")
    } else {
        format!("old_text is not in {path}: {}", differences.join("; "))
    };
    Failure { reason: "NO_MATCH", message, nearest_region, nearest_line }
}

fn many(path: &str, text: &str, places: &[Range<usize>], exact: bool) -> Failure {
    let lines: Vec<String> = places.iter().take(MAX_PLACES).map(|place| line_of(text, place.start).to_string()).collect();
    let more = if places.len() > MAX_PLACES { " and more" } else { "" };
    let how = if exact { "" } else { " (with other line endings, blanks, quotes or tabs)" };
    let message = format!(
        "old_text occurs {} times in {path}{how}, at lines {}{more}; add lines around it until it is unique",
        places.len(),
        lines.join(", ")
    );
    let nearest_line = line_of(text, places[0].start);
    Failure { reason: "MANY_MATCHES", message, nearest_region: nearest::clip(&text[places[0].clone()]), nearest_line }
}

/// The number of the line that a byte is in, from 1.
fn line_of(text: &str, at: usize) -> u32 {
    u32::try_from(1 + text[..at].matches('\n').count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
