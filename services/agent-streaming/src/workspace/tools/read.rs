//! `list_files` and `read_file`. Their results are bounded and say how to continue.

use serde::Deserialize;
use serde_json::Value;

use super::{Stage, Stop, ToolSuccess, arguments::typed, count, paths};
use crate::workspace::overlay::{Content, Refusal};

/// The largest result of one call.
const MAX_BYTES: usize = 48 * 1024;

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    path: Option<String>,
}

pub(super) fn list(stage: &Stage<'_>, input: &Value) -> Result<ToolSuccess, Stop> {
    let prefix = paths::prefix(stage, typed::<List>(input)?.path);
    let files: Vec<(&str, u32)> = stage.overlay.files().filter(|(path, _)| path.starts_with(&prefix)).collect();
    let mut content = match (files.len(), prefix.as_str()) {
        (0, "") => "The project has no files yet.\n".to_owned(),
        (0, _) => format!("No path begins with {prefix}.\n"),
        (n, _) => format!("{}:\n", count(n, "file")),
    };
    for (shown, (path, size)) in files.iter().enumerate() {
        let line = format!("{path} ({size} bytes)\n");
        if content.len() + line.len() > MAX_BYTES {
            content.push_str(&format!("[{} more files; list a part with path]\n", files.len() - shown));
            break;
        }
        content.push_str(&line);
    }
    Ok(ToolSuccess { content, summary: count(files.len(), "file"), size: 0 })
}

#[derive(Deserialize)]
struct Read {
    path: String,
    #[serde(default)]
    start_line: Option<u64>,
    #[serde(default)]
    end_line: Option<u64>,
}

pub(super) async fn file(stage: &mut Stage<'_>, input: &Value) -> Result<ToolSuccess, Stop> {
    let Read { path, start_line, end_line } = typed(input)?;
    let path = paths::existing(stage, &path)?;
    let text = match content(stage, &path).await? {
        Content::Text(text) => text,
        Content::Asset => return Err(asset(stage, &path).into()),
        Content::Binary(bytes) => {
            let summary = format!("{path} is a binary file of {} bytes", bytes.len());
            return Ok(ToolSuccess { content: format!("{summary}; it cannot be shown as text."), summary, size: 0 });
        }
    };
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let total = lines.len();
    let (first, last) = (start_line.unwrap_or(1).max(1), end_line.unwrap_or(u64::MAX));
    if first > last {
        return Err(Refusal::new("INVALID_ARGUMENTS", format!("start_line {first} is after end_line {last}")).into());
    }
    let first = usize::try_from(first).unwrap_or(usize::MAX);
    let last = usize::try_from(last).unwrap_or(usize::MAX).min(total);
    if total == 0 {
        return Ok(ToolSuccess { content: format!("{path} is empty."), summary: format!("{path} is empty"), size: 0 });
    }
    if first > total {
        return Err(Refusal::new("INVALID_ARGUMENTS", format!("{path} has {}, so there is no line {first}", count(total, "line"))).into());
    }
    let (body, shown) = fit(&lines[first - 1..last]);
    let end = first + shown - 1;
    let note = match lines[first - 1..last].get(shown) {
        Some(_) => format!("\n[the file continues; read on with start_line {}]", end + 1),
        None if body.len() < lines[first - 1..end].iter().map(|line| line.len()).sum() => {
            format!("\n[line {end} is too long to show and was cut]")
        }
        None => String::new(),
    };
    let summary = match (first, end) {
        (1, end) if end == total => format!("{} of {path}", count(total, "line")),
        _ => format!("lines {first} to {end} of {path}"),
    };
    Ok(ToolSuccess { content: render(&path, (first, end, total), &body, &note), summary, size: 0 })
}

/// The refusal of a tool that needs the content of an asset.
pub(super) fn asset(stage: &Stage<'_>, path: &str) -> Refusal {
    let (size, limit) = (stage.overlay.size(path).unwrap_or(0), stage.overlay.text_limit());
    Refusal::new("FILE_IS_ASSET", format!("{path} has {size} bytes; a file above {limit} bytes is not shown and cannot be edited"))
}

/// The staged content of a file.
pub(super) async fn content(stage: &mut Stage<'_>, path: &str) -> Result<Content, Stop> {
    let found = stage.overlay.read(stage.base, &[path]).await?.pop();
    found.map(|(_, content)| content).ok_or_else(|| stage.overlay.not_found(path).into())
}

/// As many complete lines as fit, with their number. If the first line does not fit, its beginning.
fn fit(lines: &[&str]) -> (String, usize) {
    let mut body = String::new();
    for (shown, line) in lines.iter().enumerate() {
        if body.len() + line.len() > MAX_BYTES {
            if shown > 0 {
                return (body, shown);
            }
            return (line[..line.floor_char_boundary(MAX_BYTES)].to_owned(), 1);
        }
        body.push_str(line);
    }
    (body, lines.len())
}

fn render(path: &str, (first, last, total): (usize, usize, usize), body: &str, note: &str) -> String {
    format!("{path}, lines {first} to {last} of {total}:\n{body}{note}")
}

/// The text in a result of `read_file` that contains a complete file. `None` for any other result.
pub(crate) fn whole_text(result: &str) -> Option<&str> {
    if result.ends_with(" is empty.") && !result.contains('\n') {
        return Some("");
    }
    let (head, body) = result.split_once('\n')?;
    let (_, range) = head.strip_suffix(':')?.rsplit_once(", lines 1 to ")?;
    let (last, total) = range.split_once(" of ")?;
    (last == total && !body.ends_with("too long to show and was cut]")).then_some(body)
}
