//! `search`: finds plain text line by line.

use serde::Deserialize;
use serde_json::Value;

use super::{Stage, Stop, ToolSuccess, arguments::typed, count, paths};
use crate::workspace::overlay::{Content, Refusal};

const MAX_MATCHES: usize = 100;
/// How much of a matching line is shown.
const MAX_LINE_CHARS: usize = 200;
/// Files are read in batches of about this size, so that a search does not load the whole project.
const BATCH_BYTES: u64 = 2 * 1024 * 1024;

#[derive(Deserialize)]
struct Search {
    query: String,
    #[serde(default)]
    path: Option<String>,
}

pub(super) async fn run(stage: &mut Stage<'_>, input: &Value) -> Result<ToolSuccess, Stop> {
    let Search { query, path } = typed(input)?;
    if query.trim().is_empty() {
        return Err(Refusal::new("INVALID_ARGUMENTS", "query is empty or only white space").into());
    }
    if query.contains('\n') {
        return Err(Refusal::new("INVALID_ARGUMENTS", "query contains a line break, but lines are searched one by one").into());
    }
    let (needle, prefix) = (query.to_lowercase(), paths::prefix(stage, path));
    let files: Vec<(String, u32)> = stage.overlay.files().filter(|(p, _)| p.starts_with(&prefix)).map(|(p, s)| (p.to_owned(), s)).collect();
    let mut found = SearchResult::default();
    for batch in batches(&files) {
        for (path, content) in stage.overlay.read(stage.base, &batch).await? {
            if let Content::Text(text) = content {
                found.add(&path, &text, &needle);
            }
        }
        if found.lines.len() >= MAX_MATCHES {
            break;
        }
    }
    let summary = format!("{} of {query:?}", matches(found.lines.len(), found.more));
    if found.lines.is_empty() {
        return Ok(ToolSuccess { content: format!("No line of {} contains {query:?}.", count(files.len(), "file")), summary, size: 0 });
    }
    let more = if found.more { "\n[there are more; search for something longer, or in one path]" } else { "" };
    Ok(ToolSuccess { content: format!("{}{more}", found.lines.join("\n")), summary, size: 0 })
}

fn matches(n: usize, more: bool) -> String {
    match n {
        _ if more => format!("the first {n} matches"),
        1 => "1 match".to_owned(),
        n => format!("{n} matches"),
    }
}

#[derive(Default)]
struct SearchResult {
    lines: Vec<String>,
    more: bool,
}

impl SearchResult {
    fn add(&mut self, path: &str, text: &str, needle: &str) {
        // Most files have no match, so the whole text is checked first.
        if !text.to_lowercase().contains(needle) {
            return;
        }
        for (number, line) in text.lines().enumerate() {
            if !line.to_lowercase().contains(needle) {
                continue;
            }
            if self.lines.len() >= MAX_MATCHES {
                self.more = true;
                return;
            }
            let shown: String = line.trim().chars().take(MAX_LINE_CHARS).collect();
            self.lines.push(format!("{path}:{}: {shown}", number + 1));
        }
    }
}

fn batches(files: &[(String, u32)]) -> Vec<Vec<&str>> {
    let mut batches = vec![Vec::new()];
    let mut bytes = 0;
    for (path, size) in files {
        if bytes + u64::from(*size) > BATCH_BYTES && bytes > 0 {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += u64::from(*size);
        if let Some(batch) = batches.last_mut() {
            batch.push(path.as_str());
        }
    }
    batches
}
