//! `edit_file`: an exact, unique match or nothing. A guess where a model may have meant would change the wrong place one day.

use serde::Deserialize;
use serde_json::Value;

use super::{Done, Failure, Stage, Stop, arguments, count, nearest, read, write::size};
use crate::overlay::{Content, Refusal};

/// How many places of a text that is not unique are named.
const MAX_PLACES: usize = 5;

#[derive(Deserialize)]
struct Edit {
    path: String,
    old_text: String,
    new_text: String,
}

pub(super) async fn run(stage: &mut Stage<'_>, input: &Value) -> Result<Done, Stop> {
    let Edit { path, old_text, new_text } = arguments(input)?;
    if old_text.is_empty() {
        return Err(Refusal::new("INVALID_ARGUMENTS", "old_text is empty; write_file creates a file or replaces all of it").into());
    }
    if old_text == new_text {
        return Err(Refusal::new("INVALID_ARGUMENTS", "old_text and new_text are equal, so nothing would change").into());
    }
    let text = match read::content(stage, &path).await? {
        Content::Text(text) => text,
        Content::Binary(_) => return Err(Refusal::new("NO_MATCH", format!("{path} is a binary file")).into()),
    };
    let places: Vec<usize> = text.match_indices(&old_text).map(|(at, _)| at).collect();
    let [at] = places[..] else { return Err(Stop::Failed(refusal(&path, &text, &old_text, &places))) };
    let edited = [&text[..at], &new_text, &text[at + old_text.len()..]].concat();
    stage.overlay.write(stage.base, &path, &edited).await??;
    let lines = |text: &str| count(text.lines().count(), "line");
    let summary = format!("edited {path} at line {}: {} became {}", line_of(&text, at), lines(&old_text), lines(&new_text));
    Ok(Done::saying(summary, size(stage, &path)))
}

fn refusal(path: &str, text: &str, old_text: &str, places: &[usize]) -> Failure {
    if places.is_empty() {
        let (nearest_line, nearest_region) = nearest::region(text, old_text).unwrap_or_default();
        let message = format!("old_text is not in {path}; it must match exactly, with the same spaces and line breaks");
        return Failure { reason: "NO_MATCH", message, nearest_region, nearest_line };
    }
    let lines: Vec<String> = places.iter().take(MAX_PLACES).map(|at| line_of(text, *at).to_string()).collect();
    let more = if places.len() > MAX_PLACES { " and more" } else { "" };
    let message = format!(
        "old_text is {} times in {path}, at lines {}{more}; add lines around it until it is unique",
        places.len(),
        lines.join(", ")
    );
    let nearest_line = line_of(text, places[0]);
    Failure { reason: "MANY_MATCHES", message, nearest_region: nearest::clip(&text[places[0]..][..old_text.len()]), nearest_line }
}

/// The number of the line that a byte is in, from 1.
fn line_of(text: &str, at: usize) -> u32 {
    u32::try_from(1 + text[..at].matches('\n').count()).unwrap_or(u32::MAX)
}
